"""A moving object before a still, cluttered background, against its true silhouette."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from l4gm.media.matte import Window
from l4gm.media.matting import choose_matting
from l4gm.media.still_background import StillBackground
from l4gm.media.video import read_frames, write_video

SIDE, FRAMES = 192, 24
Shape = Callable[[float], tuple[Tensor, Tensor]]


def room(seed: int) -> Tensor:
    """[3, H, W] a wall of patterned tiles in the colours of everything."""
    generator = torch.Generator().manual_seed(seed)
    pattern = torch.rand(1, 3, 24, 24, generator=generator)
    pattern = functional.interpolate(pattern, (SIDE, SIDE), mode="bilinear")[0]
    tiles = functional.interpolate(torch.rand(1, 3, 5, 5, generator=generator), (SIDE, SIDE))[0]
    return 0.1 + 0.8 * (pattern + tiles) / 2


def drawn(inside: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Premultiplied colour [3, H, W] and alpha [1, H, W], with 4 x 4 samples a pixel."""
    axis = (torch.arange(4 * SIDE) + 0.5) / 4
    y, x = axis[:, None], axis[None]
    alpha = inside(x, y).float()[None]
    stripes = 0.15 * torch.sin(x / 6) + 0 * y
    color = torch.stack([0.75 + stripes, 0.2 + stripes / 2, 0.15 + 0 * stripes])
    shrunk = functional.avg_pool2d(torch.cat([color * alpha, alpha])[None], 4)[0]
    return shrunk[:3], shrunk[3:]


def wandering(time: float) -> tuple[Tensor, Tensor]:
    """A ball with a stick on it goes to and fro."""
    cx = 96 + 45 * math.sin(math.tau * time)
    cy = 100 + 10 * math.cos(2 * math.tau * time)
    return drawn(
        lambda x, y: (
            ((x - cx) ** 2 + (y - cy) ** 2 < 32**2)
            | (((x - cx).abs() < 4) & ((y - cy + 40).abs() < 15))
        )
    )


def turning(time: float) -> tuple[Tensor, Tensor]:
    """A windmill, whose middle never leaves its place."""
    cos, sin = math.cos(math.tau * time), math.sin(math.tau * time)

    def inside(x: Tensor, y: Tensor) -> Tensor:
        u, v = (x - 96) * cos + (y - 100) * sin, (y - 100) * cos - (x - 96) * sin
        sails = ((u.abs() < 60) & (v.abs() < 8)) | ((u.abs() < 8) & (v.abs() < 60))
        return sails | ((x - 96) ** 2 + (y - 100) ** 2 < 25**2)

    return drawn(inside)


def filmed(folder: Path, shape: Shape, seed: int) -> tuple[list[Tensor], Tensor]:
    """Decoded noisy frames, and the true alpha [T, 1, H, W]."""
    wall, generator = room(seed), torch.Generator().manual_seed(9)
    frames, alphas = [], []
    for index in range(FRAMES):
        color, alpha = shape(index / FRAMES)
        noise = 0.012 * torch.randn(wall.shape, generator=generator)
        frames.append((color + (1 - alpha) * wall + noise).clamp(0, 1))
        alphas.append(alpha)
    write_video(folder / "a.mp4", frames, 12, quality=20)
    return list(read_frames(folder / "a.mp4")), torch.stack(alphas)


@pytest.mark.parametrize(("shape", "seed"), [(wandering, 0), (wandering, 2), (turning, 1)])
def test_silhouettes_are_right_and_steady(tmp_path: Path, shape: Shape, seed: int) -> None:
    frames, true = filmed(tmp_path, shape, seed)
    method = choose_matting(frames, "clip").method
    assert isinstance(method, StillBackground)
    mattes = [method.matte(frame) for frame in frames]
    alphas = torch.stack([matte.alpha for matte in mattes])
    found, wanted = alphas > 0.5, true > 0.5
    overlap = (found & wanted).flatten(1).sum(1) / (found | wanted).flatten(1).sum(1)
    assert float(overlap.min()) > 0.9
    assert float(overlap.mean()) > 0.94
    # Where the truth does not change from one frame to the next, neither does the alpha.
    rests = true[1:] == true[:-1]
    assert float((alphas[1:] - alphas[:-1]).abs()[rests].mean()) < 0.006
    # On white, nothing is left of the wall, and the coarse mask is the same silhouette but for the
    # outermost pixels.
    outside = functional.max_pool2d(true, 15, 1, 7) == 0
    white = torch.stack([matte.over(1.0) for matte in mattes]).amin(1, keepdim=True)
    assert float((white[outside] < 0.9).float().mean()) < 0.005
    masks = torch.stack([torch.from_numpy(method.mask(frame)) for frame in frames])[:, None]
    outline = functional.max_pool2d(true, 7, 1, 3) + functional.max_pool2d(-true, 7, 1, 3) > 0
    assert float((masks ^ found)[~outline].float().mean()) < 0.002


def test_a_part_of_the_frame_is_cut_out_alike(tmp_path: Path) -> None:
    frames, _ = filmed(tmp_path, wandering, 0)
    method = StillBackground.estimate(frames)
    assert method is not None
    whole = method.matte(frames[3]).alpha[:, 48:144, 32:160]
    window = Window(32 / SIDE, 48 / SIDE, 160 / SIDE, 144 / SIDE)
    part = method.matte(frames[3][48:144, 32:160], window).alpha
    assert float((part - whole).abs().mean()) < 0.01


def test_a_moving_camera_is_not_for_it() -> None:
    wide = functional.interpolate(room(0)[None], (SIDE, 2 * SIDE), mode="bilinear")[0]
    frames = [
        wide[:, :, 6 * k : 6 * k + SIDE].mul(255).to(torch.uint8).permute(1, 2, 0)
        for k in range(20)
    ]
    assert StillBackground.estimate(frames) is None


def test_a_picture_in_which_nothing_moves_is_not_for_it() -> None:
    color, alpha = wandering(0.0)
    frame = (color + (1 - alpha) * room(0)).mul(255).to(torch.uint8).permute(1, 2, 0)
    assert StillBackground.estimate([frame] * 10) is None
    assert StillBackground.estimate([frame] * 2) is None
