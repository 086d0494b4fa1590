"""Small networks and pictures for the tests of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.model.config import L4GMConfig

SHAPE = L4GMConfig(
    input_size=16,
    down_channels=(8, 16, 16),
    down_attention=(False, True, True),
    mid_attention=True,
    up_channels=(16, 8),
    up_attention=(True, False),
    temporal_attention=True,
    norm_groups=4,
    attention_head_count=2,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def released_config() -> L4GMConfig:
    """The released network in little."""
    return SHAPE


@pytest.fixture(params=["L4GM", "LGM"])
def any_config(request: pytest.FixtureRequest) -> L4GMConfig:
    """With temporal attention, and without."""
    return replace(SHAPE, temporal_attention=request.param == "L4GM")


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Makes random images [B, T, V, 3, size, size]."""

    def make(batch: int = 1, frames: int = 1, views: int = 4, size: int = 16) -> Tensor:
        return torch.rand(batch, frames, views, 3, size, size)

    return make


@pytest.fixture
def ring() -> Callable[..., Cameras]:
    """Makes cameras [V], evenly around."""

    def make(views: int = 4, size: int = 16, radius: float = 1.5) -> Cameras:
        return orbit_cameras([i * 360 / views for i in range(views)], radius=radius, size=size)

    return make
