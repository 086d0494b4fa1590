"""Many clips on one picture, to look at a set before training on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4gm.data.clip import ClipRequest, ClipSource


def contact_sheet(
    source: ClipSource,
    rows: int = 8,
    columns: int = 8,
    size_px: int = 128,
    num_frames: int = 3,
    fps: float = 8.0,
    first_index: int = 0,
) -> NDArray[np.uint8]:
    """Clips `first_index`, `first_index + 1`, ... side by side, on white.

    Each clip shows `num_frames` pictures in a row: its frames from view 0, but the last frame from
    a free camera, so that the sheet shows shape and motion. Clips run left to right, then down.

    Args:
        source: of the clips.
        rows, columns: how many clips.
        size_px: of one picture.
        num_frames, fps: of each clip.

    Returns:
        [rows * size_px, columns * num_frames * size_px, 3] uint8.
    """
    request = ClipRequest(size_px=size_px, num_frames=num_frames, fps=fps, num_supervision_views=1)
    sheet = np.full((rows, columns, num_frames, size_px, size_px, 3), 255, np.uint8)
    for place in range(rows * columns):
        clip = source.clip(first_index + place, request)
        views = [0] * (num_frames - 1) + [clip.images.shape[1] - 1]
        pictures = clip.images[np.arange(num_frames), views].astype(np.float32)
        alpha = pictures[..., 3:] / 255
        on_white = pictures[..., :3] * alpha + 255 * (1 - alpha)
        sheet[place // columns, place % columns] = (on_white + 0.5).astype(np.uint8)
    stacked = sheet.transpose(0, 3, 1, 2, 4, 5)  # rows, y, columns, frames, x, channel
    return np.ascontiguousarray(stacked.reshape(rows * size_px, columns * num_frames * size_px, 3))
