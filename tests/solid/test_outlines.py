"""Given views bound the volume, as far as motion is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from l4gm.geometry.cameras import orbit_cameras
from l4gm.solid.outlines import carve_by_outlines
from l4gm.solid.volume import Frustum

pytest.importorskip("cv2", reason="OpenCV is not installed")

from l4gm.media.distance import signed_distance

FRUSTUM = Frustum(orbit_cameras([0.0], size=64)[0], 0.92, 2.08)
SIDE = orbit_cameras([90.0], size=64)


def slab_view(half_depth: float) -> torch.Tensor:
    """[1, 4, 64, 64]: from azimuth 90, an object as deep as that about the middle."""
    place = (torch.arange(64) + 0.5) / 64 - 0.5
    width = 2 * 1.5 * np.tan(np.radians(49.1 / 2))
    alpha = (place.abs() * width < half_depth).float().expand(64, 64)
    return torch.cat([torch.zeros(3, 64, 64), alpha[None]])[None]


def carved(motion_z: float = 0.0, half_depth: float = 0.15) -> torch.Tensor:
    """[D, h, w]: which cells of a volume that is solid everywhere stay solid."""
    motion = torch.zeros(1, 3, 4, 8, 8)
    motion[:, 2] = motion_z
    logits = torch.full((1, 64, 32, 32), 5.0)
    return carve_by_outlines(logits, motion, FRUSTUM, slab_view(half_depth), SIDE)[0] > 0


def depths() -> torch.Tensor:
    """[D, h, w] world z of the cells."""
    return FRUSTUM.points(64, 64, 64)[..., 2]


def test_cells_outside_the_outline_are_empty() -> None:
    solid, z = carved(), depths()
    middle = (slice(None), slice(24, 40), slice(24, 40))
    assert solid[middle][z[middle].abs() < 0.12].all()
    assert not solid[middle][z[middle].abs() > 0.2].any()


def test_cells_are_looked_up_where_they_were() -> None:
    """What has moved by +0.1 since is carved about z = 0.1, and less tightly."""
    solid, z = carved(motion_z=-0.1), depths()
    middle = (slice(None), slice(24, 40), slice(24, 40))
    assert solid[middle][(z[middle] - 0.1).abs() < 0.12].all()
    assert not solid[middle][(z[middle] - 0.1).abs() > 0.3].any()
    assert solid[middle].sum() > carved()[middle].sum()


def test_an_empty_view_empties_and_a_full_one_changes_nothing() -> None:
    logits = torch.randn(1, 8, 4, 4)
    motion = torch.zeros(1, 3, 2, 2, 2)
    empty, full = torch.zeros(1, 4, 32, 32), torch.ones(1, 4, 32, 32)
    assert (carve_by_outlines(logits, motion, FRUSTUM, empty, SIDE) < 0).all()
    kept = carve_by_outlines(logits, motion, FRUSTUM, full, SIDE)
    finer = torch.nn.functional.interpolate(
        logits[:, None], (8, 8, 8), mode="trilinear", align_corners=False
    )[:, 0]
    assert torch.equal(kept, finer)


def test_signed_distance_of_a_half_plane() -> None:
    mask = np.zeros((9, 12), bool)
    mask[:, :5] = True
    expected = 5 - (np.arange(12) + 0.5)
    assert np.allclose(signed_distance(mask), expected[None].repeat(9, 0), atol=1e-4)
    assert (signed_distance(np.ones((4, 6), bool)) == 6).all()
    assert (signed_distance(np.zeros((4, 6), bool)) == -6).all()
