"""The U-Net can be captured whole, which is what `--compile` needs to be worth anything."""

from __future__ import annotations

import pytest
import torch

from l4gm.model.attention import Grid
from l4gm.model.unet import UNet


@pytest.mark.slow
def test_one_graph(any_config):
    network = UNet(any_config, 14).eval()
    x = torch.randn(2 * 4, 9, any_config.input_size, any_config.input_size)
    grid = Grid(2, 4)
    with torch.inference_mode():
        expected = network(x, grid)
        captured = torch.compile(network, fullgraph=True, backend="eager")
        torch.testing.assert_close(captured(x, grid), expected)
