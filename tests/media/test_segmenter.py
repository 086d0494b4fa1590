"""The segmenter's place in the ladder, with a stand-in for its network; and the network itself on
clips composed of our own rendering before photographs, where its weights are here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import l4gm
from l4gm.errors import InputError
from l4gm.media import matting, segmenter, segmenter_weights
from l4gm.media.matte import Window
from l4gm.media.matting import choose_matting
from l4gm.media.segmenter import SegmentedFrames
from l4gm.pipeline.prepare import prepare_video

SIDE = 64


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A network that takes what is red for the object, and trembles; the sizes it was asked of."""
    asked: list[tuple[int, ...]] = []
    random = np.random.default_rng(0)

    def segment(image: np.ndarray) -> np.ndarray:
        asked.append(image.shape)
        levels = image.astype(np.float32)
        red = levels[..., 0] - levels[..., 1] > 60
        trembling = random.uniform(-0.4, 0.4, red.shape)
        return (0.9 * red + trembling * 0.5 + 0.05).clip(0, 1).astype(np.float32)

    monkeypatch.setattr(matting, "find_segmenter", lambda: segment)
    return asked


def still_life() -> Tensor:
    """uint8 [H, W, 3]: a red square on coloured noise, nothing moves."""
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(0, 256, (SIDE, SIDE, 3), generator=generator, dtype=torch.uint8)
    frame[..., 0] = torch.minimum(frame[..., 0], frame[..., 1])
    frame[20:44, 20:44] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    return frame


def test_weights_that_are_not_here_are_named_and_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setattr(
        segmenter_weights.urllib.request, "urlopen", lambda *_: pytest.fail("it downloads")
    )
    assert segmenter.find_segmenter() is None
    with pytest.raises(InputError, match=r"l4gm fetch matting.*Apache-2\.0.*--no-matting"):
        choose_matting([still_life()] * 4, "clip")


def test_where_nothing_moves_the_network_is_asked_and_held_still(
    network: list[tuple[int, ...]],
) -> None:
    frames = [still_life()] * 15
    method = choose_matting(frames, "clip").method
    assert isinstance(method, SegmentedFrames)
    alphas = torch.stack([method.matte(frame, whole=frame).alpha for frame in frames])
    assert float(alphas.std(0).max()) < 1e-6  # the stand-in's own is 0.1
    inside = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    inside[:, 20:44, 20:44] = True
    assert torch.equal(alphas[0] > 0.5, inside)
    assert (torch.from_numpy(method.mask(frames[0])) == inside[0]).all()


def test_each_frame_is_asked_of_once_and_a_part_is_cut_from_the_whole(
    network: list[tuple[int, ...]],
) -> None:
    method = choose_matting([still_life()] * 9, "clip").method
    moved = still_life()
    moved[4:16, 44:60] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    before = len(network)
    method.mask(moved)
    part = method.matte(moved[:32, 32:], Window(0.5, 0.0, 1.0, 0.5), whole=moved)
    assert len(network) == before + 1
    assert float(part.alpha[:, 6:14, 14:26].mean()) > 0.8
    assert float(part.color[0, 6:14, 14:26].mean()) > 0.6


def test_small_pieces_apart_from_the_object_are_other_things(
    network: list[tuple[int, ...]],
) -> None:
    frame = still_life()
    frame[2:8, 50:56] = torch.tensor([220, 30, 30], dtype=torch.uint8)
    method = choose_matting([frame] * 5, "clip").method
    assert not method.mask(frame)[:10, 45:].any()
    assert method.mask(frame)[25:40, 25:40].all()


# The network itself, and motion


def photograph(name: str) -> Tensor:
    """uint8 [H, W, 3] of those that come with scikit-image, 368 px at least."""
    data = pytest.importorskip("skimage.data")
    image = Image.fromarray(getattr(data, name)())
    scale = 368 / min(image.size)
    size = (round(image.width * scale) + 1, round(image.height * scale) + 1)
    return torch.from_numpy(np.array(image.resize(size)))


def composed(name: str, pan_px: int) -> tuple[list[Tensor], Tensor]:
    """Twelve frames of the walking animal of the demo clip before a photograph, over which the
    camera moves so many pixels from frame to frame; and the true alpha [T, 1, H, W]."""
    demo = prepare_video(Path(l4gm.__file__).parent / "assets" / "demo.mp4", size=256)
    wall = photograph(name).permute(2, 0, 1).float()
    generator = torch.Generator().manual_seed(0)
    frames, alphas = [], []
    for index, cutout in enumerate(list(demo.cutouts())[::2]):
        left = index * pan_px
        color, alpha = torch.zeros(3, 288, 288), torch.zeros(1, 288, 288)
        color[:, 16:272, 16:272], alpha[:, 16:272, 16:272] = cutout[:3], cutout[3:]
        levels = 255 * color + (1 - alpha) * wall[:, 10:298, left : left + 288]
        levels = levels + 2 * torch.randn(levels.shape, generator=generator)
        frames.append(levels.clamp(0, 255).round().byte().permute(1, 2, 0))
        alphas.append(alpha)
    return frames, torch.stack(alphas)


@pytest.mark.slow
@pytest.mark.parametrize("pan_px", [0, 3])
@pytest.mark.parametrize(("name", "least"), [("coffee", 0.93), ("astronaut", 0.9)])
def test_an_object_before_a_photograph(name: str, least: float, pan_px: int) -> None:
    if segmenter.find_segmenter() is None:
        pytest.skip("the segmenter's weights are not here (l4gm fetch matting)")
    frames, true = composed(name, pan_px)
    method = choose_matting(frames, "clip").method
    found = torch.stack([method.matte(frame, whole=frame).alpha > 0.5 for frame in frames])
    wanted = true > 0.5
    both, either = (found & wanted).flatten(1).sum(1), (found | wanted).flatten(1).sum(1)
    assert float((both / either).mean()) > least
