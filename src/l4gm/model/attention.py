"""Self-attention over the views of a time step, or over the time steps of a view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

# Every block ends in (x + shortcut) * RESIDUAL_SCALE, which keeps the variance.
RESIDUAL_SCALE = math.sqrt(0.5)


@dataclass(frozen=True)
class Grid:
    """How a batch of feature maps [B T V, C, h, w] is to be read: T and V."""

    num_frames: int
    num_views: int


class SelfAttention(nn.Module):
    """Multi-head self-attention with a joint qkv projection without bias."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """[batch, tokens, C] -> [batch, tokens, C]."""
        batch, length, channels = tokens.shape
        width = channels // self.num_heads
        # Strided views: nothing is copied on the way in or out of the fused kernel.
        query, key, value = (
            part.transpose(1, 2)
            for part in self.qkv(tokens).view(batch, length, 3, self.num_heads, width).unbind(2)
        )
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(batch, length, channels))


class GridAttention(nn.Module):
    """Group norm, self-attention along one axis of the grid, residual (paper section 4.2).

    Args:
        channels, num_heads, num_groups: of the layer.
        over: "views" attends over the (V h w) tokens of each time step, "time" over the (T h w)
            tokens of each view.
    """

    def __init__(
        self, channels: int, num_heads: int, num_groups: int, *, over: Literal["views", "time"]
    ) -> None:
        super().__init__()
        self.over = over
        self.norm = nn.GroupNorm(num_groups, channels, eps=1e-5)
        self.attn = SelfAttention(channels, num_heads)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[B T V, C, h, w] -> the same."""
        maps, channels, height, width = x.shape
        # In channels_last memory these reshapes are views.
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(maps, height * width, channels)
        if self.over == "views":
            out = self.attn(tokens.reshape(-1, grid.num_views * height * width, channels))
        else:
            out = self._over_time(tokens, grid)
        out = out.reshape(maps, height, width, channels).permute(0, 3, 1, 2)
        return (x + out) * RESIDUAL_SCALE

    def _over_time(self, tokens: Tensor, grid: Grid) -> Tensor:
        _, places, channels = tokens.shape
        frames, views = grid.num_frames, grid.num_views
        by_frame = tokens.reshape(-1, frames, views, places, channels)
        by_view = by_frame.transpose(1, 2).reshape(-1, frames * places, channels)
        out = self.attn(by_view).reshape(-1, views, frames, places, channels)
        return out.transpose(1, 2)
