"""`l4gm doctor` says what is there, what is missing, and how to get it; it always ends well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from l4gm.cli import doctor


def test_tells_versions_devices_and_backends(run: Callable) -> None:
    import torch

    outcome = run("doctor", "--json")
    assert outcome.code == 0
    assert not outcome.err
    findings = json.loads(outcome.out)
    assert findings["packages"]["torch"] == torch.__version__
    assert findings["devices"][0]["name"] == "cpu"
    backends = {backend["name"]: backend["usable"] for backend in findings["backends"]}
    assert backends["cpu"]
    assert torch.cuda.is_available() or not (backends["triton"] or backends["gsplat"])
    assert [weights["name"] for weights in findings["weights"]][:2] == ["mini", "official"]


def test_weights_in_the_offline_folder_are_found(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    folder = tmp_path / "jiawei011--L4GM"
    folder.mkdir()
    (folder / "recon.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    findings = json.loads(run("doctor", "--json").out)
    official = next(model for model in findings["weights"] if model["name"] == "official")
    assert official["files"][0]["sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert "CC-BY-NC-SA-4.0" in official["licence"]


def test_missing_parts_say_how_to_get_them(
    run: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    known = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "gsplat" else known(name))
    outcome = run("doctor")
    assert outcome.code == 0
    assert 'missing gsplat: pip install "l4gm[cuda]"' in outcome.out
    assert "CC-BY-NC-SA-4.0" in outcome.out
