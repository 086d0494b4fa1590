"""Picture metrics that need no trained network; batched, and computed where the pictures are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SSIM_WINDOW_PX = 11
_SSIM_SIGMA_PX = 1.5
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


def psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, data range 1.

    Args:
        prediction, target: [..., C, H, W] in [0, 1].

    Returns:
        [...], one value per image, at most 100 dB (equal images).
    """
    error = (prediction - target).square().mean((-3, -2, -1))
    return -10 * torch.log10(error.clamp(min=1e-10))


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Structural similarity (Wang et al., 2004), data range 1.

    Gaussian window of 11 px and sigma 1.5, averaged over the places where the window lies whole
    inside the picture, and over channels: what scikit-image gives with `gaussian_weights=True` and
    `use_sample_covariance=False`, and torchmetrics by default.

    Args:
        prediction, target: [..., C, H, W] in [0, 1], at least 11 px high and wide.

    Returns:
        [...], one value per image, 1 for equal images.

    Raises:
        ValueError: pictures smaller than the window.
    """
    if min(prediction.shape[-2:]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"SSIM needs pictures of at least {SSIM_WINDOW_PX} px, got {list(prediction.shape)}"
        )
    x = prediction.reshape(-1, 1, *prediction.shape[-2:])
    y = target.reshape(-1, 1, *target.shape[-2:])
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    variance_x = _window_mean(x * x) - mean_x.square()
    variance_y = _window_mean(y * y) - mean_y.square()
    covariance = _window_mean(x * y) - mean_x * mean_y
    c1, c2 = _SSIM_K1**2, _SSIM_K2**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2)
    )
    per_channel = similarity.mean((-3, -2, -1)).reshape(prediction.shape[:-2])
    return per_channel.mean(-1)


def _window_mean(values: Tensor) -> Tensor:
    """[B, 1, H, W] to [B, 1, H - 10, W - 10], Gaussian weights, one direction after the other."""
    return _mean_along(_mean_along(values, -2), -1)


def _mean_along(values: Tensor, dim: int) -> Tensor:
    """The window's mean along one direction: a sum of shifted copies, which on the CPU takes a
    fifth of the time of a convolution with one channel."""
    half = SSIM_WINDOW_PX // 2
    weights = [math.exp(-0.5 * (place / _SSIM_SIGMA_PX) ** 2) for place in range(-half, half + 1)]
    length = values.shape[dim] - 2 * half
    total = values.narrow(dim, half, length) * (weights[half] / sum(weights))
    for place in range(half):  # the window is symmetric
        pair = values.narrow(dim, place, length) + values.narrow(dim, 2 * half - place, length)
        total.add_(pair, alpha=weights[place] / sum(weights))
    return total


def alpha_iou(prediction: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """Overlap of silhouettes: intersection over union of the places where alpha is above half.

    Args:
        prediction, target: [..., 1, H, W] alpha in [0, 1].
        threshold: alpha above it is object.

    Returns:
        [...] in [0, 1]; 1 where both are empty.
    """
    x, y = prediction > threshold, target > threshold
    union = (x | y).sum((-3, -2, -1))
    shared = (x & y).sum((-3, -2, -1))
    return torch.where(union > 0, shared / union.clamp(min=1), torch.ones_like(union).float())


def flicker(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared change between consecutive frames of a still view, less that of the truth.

    Args:
        prediction, target: [T, ..., C, H, W] in [0, 1].

    Returns:
        a scalar; 0 for one frame. Positive: it flickers more than the truth moves.
    """
    return motion_energy(prediction) - motion_energy(target)


def motion_energy(images: Tensor) -> Tensor:
    """Mean squared change between consecutive frames of still views [T, ..., C, H, W]; a scalar,
    0 for one frame."""
    if len(images) < 2:
        return images.new_zeros(())
    return images.diff(dim=0).square().mean()


def gradient_energy(images: Tensor) -> Tensor:
    """Mean squared difference of neighbouring pixels: how much detail there is, outlines included.

    The root of an image's energy over that of the truth is its sharpness. A step over one pixel has
    k times the energy of the same step smeared over k; an even background has none.

    Args:
        images: [..., C, H, W], at least 2 px high and wide.

    Returns:
        a scalar over all images.
    """
    return sum((images.diff(dim=dim).square().mean() for dim in (-2, -1)), images.new_zeros(()))
