"""Attention between the tokens of a frame, of the reference moment, and of the other frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.geometry.cameras import Cameras


class _Attention(nn.Module):
    """Multi-head attention of normalised tokens to themselves or to others."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [n, L, C] to others [n, M, C], of which mask [n, M] bool may be looked at."""
        queries = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.key_value(others).chunk(2, -1)
        )
        allowed = None if mask is None else mask[:, None, None]
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed)
        return self.out(mixed.transpose(1, 2).flatten(2))


class TokenBlock(nn.Module):
    """Cross-view attention, temporal attention, and a two-layer perceptron.

    The views of the reference moment go through the same layers, once for all frames.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.views = _Attention(channels, heads)
        self.time = _Attention(channels, heads)
        self.perceptron = nn.Sequential(
            nn.Linear(channels, 3 * channels), nn.GELU(), nn.Linear(3 * channels, channels)
        )
        # A network trained on single moments starts unchanged on several.
        nn.init.zeros_(self.time.out.weight)
        nn.init.zeros_(self.time.out.bias)

    def forward(self, x: Tensor, known: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Frames x [B, T, L, C]; the reference moment's tokens known [B, M, C], mask [B, M] bool.

        Returns:
            both.
        """
        batch, frames, length = x.shape[:3]
        normed, others = self.norms[0](x), self.norms[0](known)
        context = torch.cat([normed, others[:, None].expand(-1, frames, -1, -1)], 2).flatten(0, 1)
        looked = None
        if mask is not None:
            own = mask.new_ones(batch, length)
            looked = torch.cat([own, mask], 1).repeat_interleave(frames, 0)
        x = x + self.views(normed.flatten(0, 1), context, looked).unflatten(0, (batch, frames))
        known = known + self.views(others, others, mask)
        if frames > 1:
            flat = self.norms[1](x).flatten(1, 2)
            x = x + self.time(flat, flat).unflatten(1, (frames, length))
        x = x + self.perceptron(self.norms[2](x))
        known = known + self.perceptron(self.norms[2](known))
        return x, known


class ViewCode(nn.Module):
    """Tells tokens their place in the image and their view."""

    def __init__(self, channels: int, size: int = 8) -> None:
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(channels, size, size))
        self.is_reference = nn.Parameter(0.02 * torch.randn(channels))
        self.view = nn.Linear(5, channels)

    def front(self, maps: Tensor) -> Tensor:
        """[n, C, h, w] to tokens [n, h w, C]."""
        place = self.place[None]
        if place.shape[-2:] != maps.shape[-2:]:
            place = F.interpolate(place, maps.shape[-2:], mode="bilinear", align_corners=False)
        return (maps + place).flatten(2).transpose(1, 2)

    def reference(self, maps: Tensor) -> Tensor:
        """The same for the reference moment's front view."""
        return self.front(maps) + self.is_reference

    def side(self, maps: Tensor, front: Cameras, cameras: Cameras) -> Tensor:
        """[B, K, C, h, w] of side views to tokens [B, K, h w, C]."""
        axes = front.world_from_camera[:3, :3].to(maps)
        seen = cameras.world_from_camera[:, :3, 3].to(maps) @ axes
        seen = seen / seen.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        code = self.view(torch.cat([seen, seen[:, :1] * seen[:, 2:], seen[:, 2:] ** 2], -1))
        tokens = self.front(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        return tokens + code[:, None] + self.is_reference
