"""The order of the rows of frames, as far as files gain from it.

Networks that give every pixel its Gaussian have the same part of the object in the same row of
every frame: what changes from frame to frame is little. Networks that lay Gaussians on a surface do
so frame by frame, and a row means nothing: there, rows are better sorted so that neighbours in a
frame are neighbours in space.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from l4gm.gaussians.still import unit_quats
from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import visible

_BITS = 10  # of each axis along the curve
_LEVELS = 63.0  # of the other properties, about what compressed files keep


def rows_correspond(num_frames: int, frame: Callable[[int], Gaussians]) -> bool:
    """Whether the n-th Gaussian of one frame is the n-th of the next, for the most part.

    Judged in the middle of the animation, by what the changes of all properties take to write: from
    row to row in time, against from neighbour to neighbour in space.

    Args:
        num_frames: T; of one frame the answer is yes.
        frame: index -> Gaussians [N].
    """
    if num_frames < 2:
        return True
    before, after = frame(num_frames // 2 - 1), frame(num_frames // 2)
    seen = visible(after)
    both = visible(before) & seen
    if not both.any() or int(seen.sum()) < 2:
        return True
    box = _box(after.means[seen])
    in_time = _levels(after, both, box) - _levels(before, both, box)
    ordered = spatially_ordered(after)
    in_space = _levels(ordered, visible(ordered), box).diff(dim=0)
    return _bits(in_time) < _bits(in_space)


def spatially_ordered(gaussians: Gaussians) -> Gaussians:
    """One set [N] along a space-filling curve (Morton's), what is invisible at the end."""
    seen = visible(gaussians)
    if not seen.any():
        return gaussians
    x, y, z = _steps(gaussians.means, *_box(gaussians.means[seen])).unbind(-1)
    code = _spread(x) | _spread(y) << 1 | _spread(z) << 2
    code[~seen] = 1 << (3 * _BITS)
    order = code.argsort(stable=True)
    return gaussians.map(lambda tensor: tensor[order])


def _box(means: Tensor) -> tuple[Tensor, Tensor]:
    """Lower corner [3] and longest side."""
    lower = means.amin(0)
    return lower, (means.amax(0) - lower).max().clamp(min=1e-12)


def _steps(means: Tensor, lower: Tensor, extent: Tensor) -> Tensor:
    top = (1 << _BITS) - 1
    return ((means - lower) / extent * top).round().clamp(0, top).long()


def _levels(gaussians: Gaussians, rows: Tensor, box: tuple[Tensor, Tensor]) -> Tensor:
    """[n, 13]: all properties but the opacity of some rows [N] of a set, in steps."""
    chosen = gaussians.map(lambda tensor: tensor[rows])
    quats = unit_quats(chosen.quats)
    others = [
        chosen.scales.clamp(min=1e-8).log() / 4,
        torch.where(quats[:, :1] < 0, -quats, quats),
        chosen.colors,
    ]
    steps = (torch.cat(others, -1).double() * _LEVELS).round().long()
    return torch.cat([_steps(chosen.means, *box), steps], -1)


def _bits(changes: Tensor) -> float:
    """Bits a number, about."""
    return float(torch.log2(1 + 2 * changes.abs().double()).mean())


def _spread(values: Tensor) -> Tensor:
    """Every bit of 10-bit integers moved to three times its place."""
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        values = (values | values << shift) & mask
    return values
