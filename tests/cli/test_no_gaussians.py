"""A set without Gaussians is valid and empty, or one line, in every format and every verb."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from l4gm.cli.view import player_page
from l4gm.errors import InputError
from l4gm.files import load, save
from l4gm.gaussians.types import Gaussians, GaussianSequence

STILL = ("a.ply", "a.compressed.ply", "a.splat", "a.spz")
SEQUENCES = ("folder", "a.safetensors", "a.l4gm")


def none(*lead: int) -> Gaussians:
    shape = (*lead, 0)
    return Gaussians(
        means=torch.zeros(*shape, 3),
        quats=torch.zeros(*shape, 4),
        scales=torch.zeros(*shape, 3),
        opacities=torch.zeros(shape),
        colors=torch.zeros(*shape, 3),
    )


@pytest.mark.parametrize("name", STILL)
def test_one_set(tmp_path: Path, name: str) -> None:
    save(none(), tmp_path / name)
    found = load(tmp_path / name)
    assert isinstance(found, Gaussians)
    assert (found.shape, found.num_gaussians) == ((), 0)


@pytest.mark.parametrize("name", [*SEQUENCES, "a.usdc"])
def test_sequences(tmp_path: Path, name: str) -> None:
    if name == "a.usdc":
        pytest.importorskip("pxr", reason='usd-core is not installed (pip install "l4gm[usd]")')
    # Pruned USD gives every other frame an invisible Gaussian, so that nothing is blended.
    save(GaussianSequence(none(2), 12.0), tmp_path / name, prune=False)
    found = load(tmp_path / name)
    assert isinstance(found, GaussianSequence)
    assert (len(found), found.gaussians.num_gaussians, found.fps) == (2, 0, 12.0)


@pytest.mark.parametrize("name", ["a.sog", "a.glb"])
def test_formats_that_cannot_be_empty_say_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        save(none(), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.ply", *SEQUENCES])
def test_verbs(tmp_path: Path, run: Callable, name: str) -> None:
    asset = tmp_path / name
    save(none() if name == "a.ply" else GaussianSequence(none(2), 12.0), asset)
    assert run("inspect", asset).code == 0
    figures = json.loads(run("inspect", asset, "--json").out, parse_constant=pytest.fail)
    assert (figures["gaussians_per_frame"], figures["visible_share"]) == (0, 0)
    assert run("inspect", asset, "--html", tmp_path / "page.html").code == 0
    out = tmp_path / "out.gif"
    common = ("render", asset, "--size", "16", "--frames", "2", "--device", "cpu")
    assert run(*common, "-o", out).code == 0
    for kind, suffix in (("safetensors", ".safetensors"), ("l4gm", ".l4gm"), ("html", ".html")):
        out = tmp_path / f"out{suffix}"
        assert run("export", asset, "--format", kind, "-o", out).code == 0
    assert b"0 Gaussians" in player_page(asset, None)
