"""Largest, smallest and sum over square windows, in a number of passes that grows with the
logarithm of the window (torch's pooling takes time in proportion to it)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def dilate(image: Tensor, radius_px: int) -> Tensor:
    """[..., H, W]: the largest value in the square of this radius, cut at the picture's edge."""
    for axis in (-1, -2):
        padded = _pad(image, axis, radius_px, float("-inf"))
        width, length = 1, 2 * radius_px + 1
        while width < length:  # windows may overlap: a maximum does not mind
            step = min(width, length - width)
            padded = torch.maximum(*_shifted(padded, axis, step))
            width += step
        image = padded
    return image


def erode(image: Tensor, radius_px: int) -> Tensor:
    """[..., H, W]: the smallest value in the square; beyond the picture it goes on as inside."""
    return -dilate(-image, radius_px)


def box_sum(image: Tensor, radius_px: int) -> Tensor:
    """[..., H, W]: the sum over the square of this radius, zero beyond the picture's edge."""
    for axis in (-1, -2):
        power = _pad(image, axis, radius_px, 0.0)  # sums over windows of 1, 2, 4, ...
        size = image.shape[axis]
        total = torch.zeros_like(image)
        offset, length = 0, 2 * radius_px + 1
        for bit in range(length.bit_length()):
            if length >> bit & 1:
                total = total + power.narrow(axis, offset, size)
                offset += 1 << bit
            if length >> bit > 1:
                first, second = _shifted(power, axis, 1 << bit)
                power = first + second
        image = total
    return image


def _pad(image: Tensor, axis: int, radius_px: int, value: float) -> Tensor:
    sides = (radius_px, radius_px) if axis == -1 else (0, 0, radius_px, radius_px)
    return functional.pad(image, sides, value=value)


def _shifted(image: Tensor, axis: int, step: int) -> tuple[Tensor, Tensor]:
    """The picture without its last and without its first `step` rows or columns."""
    length = image.shape[axis] - step
    return image.narrow(axis, 0, length), image.narrow(axis, step, length)
