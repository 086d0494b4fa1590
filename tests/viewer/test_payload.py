"""The player's quantised frames, against a decoder written from the description alone."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.rotations import matrix_from_quat
from l4gm.viewer.payload import (
    PLANES,
    Quantization,
    encode_frame,
    measure_quantization,
    visible,
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


def decode(data: bytes, ranges: Quantization) -> Gaussians:
    planes = np.frombuffer(zlib.decompress(data), np.uint8).reshape(len(PLANES), -1).astype(int)
    by_name = dict(zip(PLANES, planes, strict=True))

    def coordinate(axis: str) -> np.ndarray:
        zigzag = by_name[f"{axis}_low"] + 256 * by_name[f"{axis}_high"]
        signed = np.where(zigzag % 2 == 0, zigzag // 2, -(zigzag + 1) // 2)
        return np.cumsum(signed) % 65536

    def plane(name: str) -> np.ndarray:
        return np.cumsum(by_name[name]) % 256

    def stack(*columns: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack(columns, -1)).float()

    lower, upper = torch.tensor(ranges.lower), torch.tensor(ranges.upper)
    log_step = (ranges.log_scale_upper - ranges.log_scale_lower) / 255
    scales = stack(*(plane(f"scale_{i}") for i in range(3)))
    quats = stack(*(plane(f"quat_{i}") - 128 for i in "wxyz"))
    return Gaussians(
        means=lower + (upper - lower) * stack(*(coordinate(i) for i in "xyz")) / 65535,
        quats=quats / quats.norm(dim=-1, keepdim=True),
        scales=torch.exp(ranges.log_scale_lower + log_step * scales),
        opacities=torch.from_numpy(plane("opacity") / 255).float(),
        colors=stack(plane("red"), plane("green"), plane("blue")) / 255,
    )


@pytest.mark.parametrize("count", [1, 2, 300])
def test_round_trip_within_half_a_step(count: int) -> None:
    gaussians = some_gaussians(count)
    ranges = measure_quantization([gaussians])
    back = decode(encode_frame(gaussians, ranges), ranges)
    torch.testing.assert_close(back.means, gaussians.means, rtol=0, atol=2 / 65535)
    torch.testing.assert_close(back.opacities, gaussians.opacities, rtol=0, atol=0.501 / 255)
    torch.testing.assert_close(back.colors, gaussians.colors, rtol=0, atol=0.501 / 255)
    torch.testing.assert_close(back.scales, gaussians.scales, rtol=0.015, atol=0)
    torch.testing.assert_close(
        matrix_from_quat(back.quats), matrix_from_quat(gaussians.quats), rtol=0, atol=0.02
    )


def test_no_gaussians() -> None:
    nothing = some_gaussians(5).map(lambda tensor: tensor[:0])
    ranges = measure_quantization([nothing])
    assert zlib.decompress(encode_frame(nothing, ranges)) == b""


def test_ranges_hold_all_frames() -> None:
    frames = [some_gaussians(seed=seed) for seed in range(3)]
    ranges = measure_quantization(frames)
    everything = Gaussians.cat([frame.reshape(1) for frame in frames])
    assert torch.tensor(ranges.lower).equal(everything.means.amin((0, 1)))
    assert torch.tensor(ranges.upper).equal(everything.means.amax((0, 1)))
    assert ranges.log_scale_upper == pytest.approx(float(everything.scales.max().log()))


def test_visible_leaves_out_exactly_what_is_never_drawn() -> None:
    gaussians = some_gaussians(4)
    opacities = torch.tensor([0.0, 1 / 255 - 1e-5, 1 / 255 + 1e-5, 1.0])
    gaussians = Gaussians(
        gaussians.means, gaussians.quats, gaussians.scales, opacities, gaussians.colors
    )
    assert visible(gaussians).opacities.equal(opacities[2:])
    assert visible(gaussians.to(torch.float16)).means.dtype == torch.float32


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
    assert len(encode_frame(gaussians, ranges)) < 8 * count


def test_values_that_are_not_finite() -> None:
    bad = some_gaussians()
    bad.colors[3, 1] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        measure_quantization([bad])
