"""The frustum: where cells lie, and which cell a point is in."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.solid.volume import Frustum, Volume

CAMERA = orbit_cameras([40.0], 20.0, fov_y=35.0, size=96)[0]


def test_cells_lie_on_the_rays_of_the_pixels() -> None:
    frustum = Frustum(CAMERA, 1.0, 2.0)
    points = frustum.points(5, 12, 12)
    origins, directions = pixel_rays(CAMERA.resized(12))
    toward = F.normalize(points - origins, dim=-1)
    assert torch.allclose(toward, directions.expand_as(toward), atol=1e-5)
    depth = (points - CAMERA.world_from_camera[:3, 3]) @ CAMERA.world_from_camera[:3, 2]
    expected = torch.tensor([1.1, 1.3, 1.5, 1.7, 1.9])[:, None, None].expand(5, 12, 12)
    assert torch.allclose(depth, expected, atol=1e-5)


def test_sampling_at_the_cells_gives_their_values() -> None:
    frustum = Frustum(CAMERA, 0.9, 2.1)
    values = torch.rand(1, 1, 4, 6, 8)
    at = frustum.coordinates(frustum.points(4, 6, 8))
    assert torch.allclose(F.grid_sample(values, at[None], align_corners=False), values, atol=1e-4)


def test_bad_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="single"):
        Frustum(orbit_cameras([0.0, 90.0]), 1.0, 2.0)
    with pytest.raises(ValueError, match="near < far"):
        Frustum(CAMERA, 2.0, 1.0)
    good = torch.zeros(2, 3, 4, 5, 5)
    with pytest.raises(ValueError, match="logits"):
        Volume(good, good, good)
    with pytest.raises(ValueError, match="motion"):
        Volume(good[:, 0], good, good[:1])
