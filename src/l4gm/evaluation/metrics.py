"""Picture metrics."""

from __future__ import annotations

import torch
from torch import Tensor


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, data range 1.

    Args:
        prediction, target: [..., C, H, W] in [0, 1].

    Returns:
        [...], one value per image, at most 100 dB (equal images).
    """
    error = (prediction - target).square().mean((-3, -2, -1))
    return -10 * torch.log10(error.clamp(min=1e-10))


def flicker(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared change between consecutive frames of a still view, less that of the truth.

    Args:
        prediction, target: [T, ..., C, H, W] in [0, 1].

    Returns:
        a scalar; 0 for one frame. Positive: it flickers more than the truth moves.
    """
    if len(prediction) < 2:
        return prediction.new_zeros(())
    return prediction.diff(dim=0).square().mean() - target.diff(dim=0).square().mean()
