"""Layers that the parts of the network share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer whose output starts at zero."""
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def area(maps: Tensor, like: Tensor) -> Tensor:
    """Maps [n, C, H, W] averaged to the size of others, and in their precision."""
    height, width = like.shape[-2:]
    return F.adaptive_avg_pool2d(maps, (height, width)).to(like.dtype)


class Conv(nn.Sequential):
    """3 x 3 convolution, group norm, SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()
        )


class Residual(nn.Module):
    """Two convolutions beside a shortcut; starts as nothing but that."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = zeroed(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class Up(nn.Module):
    """Twice as fine, joined with the encoder's features and more."""

    def __init__(self, coarse: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, outputs, 1)
        self.join = Conv(outputs + skipped, outputs)
        self.refine = Residual(outputs)

    def forward(self, x: Tensor, *skipped: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.refine(self.join(torch.cat([x, *skipped], 1)))
