"""Small networks and pictures for the tests of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.model.config import L4GMConfig

RELEASED_SHAPE = L4GMConfig(
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
OWN_SHAPE = replace(
    RELEASED_SHAPE,
    layers_per_block=1,
    attention_head_width=4,
    patch_size=2,
    head="ray",
    attention_codes=True,
    temporal_residual="plain",
    missing_views=True,
)

# With everything that the bundled network has: as many levels up as down.
BUNDLED_SHAPE = replace(
    OWN_SHAPE,
    up_channels=(16, 16, 8),
    up_attention=(True, True, False),
    ray_start="hull",
    hull_channels=True,
    motion_channels=True,
    ray_offset=True,
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def released_config() -> L4GMConfig:
    """The released network in little."""
    return RELEASED_SHAPE


@pytest.fixture
def own_config() -> L4GMConfig:
    """Our own kind of network in little."""
    return OWN_SHAPE


@pytest.fixture
def bundled_config() -> L4GMConfig:
    """The bundled network in little."""
    return BUNDLED_SHAPE


@pytest.fixture(params=["released", "own", "bundled"])
def any_config(request: pytest.FixtureRequest) -> L4GMConfig:
    shapes = {"released": RELEASED_SHAPE, "own": OWN_SHAPE, "bundled": BUNDLED_SHAPE}
    return shapes[request.param]


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
