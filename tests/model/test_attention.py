"""Attention: against a plain loop, over the right tokens."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from l4gm.model.attention import Grid, GridAttention, SelfAttention

BATCH, FRAMES, VIEWS, CHANNELS = 2, 3, 4, 8
GRID = Grid(FRAMES, VIEWS)


def random_maps(height: int = 2, width: int = 3) -> Tensor:
    return torch.randn(BATCH * FRAMES * VIEWS, CHANNELS, height, width)


def plain_attention(layer: SelfAttention, tokens: Tensor) -> Tensor:
    """One token list [L, C], head by head."""
    query, key, value = (layer.qkv.weight.view(3, CHANNELS, CHANNELS) @ tokens.T).mT
    width = CHANNELS // layer.num_heads
    heads = []
    for head in range(layer.num_heads):
        part = slice(head * width, (head + 1) * width)
        scores = query[:, part] @ key[:, part].T / math.sqrt(width)
        heads.append(scores.softmax(-1) @ value[:, part])
    return torch.cat(heads, -1) @ layer.proj.weight.T + layer.proj.bias


@pytest.mark.parametrize("over", ["views", "time"])
def test_layer_is_attention_over_its_tokens(over):
    layer = GridAttention(CHANNELS, 2, 4, over=over)
    x = random_maps()
    maps = layer.norm(x).view(BATCH, FRAMES, VIEWS, CHANNELS, 2, 3)
    expected = torch.empty_like(maps)
    for batch in range(BATCH):
        for other in range(FRAMES if over == "views" else VIEWS):
            which = (batch, other) if over == "views" else (batch, slice(None), other)
            group = maps[which]  # [V or T, C, h, w]
            tokens = group.permute(0, 2, 3, 1).reshape(-1, CHANNELS)
            out = plain_attention(layer.attn, tokens)
            expected[which] = out.view(-1, 2, 3, CHANNELS).permute(0, 3, 1, 2)
    wanted = (x + expected.view_as(x)) * math.sqrt(0.5)
    torch.testing.assert_close(layer(x, GRID), wanted)
    channels_last = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(channels_last, GRID), wanted)


@pytest.mark.parametrize(
    ("over", "reached"),
    [("views", "same time step, all views"), ("time", "same view, all time steps")],
)
def test_a_change_reaches_exactly_its_group(over, reached):
    layer = GridAttention(CHANNELS, 2, 4, over=over)
    x = random_maps()
    changed = x.clone().view(BATCH, FRAMES, VIEWS, CHANNELS, 2, 3)
    changed[1, 2, 1, :, 0, 0] += 1
    difference = layer(changed.view_as(x), GRID) - layer(x, GRID)
    moved = difference.view(BATCH, FRAMES, VIEWS, -1).abs().amax(-1) > 1e-7
    expected = torch.zeros_like(moved)
    if over == "views":
        expected[1, 2, :] = True
    else:
        expected[1, :, 1] = True
    assert torch.equal(moved, expected), reached
