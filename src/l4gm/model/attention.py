"""Self-attention over the views of a time step, or over the time steps of a view."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.geometry.cameras import Cameras

# Every block ends in (x + shortcut) * RESIDUAL_SCALE, which keeps the variance.
RESIDUAL_SCALE = math.sqrt(0.5)

NUM_POSITION_FEATURES = 7
NUM_VIEW_FEATURES = 4


@dataclass(frozen=True)
class Grid:
    """How a batch of feature maps [B T V, C, h, w] is to be read.

    Args:
        num_frames, num_views: T and V.
        view_features: [B T V, NUM_VIEW_FEATURES], or None where no layer wants codes.
    """

    num_frames: int
    num_views: int
    view_features: Tensor | None = None


def view_features(cameras: Cameras) -> Tensor:
    """[..., NUM_VIEW_FEATURES]: where each camera stands, seen from the origin.

    On the orbit rig: sin and cos of the azimuth, cos of twice the azimuth, sin of the elevation.
    The first three and a bias tell the four orthogonal views apart as a one-hot code would.
    """
    position = cameras.world_from_camera[..., :3, 3]
    x, y, z = (position / position.norm(dim=-1, keepdim=True).clamp(min=1e-8)).unbind(-1)
    horizontal = torch.hypot(x, z).clamp(min=1e-8)
    sin_azimuth, cos_azimuth = x / horizontal, z / horizontal
    return torch.stack([sin_azimuth, cos_azimuth, cos_azimuth**2 - sin_azimuth**2, y], -1)


def position_features(height: int, width: int, device: torch.device) -> Tensor:
    """[height * width, NUM_POSITION_FEATURES], smooth functions of the place in the image."""
    y = torch.linspace(-1, 1, 2 * height + 1, device=device)[1::2]
    x = torch.linspace(-1, 1, 2 * width + 1, device=device)[1::2]
    y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    waves = [torch.sin(math.pi * x), torch.cos(math.pi * x)]
    waves += [torch.sin(math.pi * y), torch.cos(math.pi * y), torch.sin(2 * math.pi * y)]
    return torch.stack([x, y, *waves], -1)


class AttentionCode(nn.Linear):
    """Adds what a token cannot know from its content: its place in the image and its view.

    One linear map of the position and view features, computed as two so that the sum is never
    laid out per token and view.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(NUM_POSITION_FEATURES + NUM_VIEW_FEATURES, channels)
        # Comparable in size to the normalised features that it is added to.
        nn.init.normal_(self.weight, std=1 / math.sqrt(self.in_features))
        nn.init.zeros_(self.bias)

    def add_to(self, tokens: Tensor, size: tuple[int, int], views: Tensor) -> Tensor:
        """tokens [B T V, h w, C], size (h, w), views [B T V, NUM_VIEW_FEATURES]."""
        place = position_features(*size, tokens.device).to(self.weight.dtype)
        of_place = F.linear(place, self.weight[:, :NUM_POSITION_FEATURES], self.bias)
        of_view = F.linear(views.to(self.weight.dtype), self.weight[:, NUM_POSITION_FEATURES:])
        return tokens + of_place + of_view[:, None]


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
        codes: tell each token its place and view.
        plain: add the output, which starts at zero, instead of (x + output) * sqrt(1/2).
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        num_groups: int,
        *,
        over: Literal["views", "time"],
        codes: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__()
        self.over = over
        self.plain = plain
        self.norm = nn.GroupNorm(num_groups, channels, eps=1e-5)
        self.attn = SelfAttention(channels, num_heads)
        self.code = AttentionCode(channels) if codes else None
        if plain:
            nn.init.zeros_(self.attn.proj.weight)
            nn.init.zeros_(self.attn.proj.bias)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[B T V, C, h, w] -> the same."""
        maps, channels, height, width = x.shape
        # In channels_last memory these reshapes are views.
        tokens = self.norm(x).permute(0, 2, 3, 1).reshape(maps, height * width, channels)
        if self.code is not None:
            assert grid.view_features is not None
            tokens = self.code.add_to(tokens, (height, width), grid.view_features)
        if self.over == "views":
            out = self.attn(tokens.reshape(-1, grid.num_views * height * width, channels))
        else:
            out = self._over_time(tokens, grid)
        out = out.reshape(maps, height, width, channels).permute(0, 3, 1, 2)
        return x + out if self.plain else (x + out) * RESIDUAL_SCALE

    def _over_time(self, tokens: Tensor, grid: Grid) -> Tensor:
        _, places, channels = tokens.shape
        frames, views = grid.num_frames, grid.num_views
        by_frame = tokens.reshape(-1, frames, views, places, channels)
        by_view = by_frame.transpose(1, 2).reshape(-1, frames * places, channels)
        out = self.attn(by_view).reshape(-1, views, frames, places, channels)
        return out.transpose(1, 2)
