"""Crop and resize in one step, by exact area when shrinking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """A square part of a picture, in its pixels; it may reach beyond the picture."""

    left: float
    top: float
    side: float


def crop_and_resize(image: Tensor, crop: Crop, size: int) -> Tensor:
    """The crop, resized to size x size.

    Shrinking weighs each source pixel with the area that it shares with the target pixel (for
    whole factors the mean of the block); enlarging is bilinear. What lies beyond the picture
    counts as 0, so colours must be premultiplied by alpha.

    Args:
        image: [C, H, W] float.
        crop: in pixels of `image`.
        size: width and height of the result.

    Returns:
        [C, size, size].
    """
    rows = resize_weights(image.shape[1], crop.top, crop.side, size).to(image)
    columns = resize_weights(image.shape[2], crop.left, crop.side, size).to(image)
    return rows @ (image @ columns.T)


def resize_weights(length: int, start: float, extent: float, count: int) -> Tensor:
    """[count, length]: how much each source pixel gives to each target pixel along one axis.

    Args:
        length: source pixels; pixel j covers j to j + 1.
        start, extent: the part of the source axis that the target covers.
        count: target pixels.
    """
    if extent <= 0 or count < 1:
        raise ValueError(f"need extent > 0 and count >= 1, got {extent} and {count}")
    step = extent / count
    cells = torch.arange(count, dtype=torch.float64)[:, None] * step + start
    pixels = torch.arange(length, dtype=torch.float64)[None]
    if step >= 1:
        overlap = torch.minimum(cells + step, pixels + 1) - torch.maximum(cells, pixels)
        return overlap.clamp_min(0) / step
    centers = cells + step / 2 - 0.5
    inside = (centers > -0.5) & (centers < length - 0.5)
    centers = torch.where(inside, centers.clamp(0, length - 1), centers)
    return (1 - (centers - pixels).abs()).clamp_min(0)
