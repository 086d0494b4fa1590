"""Distance to the outline of a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far pixels are from the outline, by OpenCV.

    Args:
        mask: [H, W].

    Returns:
        [H, W] in pixels from the pixel's centre to the outline: positive inside, negative outside;
        as far as the image is wide where there is no outline.
    """
    import cv2

    farthest = float(max(mask.shape))
    if mask.all() or not mask.any():
        return np.full(mask.shape, farthest if mask.all() else -farthest, np.float32)
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for part in (mask, ~mask)
    )
    # Distances are to the nearest pixel on the other side, half a pixel beyond the outline.
    signed = np.where(mask, inside - 0.5, 0.5 - outside)
    return signed.astype(np.float32)
