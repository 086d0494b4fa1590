"""What of the frame is the picture: without black bars, pillars and lines along the edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from l4gm.media.matte import WHOLE, Window

_EVEN = 10  # levels: as much a bar may vary, over its area and over time
_EDGE = 24  # levels: as much the picture differs from the bar, just inside
_ALONG = 0.9  # share of the edge along which it does
_SOFT_PX = 3  # the edge may be this wide, by compression and scaling


def picture_window(frames: Sequence[Tensor]) -> Window:
    """The part of the frame inside bars; the whole frame where there are none.

    A bar is of one colour that never changes and ends in a straight edge along the whole side of
    the picture. Bars lie on two opposite sides or one, and lines along single edges.

    Args:
        frames: uint8 [H, W, 3 or 4], of one size, from all over the clip.
    """
    stack = np.stack([frame[..., :3].numpy() for frame in frames])
    low, high = stack.min(0).astype(np.int16), stack.max(0).astype(np.int16)
    height, width = low.shape[:2]
    top, bottom, left, right = 0, height, 0, width
    for _ in range(2):  # a line inside a bar's edge, a bar inside a line
        part_low, part_high = low[top:bottom, left:right], high[top:bottom, left:right]
        rows = _bars(part_low, part_high)
        columns = _bars(part_low.swapaxes(0, 1), part_high.swapaxes(0, 1))
        top, bottom = top + rows[0], bottom - rows[1]
        left, right = left + columns[0], right - columns[1]
    cut = (top, height - bottom, left, width - right)
    # All around lies the background of something rectangular, or a panel: not decided here.
    if not any(cut) or all(cut):
        return WHOLE
    if bottom - top < height // 8 or right - left < width // 8:
        return WHOLE
    return Window(left / width, top / height, right / width, bottom / height)


def _bars(low: NDArray[np.int16], high: NDArray[np.int16]) -> tuple[int, int]:
    """Thickness of the bars above and below an image [H, W, 3], given its extremes over time."""
    above, below = _thickness(low, high), _thickness(low[::-1], high[::-1])
    return (above, below) if above + below < len(low) else (0, 0)


def _thickness(low: NDArray[np.int16], high: NDArray[np.int16]) -> int:
    """Rows at the top that are a bar; 0 if they do not end in an edge."""
    color = np.median(low[0], 0)
    even = (np.abs(low - color) <= _EVEN).all((1, 2)) & (np.abs(high - color) <= _EVEN).all((1, 2))
    if not even[0]:
        return 0
    rows = len(even) if even.all() else int(np.argmin(even))
    for inside in range(rows, min(rows + _SOFT_PX + 1, len(low))):
        differs = np.maximum(np.abs(low[inside] - color), np.abs(high[inside] - color)).max(-1)
        if (differs > _EDGE).mean() >= _ALONG:
            return inside
    return 0
