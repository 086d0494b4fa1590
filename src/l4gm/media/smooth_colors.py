"""Colours that change smoothly over the frame: gradients and vignettes, as polynomials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from l4gm.media.components import border, connected_to
from l4gm.media.matte import WHOLE, Window

_SIDE_PX = 96  # frames are shrunk to this for the fit
_FRAMES = 6
_RING = 0.06  # of the side: where the fit begins
_DEGREES = (2, 2, 4, 4, 6, 6)  # of the polynomial from round to round
_NEAR = 14.0  # levels: a pixel this close to the fit belongs to the background
_LEAST_SEEN = 0.15  # of the frame: with less background there is nothing to fit


@dataclass(frozen=True)
class SmoothColors:
    """A polynomial of the place for each channel.

    Args:
        weights: [3, terms] of the monomials x^a y^b, a + b <= degree; x, y in [-1, 1].
    """

    weights: NDArray[np.float64]

    def at(self, height: int, width: int, window: Window = WHOLE) -> Tensor:
        """[3, height, width] float32 levels of a part of the frame."""
        y = 2 * (window.top + (np.arange(height) + 0.5) / height * (window.bottom - window.top)) - 1
        x = 2 * (window.left + (np.arange(width) + 0.5) / width * (window.right - window.left)) - 1
        colors = np.zeros((3, height, width), np.float32)
        for weight, (a, b) in zip(self.weights.T, _powers(self.weights.shape[1]), strict=True):
            colors += (weight[:, None, None] * (y[:, None] ** b * x[None] ** a)).astype(np.float32)
        return torch.from_numpy(colors.clip(0, 255))


@dataclass(frozen=True, kw_only=True)
class SmoothFit:
    """A fit, and how good it is.

    Args:
        colors: the fit.
        mean: RGB, its mean over the background.
        noise: robust standard deviation of the background around it, in levels.
        spread: levels within which 90 % of the background lie.
        border_share: of the frame's border that it explains.
    """

    colors: SmoothColors
    mean: tuple[float, float, float]
    noise: float
    spread: float
    border_share: float


def fit_smooth_colors(frames: Sequence[Tensor]) -> SmoothFit | None:
    """The smooth background that all frames share; None if there is too little of it.

    The fit begins at the frame's border. From round to round it takes in what it explains and is
    connected with the border, by polynomials of growing degree.

    Args:
        frames: uint8 [H, W, 3 or 4], of one size.
    """
    chosen = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames)))]
    height, width = frames[0].shape[:2]
    scale = min(1.0, _SIDE_PX / min(height, width))
    size = (round(height * scale), round(width * scale))
    images = np.stack([_shrunk(frame, size) for frame in chosen])  # [S, h, w, 3]
    edge = border(*size)
    ring = np.zeros(size, bool)
    thickness = max(2, round(_RING * min(size)))
    for inset in range(thickness):
        ring[inset : size[0] - inset, inset : size[1] - inset] |= border(
            size[0] - 2 * inset, size[1] - 2 * inset
        )
    used = np.broadcast_to(ring, images.shape[:3])
    for degree in _DEGREES:
        fit = _fitted(images, used, degree)
        distance = np.abs(images - fit.at(*size).permute(1, 2, 0).numpy()).max(-1)
        near = distance <= _NEAR
        used = np.stack([connected_to(each, edge) for each in near])
        if used.mean() < _LEAST_SEEN:
            return None
    residual = np.abs(images - fit.at(*size).permute(1, 2, 0).numpy())
    red, green, blue = images[used].mean(0).tolist()
    return SmoothFit(
        colors=fit,
        mean=(red, green, blue),
        noise=float(1.4826 * np.median(residual[used])),
        spread=float(np.quantile(residual[used].max(-1), 0.9)),
        border_share=float(near[:, edge].mean()),
    )


def _shrunk(frame: Tensor, size: tuple[int, int]) -> NDArray[np.float32]:
    levels = frame[..., :3].permute(2, 0, 1)[None].float()
    small: NDArray[np.float32] = functional.interpolate(levels, size, mode="area")[0].numpy()
    return small.transpose(1, 2, 0)


def _fitted(images: NDArray[np.float32], used: NDArray[np.bool_], degree: int) -> SmoothColors:
    """Least squares over the pixels used, three rounds of leaving out what lies far off."""
    height, width = used.shape[1:]
    y, x = np.meshgrid(
        2 * (np.arange(height) + 0.5) / height - 1,
        2 * (np.arange(width) + 0.5) / width - 1,
        indexing="ij",
    )
    count = (degree + 1) * (degree + 2) // 2
    terms = np.stack([x**a * y**b for a, b in _powers(count)], -1)
    basis = np.broadcast_to(terms, (*used.shape, count))[used]
    colors = images[used].astype(np.float64)
    keep = np.ones(len(colors), bool)
    weights = np.zeros((count, 3))
    for _ in range(3):
        gram = basis[keep].T @ basis[keep] + 1e-6 * keep.sum() * np.eye(count)
        weights = np.linalg.solve(gram, basis[keep].T @ colors[keep])
        error = np.abs(colors - basis @ weights).max(1)
        keep = error <= max(2.5 * float(np.median(error)), 4.0)
    return SmoothColors(weights.T)


def _powers(count: int) -> list[tuple[int, int]]:
    """(a, b) of the first monomials x^a y^b in the order of their degree."""
    powers: list[tuple[int, int]] = []
    degree = 0
    while len(powers) < count:
        powers += [(degree - b, b) for b in range(degree + 1)]
        degree += 1
    return powers[:count]
