"""Cameras and the orbit rig: recorded poses, indexing, resizing, inverse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from l4gm.geometry.cameras import (
    Cameras,
    camera_axes_from_opengl,
    orbit_cameras,
    pinhole_intrinsics,
)

angles = st.floats(-360, 360)
elevations = st.floats(-90, 90)
radii = st.floats(0.1, 10)


def project(cameras: Cameras, points: torch.Tensor) -> torch.Tensor:
    """Pixels [C, P, 2] of world points [P, 3]."""
    pose = cameras.camera_from_world
    in_camera = points @ pose[:, :3, :3].mT + pose[:, None, :3, 3]
    pixels = in_camera @ cameras.intrinsics.mT
    return pixels[..., :2] / pixels[..., 2:]


def several() -> Cameras:
    """Cameras [2, 3], all different."""
    return orbit_cameras([0, 10, 20, 30, 40, 50], elevation=[0, 5, 10, 15, 20, 25]).reshape(2, 3)


def test_poses_are_those_of_the_released_code(parity_dir: Path):
    """Recorded with its elevation, which has the opposite sign, and in OpenGL axes."""
    recorded = load_file(parity_dir / "cameras.safetensors")
    elevation, azimuth = recorded["elevation_azimuth_degrees"].unbind(-1)
    ours = orbit_cameras(azimuth, -elevation).world_from_camera
    expected = camera_axes_from_opengl(recorded["camera_to_world"])
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


def test_axes_conversion_undoes_itself():
    pose = torch.randn(5, 4, 4)
    torch.testing.assert_close(camera_axes_from_opengl(camera_axes_from_opengl(pose)), pose)
    converted = camera_axes_from_opengl(pose)
    assert torch.equal(converted[..., 0], pose[..., 0])
    assert torch.equal(converted[..., 1], -pose[..., 1])
    assert torch.equal(converted[..., 2], -pose[..., 2])
    assert torch.equal(converted[..., 3], pose[..., 3])


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [
        (0, 0, (0, 0, 1.5)),
        (90, 0, (1.5, 0, 0)),
        (180, 0, (0, 0, -1.5)),
        (270, 0, (-1.5, 0, 0)),
        (0, 90, (0, 1.5, 0)),
        (45, -90, (0, -1.5, 0)),
    ],
)
def test_where_the_orbit_stands(azimuth, elevation, position):
    camera = orbit_cameras(azimuth, elevation)
    torch.testing.assert_close(
        camera.world_from_camera[0, :3, 3], torch.tensor(position).float(), atol=1e-6, rtol=0
    )


@settings(max_examples=60, deadline=None)
@given(angles, elevations, radii)
def test_orbit_cameras_are_rigid_upright_and_look_at_the_origin(azimuth, elevation, radius):
    camera = orbit_cameras(azimuth, elevation, radius=radius, size=100)
    rotation = camera.world_from_camera[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
    position = camera.world_from_camera[0, :3, 3]
    torch.testing.assert_close(rotation[:, 2] * radius, -position, atol=1e-5 * radius, rtol=0)
    assert abs(rotation[1, 0].item()) < 1e-6  # the image's x axis is level
    assert rotation[1, 1].item() <= 1e-6  # its y axis points down
    centre = project(camera, torch.zeros(1, 3))[0, 0]
    torch.testing.assert_close(centre, torch.tensor([50.0, 50.0]), atol=1e-3, rtol=0)


@settings(max_examples=40, deadline=None)
@given(angles, elevations, radii)
def test_inverse_pose(azimuth, elevation, radius):
    camera = orbit_cameras(azimuth, elevation, radius=radius)
    product = camera.camera_from_world @ camera.world_from_camera
    torch.testing.assert_close(product[0], torch.eye(4), atol=1e-5 * max(radius, 1), rtol=0)


def test_clipping_planes_follow_the_radius():
    near_and_far = orbit_cameras(0, radius=3.0)
    assert (near_and_far.near, near_and_far.far) == (1.0, 5.0)


@settings(max_examples=30, deadline=None)
@given(st.floats(1, 179), st.integers(1, 600), st.integers(1, 600))
def test_field_of_view_ends_at_the_upper_edge(fov_y, width, height):
    intrinsics = pinhole_intrinsics(fov_y, width, height)
    tangent = torch.tensor(fov_y / 2).deg2rad().tan()
    top = intrinsics @ torch.stack([torch.zeros(()), -tangent, torch.ones(())])
    torch.testing.assert_close(
        top, torch.tensor([width / 2, 0.0, 1.0]), atol=1e-3 * height, rtol=1e-4
    )


@pytest.mark.parametrize("fov_y", [0, -10, 180, float("nan")])
def test_impossible_fields_of_view(fov_y):
    with pytest.raises(ValueError, match="fov_y"):
        pinhole_intrinsics(fov_y, 10, 10)


@pytest.mark.parametrize(
    "index",
    [0, -1, (1, 2), slice(None), (slice(None), 1), (slice(None), slice(1, 3)), (..., 0), [1, 0]],
)
def test_indexing_is_that_of_a_tensor(index):
    cameras = several()
    poses = cameras.world_from_camera[
        (*index, slice(None), slice(None)) if isinstance(index, tuple) and ... in index else index
    ]
    part = cameras[index]
    assert torch.equal(part.world_from_camera, poses)
    assert part.shape == poses.shape[:-2]
    assert (part.width, part.near) == (cameras.width, cameras.near)


def test_indexing_by_masks_and_tensors():
    cameras = several()
    mask = torch.tensor([[True, False, True], [False, False, True]])
    assert torch.equal(cameras[mask].world_from_camera, cameras.world_from_camera[mask])
    order = torch.tensor([1, 1, 0])
    assert torch.equal(cameras[order].intrinsics, cameras.intrinsics[order])
    with pytest.raises(IndexError):
        cameras[2]
    with pytest.raises(IndexError):
        cameras[0, 0][0]


def test_reshape_expand_and_stack():
    cameras = several()
    assert cameras.reshape(3, 2).shape == (3, 2)
    assert torch.equal(cameras.reshape(6)[4].world_from_camera, cameras[1, 1].world_from_camera)
    row = cameras[0]
    assert torch.equal(row.expand(4, 3)[2].intrinsics, row.intrinsics)
    again = Cameras.stack([cameras[0], cameras[1]])
    assert torch.equal(again.world_from_camera, cameras.world_from_camera)
    with pytest.raises(ValueError, match="different"):
        Cameras.stack([cameras[0], cameras[0].resized(64)])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), angles)
def test_resizing_scales_the_picture(width, height, azimuth):
    cameras = orbit_cameras(azimuth, 10, size=128)
    points = torch.tensor([[0.0, 0.0, 0.0], [0.3, -0.2, 0.1], [-0.5, 0.4, 0.2]])
    scale = torch.tensor([width / 128, height / 128])
    resized = cameras.resized(width, height)
    assert (resized.width, resized.height) == (width, height)
    torch.testing.assert_close(
        project(resized, points), project(cameras, points) * scale, atol=1e-3, rtol=1e-4
    )


def test_resizing_to_a_square_and_back():
    cameras = several()
    back = cameras.resized(64).resized(512)
    torch.testing.assert_close(back.intrinsics, cameras.intrinsics)


def test_moving_and_casting():
    cameras = several().to(torch.float64)
    assert cameras.world_from_camera.dtype == cameras.intrinsics.dtype == torch.float64


@pytest.mark.parametrize(
    "change",
    [
        {"world_from_camera": torch.eye(3)},
        {"intrinsics": torch.eye(3)},
        {"width": 0},
        {"height": -1},
        {"near": 0.0},
        {"near": 3.0},
    ],
)
def test_impossible_cameras_are_refused(change):
    values = {
        "world_from_camera": torch.eye(4)[None],
        "intrinsics": torch.eye(3)[None],
        "width": 8,
        "height": 8,
    }
    Cameras(**values)
    with pytest.raises(ValueError, match=r"world_from_camera|intrinsics|size|near"):
        Cameras(**{**values, **change})
