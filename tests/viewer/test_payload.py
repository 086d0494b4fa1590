"""The player's quantised frames, against a decoder written from the description alone."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import MIN_ALPHA
from l4gm.geometry.rotations import matrix_from_quat, quat_multiply
from l4gm.viewer.payload import (
    GROUP_FRAMES,
    PLANES,
    Quantization,
    encode_frames,
    measure_quantization,
)


def some_gaussians(count: int = 300, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return Gaussians(
        means=uniform(count, 3) * 2 - 1,
        quats=torch.randn(count, 4, generator=generator) * 3,
        scales=torch.exp(uniform(count, 3) * -6) * 0.1,
        opacities=0.01 + 0.99 * uniform(count),
        colors=uniform(count, 3),
    )


def decode(packed: list[bytes], ranges: Quantization) -> list[Gaussians]:
    """As docs/format.md says."""
    frames: list[Gaussians] = []
    levels = np.zeros(0)
    for index, data in enumerate(packed):
        planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(len(PLANES), -1).astype(int)
        zigzag = planes[0:6:2] + 256 * planes[1:6:2]
        means = np.where(zigzag % 2 == 0, zigzag // 2, -(zigzag + 1) // 2)
        steps = np.concatenate([means, planes[6:]])
        levels = np.cumsum(steps, 1) if index % 8 == 0 else levels + steps
        levels[3:] %= 256
        frames.append(restored(torch.from_numpy(levels.T.copy()).double(), ranges))
    return frames


def restored(levels: torch.Tensor, ranges: Quantization) -> Gaussians:
    lower, upper = torch.tensor(ranges.lower), torch.tensor(ranges.upper)
    log_step = (ranges.log_scale_upper - ranges.log_scale_lower) / 127
    turns = levels[:, 6:9] / 127 - 1
    square = turns.square().sum(-1, keepdim=True)
    quats = quat_multiply(
        torch.tensor(ranges.reference, dtype=torch.float64),
        torch.cat([1 - square, 2 * turns], -1) / (1 + square),
    )
    return Gaussians(
        means=lower + (upper - lower) * levels[:, :3] / 4095,
        quats=quats,
        scales=torch.exp(ranges.log_scale_lower + log_step * levels[:, 3:6]),
        opacities=levels[:, 12] / 255,
        colors=levels[:, 9:12] / 127,
    ).to(torch.float32)


@pytest.mark.parametrize("count", [1, 2, 300])
@pytest.mark.parametrize("length", [1, GROUP_FRAMES, GROUP_FRAMES + 1, 2 * GROUP_FRAMES])
def test_round_trip_within_half_a_step(count: int, length: int) -> None:
    frames = [some_gaussians(count, seed) for seed in range(length)]
    ranges = measure_quantization(frames)
    back = decode(list(encode_frames(frames, ranges)), ranges)
    assert len(back) == length
    for truth, got in zip(frames, back, strict=True):
        torch.testing.assert_close(got.means, truth.means, rtol=0, atol=1.001 / 4095)
        torch.testing.assert_close(got.opacities, truth.opacities, rtol=0, atol=0.501 / 255)
        torch.testing.assert_close(got.colors, truth.colors, rtol=0, atol=0.501 / 127)
        torch.testing.assert_close(got.scales, truth.scales, rtol=0.025, atol=0)
        torch.testing.assert_close(
            matrix_from_quat(got.quats), matrix_from_quat(truth.quats), rtol=0, atol=0.03
        )


def test_no_gaussians() -> None:
    nothing = some_gaussians(5).map(lambda tensor: tensor[:0])
    ranges = measure_quantization([nothing])
    (packed,) = encode_frames([nothing], ranges)
    assert zlib.decompress(packed) == b""


def test_ranges_hold_what_is_visible_in_all_frames() -> None:
    frames = [some_gaussians(seed=seed) for seed in range(3)]
    everything = Gaussians.cat([frame.reshape(1) for frame in frames])
    frames[1].means[7], frames[1].opacities[7] = 50.0, MIN_ALPHA / 2
    ranges = measure_quantization(frames)
    assert ranges.upper[0] < 1
    keep = everything.means[everything.opacities >= MIN_ALPHA]
    assert torch.tensor(ranges.lower).equal(keep.amin(0))
    assert ranges.log_scale_upper == pytest.approx(float(everything.scales.max().log()))


def test_what_is_never_drawn_has_no_opacity_and_costs_little() -> None:
    frames = [some_gaussians(1000, seed) for seed in range(2)]
    for frame in frames:
        frame.opacities[:] = 0.8
        frame.opacities[::2] = MIN_ALPHA - 1e-5
        frame.opacities[1] = MIN_ALPHA + 1e-5
    ranges = measure_quantization(frames)
    packed = list(encode_frames(frames, ranges))
    for frame in decode(packed, ranges):
        assert (frame.opacities[::2] == 0).all()
        assert frame.opacities[1] == pytest.approx(1 / 255)
        assert (frame.opacities[3::2] > 0.79).all()
    # Against the same with all of them visible: half as many bytes, and little more.
    shown = [Gaussians(f.means, f.quats, f.scales, f.colors[:, 0], f.colors) for f in frames]
    whole = list(encode_frames(shown, measure_quantization(shown)))
    assert sum(map(len, packed)) < 0.65 * sum(map(len, whole))


def test_smooth_frames_deflate() -> None:
    """A pixel grid of a smooth surface, the usual content, takes less than half its 17 bytes."""
    side = torch.linspace(-0.5, 0.5, 64)
    x, y = torch.meshgrid(side, side, indexing="xy")
    means = torch.stack([x, y, (1 - x * x - y * y).sqrt()], -1).reshape(-1, 3)
    count = len(means)
    gaussians = Gaussians(
        means,
        torch.tensor([1.0, 0, 0, 0]).expand(count, 4),
        0.01 + 0.002 * means.abs(),
        torch.full((count,), 0.9),
        means * 0.5 + 0.5,
    )
    ranges = measure_quantization([gaussians])
    first, second = encode_frames([gaussians, gaussians], ranges)
    assert len(first) < 8 * count
    assert len(second) < 0.1 * count  # what stays as it is costs next to nothing


def test_values_that_are_not_finite() -> None:
    bad = some_gaussians()
    bad.colors[3, 1] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        measure_quantization([bad])
