"""Attention: against a plain loop, over the right tokens, with codes, with both residuals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.attention import (
    AttentionCode,
    Grid,
    GridAttention,
    SelfAttention,
    position_features,
    view_features,
)

BATCH, FRAMES, VIEWS, CHANNELS = 2, 3, 4, 8
GRID = Grid(FRAMES, VIEWS, torch.randn(BATCH * FRAMES * VIEWS, 4))


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


def test_plain_residual_starts_as_the_identity():
    layer = GridAttention(CHANNELS, 2, 4, over="time", plain=True)
    x = random_maps()
    assert torch.equal(layer(x, GRID), x)
    layer(x, GRID).square().sum().backward()
    assert layer.attn.proj.weight.grad.abs().max() > 0  # it can leave the identity


def test_code_tells_apart_equal_tokens_by_place_and_by_view():
    layer = GridAttention(CHANNELS, 2, 4, over="views", codes=True)
    # A constant map is all zeros after the norm: without codes every output is the same.
    same = torch.ones(BATCH * FRAMES * VIEWS, CHANNELS, 2, 3)
    silent = GridAttention(CHANNELS, 2, 4, over="views")
    out = silent(same, GRID)
    assert (out - out[:1, :, :1, :1]).abs().max() < 1e-6
    added = layer.code.add_to(torch.zeros(len(same), 6, CHANNELS), (2, 3), GRID.view_features)
    assert (added[:, 0] - added[:, 5]).abs().amax(-1).min() > 0.01
    assert torch.pdist(added[:VIEWS, 0]).min() > 0.01


def test_code_is_one_linear_map_of_all_features():
    code = AttentionCode(CHANNELS)
    tokens, views = torch.randn(5, 6, CHANNELS), torch.randn(5, 4)
    features = torch.cat(
        [
            position_features(2, 3, tokens.device).expand(5, -1, -1),
            views[:, None].expand(-1, 6, -1),
        ],
        -1,
    )
    torch.testing.assert_close(code.add_to(tokens, (2, 3), views), tokens + code(features))


def test_position_features_do_not_depend_on_the_resolution():
    coarse = position_features(2, 2, torch.device("cpu"))[:, :2]
    torch.testing.assert_close(
        coarse, torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    )


def test_view_features_separate_the_orthogonal_views_like_a_one_hot_code():
    features = view_features(orbit_cameras([0, 90, 180, 270]))
    with_bias = torch.cat([features[:, :3], torch.ones(4, 1)], -1)
    assert torch.linalg.matrix_rank(with_bias) == 4
    torch.testing.assert_close(features, view_features(orbit_cameras([0, 90, 180, 270], radius=3)))


def test_view_features_are_finite_straight_above():
    assert view_features(orbit_cameras([0, 30], elevation=90)).isfinite().all()
