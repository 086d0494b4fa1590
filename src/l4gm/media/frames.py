"""Forms of a frame: its levels, its orientation, its rate."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.io.rates import FPS_RANGE, is_frame_rate


def frame_rate(fps: float) -> Fraction:
    """The rate as FFmpeg wants it; 29.97 and its like become 30000/1001.

    Raises:
        ValueError: if it is none (`io.rates`).
    """
    if not is_frame_rate(fps):
        raise ValueError(f"fps must be {FPS_RANGE}, got {fps}")
    ntsc = Fraction(round(fps) * 1000, 1001)
    if ntsc and abs(float(ntsc) - fps) < 1e-3 * fps / 2 and abs(round(fps) - fps) > 1e-6:
        return ntsc
    return Fraction(fps).limit_denominator(1000)


def frame_levels(frame: Tensor) -> NDArray[np.uint8]:
    """uint8 [H, W, 3 or 4] of a frame that is this already, or float [3 or 4, H, W] in [0, 1].

    Raises:
        ValueError: if it is neither.
    """
    if frame.ndim != 3:
        raise ValueError(f"a frame must have 3 dimensions, got {list(frame.shape)}")
    if frame.dtype == torch.uint8:
        array = frame.detach().cpu().numpy()
    else:
        levels = frame.detach().float().clamp(0, 1).mul(255).round()
        array = levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    if array.shape[2] not in (3, 4):
        raise ValueError(
            "a frame must be uint8 [H, W, 3 or 4] or float [3 or 4, H, W], "
            f"got {frame.dtype} {list(frame.shape)}"
        )
    return array


def upright(array: NDArray[np.uint8], display_matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Apply a display matrix, rounded to quarter turns and mirrorings.

    Args:
        array: [H, W, C].
        display_matrix: [9], FFmpeg's form (libavutil/display.h): with y down,
            x' = m[0] x + m[3] y and y' = m[1] x + m[4] y.
    """
    xx, yx, _, xy, yy = display_matrix[:5].tolist()
    if abs(xx) + abs(yy) >= abs(yx) + abs(xy):
        mirror_x, mirror_y = xx < 0, yy < 0
    else:
        array = array.swapaxes(0, 1)
        mirror_x, mirror_y = xy < 0, yx < 0
    return array[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
