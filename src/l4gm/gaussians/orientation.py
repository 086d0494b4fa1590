"""The axes and the size a file has, which need not be our world's: turned and scaled, and back.

Our world is right-handed with y up. Files of other programs take other axes for up; all of ours are
turns about x, so that what was right stays right.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.rotations import matrix_from_quat, quat_multiply

Up = Literal["y", "-y", "z", "-z"]
UPS: tuple[Up, ...] = get_args(Up)

_TURNS_DEGREES = {"y": 0.0, "-y": 180.0, "z": 90.0, "-z": -90.0}  # about x


def to_file_axes(gaussians: Gaussians, up: Up = "y", scale: float = 1.0) -> Gaussians:
    """Gaussians [..., N] of our world as a file holds them whose up axis is `up`.

    Args:
        gaussians: [..., N] on the CPU.
        up: the axis that points up in the file.
        scale: the file's units in one of ours.

    Raises:
        ValueError: an unknown axis, or a scale that is not positive.
    """
    _check(up, scale)
    return _turned(gaussians, _TURNS_DEGREES[up], scale)


def from_file_axes(gaussians: Gaussians, up: Up = "y", scale: float = 1.0) -> Gaussians:
    """The other way: what `to_file_axes` made, in our world again, quaternion signs too.

    Raises:
        ValueError: as `to_file_axes`.
    """
    _check(up, scale)
    return _turned(gaussians, -_TURNS_DEGREES[up], 1 / scale)


def _check(up: str, scale: float) -> None:
    if up not in UPS:
        raise ValueError(f"up must be one of {', '.join(map(repr, UPS))}, got {up!r}")
    if not 0 < scale < math.inf:
        raise ValueError(f"scale must be positive, got {scale}")


def _turned(gaussians: Gaussians, degrees: float, scale: float) -> Gaussians:
    if degrees == 0 and scale == 1:
        return gaussians
    turn = _turn_about_x(degrees).to(gaussians.means.dtype)
    # Rounded: the entries are 0, 1 and -1, and a half turn and back must give the same bits.
    matrix = matrix_from_quat(turn).round()
    return Gaussians(
        means=gaussians.means @ matrix.mT * scale,
        quats=quat_multiply(turn.expand_as(gaussians.quats), gaussians.quats),
        scales=gaussians.scales * scale,
        opacities=gaussians.opacities,
        colors=gaussians.colors,
    )


def _turn_about_x(degrees: float) -> Tensor:
    if abs(degrees) == 180:
        return torch.tensor([0.0, math.copysign(1, degrees), 0.0, 0.0])
    half = math.radians(degrees) / 2
    return torch.tensor([math.cos(half), math.sin(half), 0.0, 0.0])
