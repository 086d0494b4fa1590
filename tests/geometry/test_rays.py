"""Rays through pixels and their Plücker embedding."""

from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays, plucker_embedding


def test_rays_are_those_of_the_released_code(parity_dir: Path):
    recorded = load_file(parity_dir / "cameras.safetensors")
    elevation, azimuth = recorded["elevation_azimuth_degrees"][5].tolist()
    origins, directions = pixel_rays(orbit_cameras(azimuth, -elevation, size=24)[0])
    torch.testing.assert_close(origins, recorded["rays_origin_pose5_24px"], atol=1e-6, rtol=0)
    torch.testing.assert_close(directions, recorded["rays_direction_pose5_24px"], atol=1e-6, rtol=0)


def test_embedding_of_the_four_input_views_is_recorded(parity_dir: Path):
    recorded = load_file(parity_dir / "l4gm_tiny_io.safetensors")["plucker_rays"]
    ours = plucker_embedding(orbit_cameras([0, 90, 180, 270], size=32))
    torch.testing.assert_close(ours, recorded, atol=1e-6, rtol=0)


@settings(max_examples=30, deadline=None)
@given(
    st.floats(-180, 180),
    st.floats(-80, 80),
    st.floats(0.5, 5),
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0.1, 3),
)
def test_every_point_of_a_ray_projects_to_its_pixel_centre(
    azimuth, elevation, radius, width, height, distance
):
    cameras = (
        orbit_cameras(azimuth, elevation, radius=radius).resized(width, height).to(torch.double)
    )
    origins, directions = pixel_rays(cameras)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(1, height, width).double())
    points = origins + distance * directions
    pose = cameras.camera_from_world[0]
    in_camera = points @ pose[:3, :3].T + pose[:3, 3]
    assert (in_camera[..., 2] > 0).all()
    pixels = in_camera @ cameras.intrinsics[0].T
    pixels = pixels[..., :2] / pixels[..., 2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    # Poses are made in float32.
    torch.testing.assert_close(pixels[0], torch.stack([x, y], -1).double(), atol=1e-4, rtol=0)


def test_embedding_does_not_depend_on_the_point_of_the_ray():
    """That is what Plücker coordinates are for."""
    cameras = orbit_cameras([20, 130], elevation=15, size=6)
    origins, directions = pixel_rays(cameras)
    embedding = plucker_embedding(cameras)
    assert embedding.shape == (2, 6, 6, 6)
    further = torch.linalg.cross(origins + 2.5 * directions, directions)
    torch.testing.assert_close(embedding[:, :3], further.movedim(-1, -3), atol=1e-6, rtol=0)
    torch.testing.assert_close(embedding[:, 3:], directions.movedim(-1, -3))


def test_any_leading_dimensions():
    cameras = orbit_cameras(range(6), size=4)
    flat = plucker_embedding(cameras)
    assert torch.equal(plucker_embedding(cameras.reshape(3, 2)), flat.reshape(3, 2, 6, 4, 4))
    assert torch.equal(plucker_embedding(cameras[2]), flat[2])
