"""From the network's 14 output channels to Gaussians.

The only place that knows their order: means 3, opacity 1, scales 3, quats 4, colors 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.gaussians.types import Gaussians

CHANNELS = {"means": 3, "opacities": 1, "scales": 3, "quats": 4, "colors": 3}
NUM_CHANNELS = sum(CHANNELS.values())

SCALE_UNIT = 0.1


def split_channels(features: Tensor) -> dict[str, Tensor]:
    """[..., 14] into the parts named in `CHANNELS`."""
    return dict(zip(CHANNELS, features.split(tuple(CHANNELS.values()), -1), strict=True))


def to_tokens(maps: Tensor, batch: int, frames: int) -> Tensor:
    """[B T V, C, h, w] -> [B, T, V h w, C]: view-major, then row, then column."""
    return maps.permute(0, 2, 3, 1).reshape(batch, frames, -1, maps.shape[1])


def gaussians_xyz(features: Tensor) -> Gaussians:
    """Activations of the released models (DESIGN conventions; paper section 4.1).

    Args:
        features: [B, T, N, 14] float32.
    """
    parts = split_channels(features)
    return Gaussians(
        means=parts["means"].clamp(-1, 1),
        quats=F.normalize(parts["quats"], dim=-1),
        scales=SCALE_UNIT * F.softplus(parts["scales"]),
        opacities=parts["opacities"].squeeze(-1).sigmoid(),
        colors=0.5 * torch.tanh(parts["colors"]) + 0.5,
    )
