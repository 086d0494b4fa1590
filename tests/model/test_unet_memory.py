"""The outer blocks in groups of maps give what they give at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from l4gm.model import unet
from l4gm.model.attention import Grid
from l4gm.model.unet import UNet


@pytest.mark.parametrize("attention_from", [0, 1, 3])
def test_groups_of_maps_change_nothing(monkeypatch, released_config, attention_from):
    attends = tuple(level >= attention_from for level in range(3))
    config = replace(released_config, down_attention=attends, up_attention=(attends[2], attends[1]))
    network = UNet(config, 14).eval()
    x, grid = torch.randn(2 * 3 * 2, 9, 16, 16), Grid(3, 2)
    sizes = []
    network.conv_in.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    with torch.no_grad():
        whole = network(x, grid)
        monkeypatch.setattr(unet, "MAX_OUTER_NUMBERS", 5 * 8 * 16 * 16)
        grouped = network(x, grid)
    assert sizes == [12, 5, 5, 2]
    torch.testing.assert_close(grouped, whole, rtol=1e-5, atol=1e-6)


def test_gradients_need_all_maps_at_once(monkeypatch, released_config):
    monkeypatch.setattr(unet, "MAX_OUTER_NUMBERS", 1)
    network = UNet(released_config, 14)
    sizes = []
    network.conv_in.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    network(torch.randn(4, 9, 16, 16), Grid(1, 4)).sum().backward()
    assert sizes == [4]
