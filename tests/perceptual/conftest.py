"""Weight files of the true form, with random numbers: names and shapes as published."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from l4gm.perceptual import published
from l4gm.perceptual.published import WeightFile

Place = Callable[[WeightFile, dict[str, Tensor]], Path]


@pytest.fixture
def weight_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for weights, an empty cache of torch's downloads, and no package with any."""
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(published, "_in_package", lambda file: [])
    return tmp_path / "metrics"


@pytest.fixture
def place(weight_home: Path) -> Iterator[Place]:
    """Write tensors as a published file, whose SHA-256 is then theirs until the test ends."""
    before: list[tuple[WeightFile, str]] = []

    def write(file: WeightFile, tensors: dict[str, Tensor]) -> Path:
        weight_home.mkdir(parents=True, exist_ok=True)
        path = weight_home / file.filename
        torch.save(tensors, path)
        if file.sha256 is not None:
            before.append((file, file.sha256))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            object.__setattr__(file, "sha256", digest)
        return path

    yield write
    for file, sha256 in reversed(before):
        object.__setattr__(file, "sha256", sha256)


@pytest.fixture(scope="session")
def random_weights() -> ModuleType:
    """The module beside this one; tests are no package to import it from."""
    path = Path(__file__).with_name("random_weights.py")
    spec = importlib.util.spec_from_file_location("random_weights", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
