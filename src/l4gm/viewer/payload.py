"""The player's data: frames quantised to 17 bytes a Gaussian, then deflated.

A frame is 17 planes of one byte a Gaussian, in the order of `PLANES`. Neighbours in a frame are
neighbours in a picture, so each value is stored as its difference from the one before it, which
deflates well: bytes modulo 256; positions as 16-bit differences, zigzag coded (0, -1, 1, -2 ... as
0, 1, 2, 3 ...), low and high byte in planes of their own. `static/payload.js` is the decoder.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4gm.gaussians.types import Gaussians

PLANES = (
    *("x_low", "x_high", "y_low", "y_high", "z_low", "z_high"),
    *("scale_0", "scale_1", "scale_2"),
    *("quat_w", "quat_x", "quat_y", "quat_z"),
    *("red", "green", "blue", "opacity"),
)
MIN_ALPHA = 1 / 255  # a Gaussian less opaque than this is drawn nowhere
_MIN_SCALE = 1e-4  # far below a pixel: the renderer's blur hides what lies under it


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """The ranges that the integers of a payload stand for, over all frames.

    Args:
        lower, upper: [3], corners of the box of the means; 0 and 65535.
        log_scale_lower, log_scale_upper: natural logarithms of scales; 0 and 255.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    log_scale_lower: float
    log_scale_upper: float


def visible(gaussians: Gaussians) -> Gaussians:
    """The Gaussians [N'] of a set [N] that are drawn anywhere, on the CPU, float32, in order."""
    gaussians = gaussians.detach().to("cpu").map(lambda tensor: tensor.float())
    keep = gaussians.opacities >= MIN_ALPHA
    return gaussians.map(lambda tensor: tensor[keep])


def measure_quantization(frames: Iterable[Gaussians]) -> Quantization:
    """The ranges of frames that `visible` returned.

    Raises:
        ValueError: values that are not finite.
    """
    lower, upper = np.full(3, np.inf), np.full(3, -np.inf)
    scale_lower, scale_upper = np.inf, -np.inf
    for frame in frames:
        if not all(
            getattr(frame, name).isfinite().all()
            for name in ("means", "quats", "scales", "opacities", "colors")
        ):
            raise ValueError("the frames hold values that are not finite")
        if frame.num_gaussians:
            means, scales = frame.means.numpy(), frame.scales.numpy()
            lower, upper = np.minimum(lower, means.min(0)), np.maximum(upper, means.max(0))
            scale_lower = min(scale_lower, float(scales.min()))
            scale_upper = max(scale_upper, float(scales.max()))
    if not np.isfinite(scale_lower):  # nothing is visible in any frame
        lower, upper, scale_lower, scale_upper = np.zeros(3), np.ones(3), 1.0, 1.0
    return Quantization(
        lower=(float(lower[0]), float(lower[1]), float(lower[2])),
        upper=(float(upper[0]), float(upper[1]), float(upper[2])),
        log_scale_lower=float(np.log(max(scale_lower, _MIN_SCALE))),
        log_scale_upper=float(np.log(max(scale_upper, _MIN_SCALE))),
    )


def encode_frame(frame: Gaussians, ranges: Quantization) -> bytes:
    """One frame that `visible` returned, [N], as deflated planes (zlib format)."""
    lower, upper = np.array(ranges.lower), np.array(ranges.upper)
    places = _quantised(frame.means.numpy(), lower, upper, 65535).astype(np.uint16)
    scales = _quantised(
        np.log(np.maximum(frame.scales.numpy(), _MIN_SCALE)),
        ranges.log_scale_lower,
        ranges.log_scale_upper,
        255,
    )
    quats = frame.quats.numpy()
    quats = quats / np.maximum(np.linalg.norm(quats, axis=-1, keepdims=True), 1e-30)
    # q and -q are one rotation; with w >= 0 neighbours differ less.
    quats = np.where(quats[:, :1] < 0, -quats, quats)
    colors = _quantised(frame.colors.numpy(), 0, 1, 255)
    opacities = _quantised(frame.opacities.numpy()[:, None], 0, 1, 255)
    bytes_ = np.concatenate([scales, np.rint(quats * 127) + 128, colors, opacities], -1)
    planes = np.concatenate([_zigzag_planes(places), _differences(bytes_.astype(np.uint8)).T])
    return zlib.compress(planes.tobytes(), 9)


def _quantised(
    values: NDArray[np.float32],
    lower: NDArray[np.float64] | float,
    upper: NDArray[np.float64] | float,
    steps: int,
) -> NDArray[np.float64]:
    extent = np.maximum(np.asarray(upper, np.float64) - lower, 1e-12)
    return np.rint(np.clip((values - lower) / extent, 0, 1) * steps)


def _differences(values: NDArray) -> NDArray:
    """[N, k] of an unsigned type: each row less the row before it, modulo the type's range."""
    out = values.copy()
    out[1:] -= values[:-1]
    return out


def _zigzag_planes(places: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """[6, N]: low and high bytes of x, y, z."""
    signed = _differences(places).view(np.int16).astype(np.int32)
    zigzag = ((signed << 1) ^ (signed >> 31)).astype(np.uint16).T  # [3, N]
    return np.stack([zigzag & 255, zigzag >> 8], 1).reshape(6, -1).astype(np.uint8)
