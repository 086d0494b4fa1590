"""A small Consistent4D folder tree, and judges without weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.evaluation import consistent4d
from l4gm.perceptual import published

MakeTree = Callable[..., Path]


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any weights of metrics."""
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(published, "_in_package", lambda file: [])


@pytest.fixture
def make_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTree:
    """Write OBJECT/eval_K/I.png of seeded noise; the benchmark shrunk to 3 frames of 16 px."""
    monkeypatch.setattr(consistent4d, "NUM_FRAMES", 3)
    monkeypatch.setattr(consistent4d, "PICTURE_PX", 16)

    def make(name: str, objects: tuple[str, ...] = ("cat", "dog"), noise: int = 0) -> Path:
        root = tmp_path / name
        for which, thing in enumerate(objects):
            for view in range(4):
                folder = root / thing / f"eval_{view}"
                folder.mkdir(parents=True)
                rng = np.random.default_rng([which, view])
                for frame in range(3):
                    values = rng.integers(40, 200, (16, 16, 3))
                    values = values + noise * np.where(rng.random((16, 16, 3)) < 0.5, 1, -1)
                    Image.fromarray(values.astype(np.uint8)).save(folder / f"{frame}.png")
        return root

    return make
