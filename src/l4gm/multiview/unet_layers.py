"""The layers of the multi-view U-Net: residual block, cross-view transformer, resampler.

Attribute names and the positions inside the sequences are those of the released checkpoint, so
that its weights load by name.

Legend: B objects, F frames of one object (its views and the input picture), C channels,
L tokens, Q image tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_NORM_GROUPS = 32
_RESAMPLER_DEPTH = 4
_RESAMPLER_HEADS = 12
_RESAMPLER_HEAD_CHANNELS = 64


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What every block of the network is told.

    Args:
        embedding: [B * F, E], time and camera.
        text: [B * F, L, C], the text's tokens.
        image: [B * F, Q, C], the input picture's tokens.
        frames: F.
    """

    embedding: Tensor
    text: Tensor
    image: Tensor
    frames: int


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """Multi-head attention; [.., L, C] and twice [.., M, C] -> [.., L, C]."""
    split = [t.unflatten(-1, (num_heads, -1)).transpose(-3, -2) for t in (query, key, value)]
    return functional.scaled_dot_product_attention(*split).transpose(-3, -2).flatten(-2)


class SelfAttention(nn.Module):
    """Attention of tokens to each other."""

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(channels, channels, bias=False)
        self.to_v = nn.Linear(channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:  # [B, L, C] -> [B, L, C]
        return self.to_out(attend(self.to_q(x), self.to_k(x), self.to_v(x), self.num_heads))


class TextAndImageAttention(nn.Module):
    """Attention to the text's tokens plus, weighted, attention to the picture's tokens."""

    def __init__(
        self, channels: int, context_channels: int, num_heads: int, image_weight: float
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.image_weight = image_weight
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        self.to_k_ip = nn.Linear(context_channels, channels, bias=False)
        self.to_v_ip = nn.Linear(context_channels, channels, bias=False)
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: Tensor, text: Tensor, image: Tensor) -> Tensor:
        # [B * F, L, C], [B * F, M, C'], [B * F, Q, C'] -> [B * F, L, C]
        query = self.to_q(x)
        from_text = attend(query, self.to_k(text), self.to_v(text), self.num_heads)
        from_image = attend(query, self.to_k_ip(image), self.to_v_ip(image), self.num_heads)
        return self.to_out(from_text + self.image_weight * from_image)


class GatedGelu(nn.Module):
    """A linear layer whose one half gates the other through a GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, 2 * out_channels)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class FeedForward(nn.Module):
    """Per-token network of the transformer, four times as wide inside."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The middle place was dropout in training.
        self.net = nn.Sequential(
            GatedGelu(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class TransformerBlock(nn.Module):
    """Self-attention over the tokens of all frames, then text and image, then feed-forward."""

    def __init__(
        self, channels: int, context_channels: int, num_heads: int, image_weight: float
    ) -> None:
        super().__init__()
        self.attn1 = SelfAttention(channels, num_heads)
        self.attn2 = TextAndImageAttention(channels, context_channels, num_heads, image_weight)
        self.ff = FeedForward(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:  # [B * F, L, C], the same
        all_frames = self.norm1(x).unflatten(0, (-1, conditions.frames)).flatten(1, 2)
        x = x + self.attn1(all_frames).reshape(x.shape)
        x = x + self.attn2(self.norm2(x), conditions.text, conditions.image)
        return x + self.ff(self.norm3(x))


class CrossViewTransformer(nn.Module):
    """Transformer over the pixels of all frames of an object, with a shortcut."""

    def __init__(
        self,
        channels: int,
        context_channels: int,
        *,
        num_heads: int,
        depth: int,
        image_weight: float,
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_NORM_GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, context_channels, num_heads, image_weight)
            for _ in range(depth)
        )
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:  # [B * F, C, H, W], the same
        tokens = self.proj_in(self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, conditions)
        return x + self.proj_out(tokens).transpose(1, 2).reshape(x.shape)


class ResidualBlock(nn.Module):
    """Two convolutions around the added time and camera embedding, with a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, embedding_channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            nn.GroupNorm(_NORM_GROUPS, in_channels),
            nn.SiLU(),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding_channels, out_channels))
        # The third place was dropout in training.
        self.out_layers = nn.Sequential(
            nn.GroupNorm(_NORM_GROUPS, out_channels),
            nn.SiLU(),
            nn.Identity(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection: nn.Module = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:  # [B * F, C, H, W] -> C'
        hidden = self.in_layers(x) + self.emb_layers(conditions.embedding)[..., None, None]
        return self.skip_connection(x) + self.out_layers(hidden)


class Downsample(nn.Module):
    """Halve the size by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(x)


class Upsample(nn.Module):
    """Double the size by repeating pixels, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class ConditionedSequence(nn.ModuleList):
    """Layers one after the other; those that listen to the conditions get them."""

    def forward(self, x: Tensor, conditions: Conditions) -> Tensor:
        for layer in self:
            listens = isinstance(layer, ResidualBlock | CrossViewTransformer)
            x = layer(x, conditions) if listens else layer(x)
        return x


class ResamplerAttention(nn.Module):
    """The queries attend to the picture's tokens and to themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _RESAMPLER_HEADS * _RESAMPLER_HEAD_CHANNELS
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.to_q = nn.Linear(channels, inner, bias=False)
        self.to_kv = nn.Linear(channels, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, channels, bias=False)

    def forward(self, tokens: Tensor, queries: Tensor) -> Tensor:  # [B, L, C], [B, Q, C] -> 2nd
        queries = self.norm2(queries)
        both = torch.cat([self.norm1(tokens), queries], dim=1)
        key, value = self.to_kv(both).chunk(2, dim=-1)
        return self.to_out(attend(self.to_q(queries), key, value, _RESAMPLER_HEADS))


class ResamplerLayer(nn.ModuleList):
    """Attention (0), then a per-token network (1), each with a shortcut."""

    def __init__(self, channels: int) -> None:
        feed_forward = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 4 * channels, bias=False),
            nn.GELU(),
            nn.Linear(4 * channels, channels, bias=False),
        )
        super().__init__([ResamplerAttention(channels), feed_forward])

    def forward(self, tokens: Tensor, queries: Tensor) -> Tensor:  # [B, L, C], [B, Q, C] -> 2nd
        queries = queries + self[0](tokens, queries)
        return queries + self[1](queries)


class Resampler(nn.Module):
    """Perceiver: the CLIP tokens of a picture, any number of them, become a few context tokens.

    Args:
        channels: of the context tokens it gives, and inside.
        num_queries: how many it gives.
        image_channels: of the CLIP tokens it takes.
    """

    def __init__(self, channels: int, num_queries: int, image_channels: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, num_queries, channels) / channels**0.5)
        self.proj_in = nn.Linear(image_channels, channels)
        self.proj_out = nn.Linear(channels, channels)
        self.norm_out = nn.LayerNorm(channels)
        self.layers = nn.ModuleList(ResamplerLayer(channels) for _ in range(_RESAMPLER_DEPTH))

    def forward(self, image_embeds: Tensor) -> Tensor:  # [B, L, C'] -> [B, Q, C]
        tokens = self.proj_in(image_embeds)
        queries = self.latents.expand(len(tokens), -1, -1)
        for layer in self.layers:
            queries = layer(tokens, queries)
        return self.norm_out(self.proj_out(queries))
