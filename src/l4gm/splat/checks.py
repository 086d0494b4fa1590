"""Inputs that are not finite, found in one pass and named."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras


def sum_of_all(gaussians: Gaussians, cameras: Cameras, background: Tensor) -> Tensor:
    """The sum of all numbers, on the device of the Gaussians; nothing waits for it.

    It is not finite where any of them is not (and where finite ones overflow), so that one number
    tells whether a closer look is worth while.
    """
    with torch.no_grad():
        total = torch.zeros((), device=gaussians.device)
        for tensor in _named(gaussians, cameras, background).values():
            total += tensor.sum().to(total.device, non_blocking=total.is_cuda)
        return total


def check_finite(gaussians: Gaussians, cameras: Cameras, background: Tensor, total: float) -> None:
    """Raise a ValueError that names the tensor, if the sum of all betrays a value not finite."""
    if math.isfinite(total):
        return
    for name, tensor in _named(gaussians, cameras, background).items():
        bad = ~torch.isfinite(tensor.detach())
        if bool(bad.any()):
            raise ValueError(
                f"{name} {list(tensor.shape)} holds {int(bad.sum())} values that are not finite "
                "(NaN or infinity)"
            )


def _named(gaussians: Gaussians, cameras: Cameras, background: Tensor) -> dict[str, Tensor]:
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "colors": gaussians.colors,
        "world_from_camera": cameras.world_from_camera,
        "intrinsics": cameras.intrinsics,
        "background": background,
    }
