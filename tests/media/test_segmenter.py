"""The segmenter's place in the ladder, with a stand-in for rembg: its weights are not ours."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from l4gm.errors import InputError
from l4gm.media import segmenter
from l4gm.media.matte import Window
from l4gm.media.matting import choose_matting
from l4gm.media.segmenter import SegmentedFrames

SIDE = 64


@pytest.fixture
def rembg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A rembg that takes what is red for the object, and trembles; the sessions it made."""
    made: list[str] = []
    random = np.random.default_rng(0)

    def new_session(name: str) -> str:
        made.append(name)
        return name

    def remove(image: object, *, session: str, only_mask: bool) -> np.ndarray:
        assert only_mask
        levels = np.asarray(image).astype(np.float32)
        red = levels[..., 0] - levels[..., 1] > 60
        trembling = random.uniform(-0.4, 0.4, red.shape)
        return ((0.9 * red + trembling * 0.5 + 0.05).clip(0, 1) * 255).astype(np.uint8)

    package = types.ModuleType("rembg")
    package.new_session, package.remove = new_session, remove  # type: ignore[attr-defined]
    sessions = types.ModuleType("rembg.sessions")
    sessions.sessions_class = []  # type: ignore[attr-defined]
    package.sessions = sessions  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rembg", package)
    monkeypatch.setitem(sys.modules, "rembg.sessions", sessions)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        segmenter.importlib.util,
        "find_spec",
        lambda name: object() if name == "rembg" else find_spec(name),
    )
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    return made


def still_life() -> torch.Tensor:
    """uint8 [H, W, 3]: a red square on coloured noise, nothing moves."""
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(0, 256, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    frame[..., 0] = torch.minimum(frame[..., 0], frame[..., 1])
    frame[20:44, 20:44] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    return frame


def test_weights_that_are_not_there_are_named_and_not_downloaded(
    rembg: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"isnet-general-use\.onnx.*--no-matting") as caught:
        choose_matting([still_life()] * 4, "clip")
    assert str(tmp_path) in str(caught.value)
    assert rembg == []


def test_the_best_weights_that_are_there_are_used_and_held_still(
    rembg: list[str], tmp_path: Path
) -> None:
    for name in ("u2netp", "isnet-general-use"):
        (tmp_path / f"{name}.onnx").touch()
    frames = [still_life()] * 15
    method = choose_matting(frames, "clip").method
    assert isinstance(method, SegmentedFrames)
    assert rembg == ["isnet-general-use"]
    alphas = torch.stack([method.matte(frame).alpha for frame in frames])
    assert float(alphas.std(0).max()) < 1e-6  # the stand-in's own is 0.1
    inside = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    inside[:, 20:44, 20:44] = True
    assert torch.equal(alphas[0] > 0.5, inside)
    assert (torch.from_numpy(method.mask(frames[0])) == inside[0]).all()


def test_what_moves_gets_the_networks_word(rembg: list[str], tmp_path: Path) -> None:
    (tmp_path / "u2net.onnx").touch()
    method = choose_matting([still_life()] * 9, "clip").method
    moved = still_life()
    moved[4:16, 44:60] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    matte = method.matte(moved[:32, 32:], Window(0.5, 0.0, 1.0, 0.5))
    assert float(matte.alpha[:, 6:14, 14:26].mean()) > 0.8
    assert float(matte.color[0, 6:14, 14:26].mean()) > 0.6
