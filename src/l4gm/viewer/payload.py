"""The player's data: quantised Gaussians, as differences, deflated. docs/format.md has the layout.

A frame is one byte a Gaussian in each of `PLANES`. Neighbours in a frame are neighbours in a
picture and change little from frame to frame: the first frame of each group of `GROUP_FRAMES`
stores every value as its difference from the Gaussian before it, the others from the same Gaussian
in the frame before. Where rows of consecutive frames have nothing to do with each other, every
frame is a group of its own, sorted so that neighbours are neighbours in space.
`static/payload.js` is the decoder; it needs nothing of the browser but
inflating, since pictures read back from a canvas are not exact in every browser.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.gaussians.order import spatially_ordered
from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import visible
from l4gm.geometry.rotations import quat_multiply

PLANES = (
    *("x_low", "x_high", "y_low", "y_high", "z_low", "z_high"),
    *("scale_0", "scale_1", "scale_2"),
    *("turn_x", "turn_y", "turn_z"),
    *("red", "green", "blue", "opacity"),
)
GROUP_FRAMES = 8  # so many frames are decoded at most to show one
STEPS = {"means": 4095, "log_scales": 127, "turns": 254, "colors": 127, "opacities": 255}

_MIN_SCALE = 1e-4  # far below a pixel: the renderer's blur hides what lies under it
_IDENTITY = (1.0, 0.0, 0.0, 0.0)

_Levels = NDArray[np.uint16]  # [N, 13]: means 3, scales 3, turns 3, colors 3, opacity


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What the integers of a payload stand for, over all frames; `STEPS` are their largest.

    Args:
        lower, upper: [3], corners of the box of the means.
        log_scale_lower, log_scale_upper: natural logarithms of scales.
        reference: unit quaternion, w first, that rotations are counted from.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    log_scale_lower: float
    log_scale_upper: float
    reference: tuple[float, ...]


def measure_quantization(frames: Iterable[Gaussians]) -> Quantization:
    """The ranges of what is visible in frames [N].

    Raises:
        ValueError: values that are not finite.
    """
    lower, upper = torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    log_lower, log_upper = torch.inf, -torch.inf
    products = torch.zeros(4, 4, dtype=torch.float64)
    for frame in frames:
        seen = _seen(_on_cpu(frame))
        if seen.num_gaussians:
            logs = _log_scales(seen)
            lower = torch.minimum(lower, seen.means.amin(0))
            upper = torch.maximum(upper, seen.means.amax(0))
            log_lower = min(log_lower, logs.min().item())
            log_upper = max(log_upper, logs.max().item())
            quats = _unit(seen.quats).double()
            products += quats.mT @ quats
    if log_lower > log_upper:  # nothing is visible in any frame
        lower, upper, log_lower, log_upper = torch.zeros(3), torch.ones(3), 0.0, 0.0
    # The rotation that the others lie nearest to, q and -q being one: so few are half a turn away,
    # where the numbers jump between neighbours.
    reference = torch.linalg.eigh(products).eigenvectors[:, -1]
    return Quantization(
        lower=tuple(lower.tolist()),
        upper=tuple(upper.tolist()),
        log_scale_lower=log_lower,
        log_scale_upper=log_upper,
        reference=tuple(reference.tolist()),
    )


def encode_frames(
    frames: Iterable[Gaussians], ranges: Quantization, group_frames: int = GROUP_FRAMES
) -> Iterator[bytes]:
    """Deflated planes (zlib format) of each of the frames [N], on all cores, a group at a time.

    In groups of one frame rows are sorted. Gaussians that are drawn nowhere get an opacity of 0,
    and otherwise what costs least.
    """

    def compressed(planes: NDArray[np.uint8]) -> bytes:
        return zlib.compress(planes.tobytes(), 9)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        group: list[NDArray[np.uint8]] = []
        previous: _Levels | None = None
        for frame in frames:
            if group_frames == 1:
                frame = spatially_ordered(frame)
            levels = _quantised(frame, ranges, previous)
            group.append(_planes(levels, previous))
            previous = levels if len(group) % group_frames else None
            if len(group) >= GROUP_FRAMES:
                yield from pool.map(compressed, group)
                group = []
        yield from pool.map(compressed, group)


def _quantised(frame: Gaussians, ranges: Quantization, previous: _Levels | None) -> _Levels:
    frame = _on_cpu(frame)
    turned = quat_multiply(
        torch.tensor(ranges.reference) * torch.tensor([1.0, -1, -1, -1]), _unit(frame.quats)
    )
    turned = torch.where(turned[:, :1] < 0, -turned, turned)
    # Modified Rodrigues parameters: the axis times tan(angle / 4), within the unit ball.
    turns = turned[:, 1:] / (1 + turned[:, :1])
    lower, upper = torch.tensor(ranges.lower), torch.tensor(ranges.upper)
    columns = [
        _steps(frame.means, lower, upper, STEPS["means"]),
        _steps(
            _log_scales(frame), ranges.log_scale_lower, ranges.log_scale_upper, STEPS["log_scales"]
        ),
        _steps(turns, -1.0, 1.0, STEPS["turns"]),
        _steps(frame.colors, 0.0, 1.0, STEPS["colors"]),
        _steps(frame.opacities[:, None], 0.0, 1.0, STEPS["opacities"]),
    ]
    levels = torch.cat(columns, 1).numpy().astype(np.uint16)
    seen = visible(frame).numpy()
    if previous is None:
        source = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), 0))
        levels = levels[source]
    else:
        levels = np.where(seen[:, None], levels, previous)
    levels[~seen, -1] = 0
    return levels


def _planes(levels: _Levels, previous: _Levels | None) -> NDArray[np.uint8]:
    """[16, N]: differences; of means zigzag coded as low and high bytes, of the rest modulo 256."""
    if previous is None:
        previous = np.zeros_like(levels)
        previous[1:] = levels[:-1]
    steps = levels.astype(np.int32).T - previous.T
    zigzag = np.where(steps[:3] < 0, -2 * steps[:3] - 1, 2 * steps[:3])  # 0 -1 1 -2: 0 1 2 3
    halves = np.stack([zigzag & 255, zigzag >> 8], 1).reshape(6, -1)
    return np.concatenate([halves, steps[3:] & 255]).astype(np.uint8)


def _seen(frame: Gaussians) -> Gaussians:
    """Those [N'] of a set [N] that are drawn anywhere.

    Raises:
        ValueError: values that are not finite.
    """
    if not all(bool(getattr(frame, field.name).isfinite().all()) for field in fields(frame)):
        raise ValueError("the frames hold values that are not finite")
    keep = visible(frame)
    return frame.map(lambda tensor: tensor[keep])


def _on_cpu(gaussians: Gaussians) -> Gaussians:
    return gaussians.detach().to("cpu", torch.float32)


def _log_scales(gaussians: Gaussians) -> Tensor:
    return gaussians.scales.clamp(min=_MIN_SCALE).log()


def _unit(quats: Tensor) -> Tensor:
    """Quaternions of length one; the identity for those of length zero."""
    lengths = quats.norm(dim=-1, keepdim=True)
    return torch.where(lengths > 0, quats / lengths.clamp(min=1e-30), torch.tensor(_IDENTITY))


def _steps(values: Tensor, lower: Tensor | float, upper: Tensor | float, count: int) -> Tensor:
    """Whole numbers 0 .. count for values from lower to upper; the nearest end for those beyond."""
    low, high = (torch.as_tensor(value, dtype=torch.float64) for value in (lower, upper))
    return ((values - low) / (high - low).clamp(min=1e-12)).clamp(0, 1).mul(count).round()
