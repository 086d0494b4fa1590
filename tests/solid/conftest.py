"""A solid network small enough for tests, with random weights."""

from __future__ import annotations

import pytest
import torch

from l4gm.solid.config import SolidConfig
from l4gm.solid.network import SolidNet

TINY = SolidConfig(
    image_size=64,
    side_size=32,
    depth_cells=8,
    color_cells=4,
    motion_cells=4,
    token_channels=16,
    heads=2,
    blocks=1,
    channels=(16, 16, 8),
    lifted_channels=4,
    lifted_cells=8,
    num_gaussians=500,
)


def tiny_network(seed: int = 0) -> SolidNet:
    """Random weights everywhere, so that no part is silent as it is before training."""
    torch.manual_seed(seed)
    network = SolidNet(TINY).eval()
    with torch.no_grad():
        for weights in network.parameters():
            if not weights.any():
                weights.normal_(0, 0.1)
    return network


@pytest.fixture(scope="session")
def network() -> SolidNet:
    """Of `TINY`."""
    return tiny_network()
