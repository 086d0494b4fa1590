"""Which Gaussians are drawn at all: what files can leave out, and what fills frames up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians

MIN_ALPHA = 1 / 255
"""No rasterizer draws a Gaussian less opaque than this, at any pixel."""


def visible(gaussians: Gaussians) -> Tensor:
    """bool [..., N]: which Gaussians of [..., N] are drawn somewhere."""
    return gaussians.opacities >= MIN_ALPHA


def without_invisible(gaussians: Gaussians) -> Gaussians:
    """The visible Gaussians of one set [N], in order; one of those given if none is visible.

    Formats and programs of others cannot do with an empty set.
    """
    keep = visible(gaussians)
    if not keep.any():
        keep[:1] = True
    return gaussians.map(lambda tensor: tensor[keep])


def padded(gaussians: Gaussians, more: int) -> Gaussians:
    """One set [N] and `more` copies of its last Gaussian that are invisible (opacity 0)."""
    if more == 0:
        return gaussians
    if gaussians.num_gaussians == 0:
        filler = gaussians.map(lambda tensor: tensor.new_ones(more, *tensor.shape[1:]))
    else:
        filler = gaussians.map(lambda tensor: tensor[-1:].expand(more, *tensor.shape[1:]))
    return Gaussians.cat([gaussians, replace(filler, opacities=torch.zeros_like(filler.opacities))])


def stack_padded(sets: Sequence[Gaussians]) -> Gaussians:
    """Sets [N] of differing counts as [T, N of the largest], the others `padded`."""
    count = max(frame.num_gaussians for frame in sets)
    return Gaussians.stack([padded(frame, count - frame.num_gaussians) for frame in sets])


def without_padding(gaussians: Gaussians) -> Gaussians:
    """One set [N] without the Gaussian that `padded(..., 1)` put at its end, if it did."""
    if gaussians.num_gaussians > 1 and bool(gaussians.opacities[-1] == 0):
        return gaussians.map(lambda tensor: tensor[:-1])
    return gaussians
