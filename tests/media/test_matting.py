"""Background removal, against scenes whose true alpha is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.media import matting
from l4gm.media.matting import AlphaChannel, Opaque, choose_matting, keep_as_is
from l4gm.media.plain_key import PlainKey
from l4gm.media.video import read_frames, write_video

SIDE = 192


def scene(shift: float = 0.0, pale: bool = False) -> tuple[Tensor, Tensor]:
    """Colour [3, H, W] and alpha [1, H, W] of a head with an antenna, an arm and white eyes.

    Drawn with 4 x 4 samples a pixel, so that edges have true fractional alpha.
    """
    axis = (torch.arange(4 * SIDE) + 0.5) / 4
    y, x = axis[:, None], axis[None] - shift
    head = (x - 96) ** 2 + (y - 110) ** 2 < 45**2
    antenna = ((x - 96).abs() < 1.5) & (y > 40) & (y < 70)
    ball = (x - 96) ** 2 + (y - 38) ** 2 < 6**2
    arm = ((y - 120 - 0.3 * (x - 140)).abs() < 6) & (x > 135) & (x < 170)
    alpha = (head | antenna | ball | arm).float()
    color = torch.stack([120 + 0.6 * (x + 0 * y), 60 + 0.4 * (y + 0 * x), 90 + 0 * (x + y)]) / 255
    if pale:
        color = 0.86 + 0.06 * color
    for center in (80, 112):
        eye = (x - center) ** 2 + (y - 100) ** 2 < 8**2
        color = torch.where(eye[None], torch.ones(()), color)
    premultiplied = functional.avg_pool2d((color * alpha)[None], 4)[0]
    alpha = functional.avg_pool2d(alpha[None, None], 4)[0]
    return premultiplied, alpha


def on(background: tuple[int, int, int], shift: float = 0.0, **kwargs: bool) -> Tensor:
    """uint8 [H, W, 3]: the scene on a background."""
    color, alpha = scene(shift, **kwargs)
    image = color + (1 - alpha) * torch.tensor(background).view(3, 1, 1) / 255
    return image.mul(255).round().to(torch.uint8).permute(1, 2, 0)


def encoded(folder: Path, frames: list[Tensor], quality: int = 23) -> list[Tensor]:
    write_video(folder / "a.mp4", frames, 12, quality=quality)
    return list(read_frames(folder / "a.mp4"))


GREYS = [(255, 255, 255), (240, 240, 238), (0, 0, 0)]
# As bright as the object: told apart by colour alone, which video stores blurred, at half size.
COLORS = [(40, 200, 60), (90, 90, 200), (128, 126, 124)]


@pytest.mark.parametrize(
    ("quality", "background", "mean_bound", "edge_bound"),
    [(18, grey, 0.003, 0.08) for grey in GREYS]
    + [(26, grey, 0.005, 0.15) for grey in GREYS]
    + [(18, color, 0.008, 0.22) for color in COLORS]
    + [(26, color, 0.010, 0.25) for color in COLORS],
)
def test_key_is_close_to_the_true_alpha(
    tmp_path: Path,
    quality: int,
    background: tuple[int, int, int],
    mean_bound: float,
    edge_bound: float,
) -> None:
    shifts = [0.0, 1.3, 2.6, 3.9]
    frames = encoded(tmp_path, [on(background, shift) for shift in shifts], quality)
    method = choose_matting(frames, "clip").method
    assert isinstance(method, PlainKey)
    assert np.abs(np.subtract(method.color, background)).max() < 3
    for frame, shift in zip(frames, shifts, strict=True):
        color, alpha = scene(shift)
        matte = method.matte(frame)
        error = (matte.alpha - alpha).abs()
        edge = (alpha > 0.02) & (alpha < 0.98)
        assert float(error.mean()) < mean_bound
        assert float(error[edge].mean()) < edge_bound
        # Laid on white there is no fringe of the old background.
        wanted = color + 1 - alpha
        fringe = (matte.over(1.0) - wanted).abs()[edge.expand(3, -1, -1)].mean()
        assert float(fringe) < 0.6 * edge_bound


def test_a_clip_on_pure_white_comes_out_unchanged() -> None:
    frame = on((255, 255, 255))
    method = choose_matting([frame], "clip").method
    out = method.matte(frame).over(1.0)
    assert float((out - frame.permute(2, 0, 1).float() / 255).abs().max()) < 2 / 255


@pytest.mark.parametrize("background", [(255, 255, 255), (243, 243, 243)])
def test_white_inside_stays_object(tmp_path: Path, background: tuple[int, int, int]) -> None:
    frames = encoded(tmp_path, [on(background)] * 4)
    alpha = choose_matting(frames, "clip").method.matte(frames[2]).alpha[0]
    for center in (80, 112):
        assert float(alpha[92:108, center - 8 : center + 8].min()) == 1


def test_pale_object_on_white_is_kept(tmp_path: Path) -> None:
    frames = encoded(tmp_path, [on((255, 255, 255), pale=True)] * 4, quality=18)
    alpha = choose_matting(frames, "clip").method.matte(frames[2]).alpha
    assert float((alpha - scene()[1]).abs().mean()) < 0.015


def ring(background: tuple[int, int, int]) -> Tensor:
    axis = torch.arange(SIDE) + 0.5 - SIDE / 2
    radius = (axis[:, None] ** 2 + axis[None] ** 2).sqrt()
    inside = ((radius > 30) & (radius < 60))[..., None]
    return torch.where(inside, torch.tensor([180, 40, 40]), torch.tensor(background)).to(
        torch.uint8
    )


def test_hole_is_background_on_green_but_object_on_white() -> None:
    for background, expected in (((40, 200, 60), 0.0), ((255, 255, 255), 1.0)):
        frame = ring(background)
        alpha = choose_matting([frame], "clip").method.matte(frame).alpha
        assert float(alpha[0, SIDE // 2, SIDE // 2]) == expected


def test_still_object_in_noise_has_a_steady_alpha() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = on((225, 225, 220)).float()
    noisy = [
        (clean + 3 * torch.randn(clean.shape, generator=generator)).clamp(0, 255).to(torch.uint8)
        for _ in range(12)
    ]
    method = choose_matting(noisy[:4], "clip").method
    alphas = torch.stack([method.matte(frame).alpha for frame in noisy])
    true = scene()[1]
    assert float((alphas - true).abs().mean()) < 0.006
    assert float(alphas.std(0)[true == 1].max()) < 0.05
    assert float(alphas.std(0).mean()) < 0.002
    edge = (true > 0) & (true < 1)
    assert float(alphas.std(0)[edge].mean()) < 0.06


def test_specks_are_removed_and_a_small_distinct_part_stays() -> None:
    frame = on((255, 255, 255))
    frame[10:12, 10:12] = 235  # compression noise
    frame[30:36, 150:156] = torch.tensor([30, 30, 200], dtype=torch.uint8)  # a satellite
    alpha = choose_matting([frame], "clip").method.matte(frame).alpha[0]
    assert float(alpha[:20, :20].max()) == 0
    assert float(alpha[31:35, 151:155].min()) == 1


def test_object_that_touches_two_sides() -> None:
    frame = on((255, 255, 255))
    frame[60:, :30] = torch.tensor([90, 60, 30], dtype=torch.uint8)
    frame[160:, :80] = torch.tensor([90, 60, 30], dtype=torch.uint8)
    method = choose_matting([frame], "clip").method
    alpha = method.matte(frame).alpha[0]
    assert float(alpha[64:, :26].min()) == 1
    assert float(alpha[0, -1]) == 0


def test_own_alpha_is_used_as_it_is() -> None:
    color, alpha = scene()
    straight = torch.cat([color / alpha.clamp_min(1e-6), alpha]).clamp(0, 1)
    frame = straight.mul(255).round().to(torch.uint8).permute(1, 2, 0)
    method = choose_matting([frame], "clip").method
    assert isinstance(method, AlphaChannel)
    matte = method.matte(frame)
    torch.testing.assert_close(matte.alpha, alpha, atol=2e-3, rtol=0)
    torch.testing.assert_close(matte.color, color, atol=4e-3, rtol=0)


def test_an_opaque_alpha_channel_is_not_one() -> None:
    frame = torch.cat([on((255, 255, 255)), torch.full((SIDE, SIDE, 1), 255, dtype=torch.uint8)], 2)
    method = choose_matting([frame], "clip").method
    assert isinstance(method, PlainKey)
    assert float((method.matte(frame).alpha - scene()[1]).abs().mean()) < 0.006


def clutter(seed: int = 0) -> Tensor:
    """[3, H, W] smooth colours and hard edges, as bright as objects are."""
    generator = torch.Generator().manual_seed(seed)
    fine = functional.interpolate(torch.rand(1, 3, 24, 24, generator=generator), SIDE)[0]
    coarse = torch.rand(1, 3, 5, 5, generator=generator)
    return 0.1 + 0.8 * (fine + functional.interpolate(coarse, (SIDE, SIDE))[0]) / 2


def test_a_cluttered_still_picture_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matting, "find_segmenter", lambda: None)
    frame = clutter().mul(255).to(torch.uint8).permute(1, 2, 0)
    with pytest.raises(
        InputError, match=r"street\.mp4.*l4gm fetch matting.*--no-matting"
    ) as caught:
        choose_matting([frame] * 5, "street.mp4")
    assert "\n" not in str(caught.value)


def test_keep_as_is() -> None:
    frame = on((90, 90, 200))
    method = keep_as_is([frame])
    assert isinstance(method, Opaque)
    assert torch.equal(method.matte(frame).over(1.0), frame.permute(2, 0, 1).float() / 255)


@pytest.mark.parametrize("background", GREYS + COLORS)
def test_coarse_mask_agrees_with_the_matte(background: tuple[int, int, int]) -> None:
    frame = on(background)
    method = choose_matting([frame], "clip").method
    mask = torch.from_numpy(method.mask(frame))
    assert float((mask.float() - scene()[1][0]).abs().mean()) < 0.02
    assert not ((method.matte(frame).alpha[0] > 0) & ~mask).any()
