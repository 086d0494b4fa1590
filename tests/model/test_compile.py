"""The U-Net can be captured whole, which is what `--compile` needs to be worth anything."""

from __future__ import annotations

import pytest
import torch

from l4gm.model.attention import Grid
from l4gm.model.unet import UNet, num_extra_channels


@pytest.mark.slow
def test_one_graph(any_config):
    network = UNet(any_config, 14).eval()
    x = torch.randn(2 * 4, 9, any_config.input_size, any_config.input_size)
    grid = Grid(2, 4, torch.randn(8, 4) if any_config.attention_codes else None)
    extra = None
    if count := num_extra_channels(any_config):
        extra = torch.randn(8, count, any_config.splat_size, any_config.splat_size)
    with torch.inference_mode():
        expected = network(x, grid, extra)
        captured = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(captured(x, grid, extra), expected)
