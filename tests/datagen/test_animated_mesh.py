from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

TRIANGLE = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_normalized_fits_all_frames_into_the_unit_cube(mesh_of):
    generator = np.random.default_rng(0)
    positions = generator.normal(size=(5, 30, 3)) * [3, 1, 2] + [10, -4, 7]
    mesh = mesh_of(positions, np.arange(30).reshape(-1, 3)).normalized(37.0)
    low, high = mesh.positions.min((0, 1)), mesh.positions.max((0, 1))
    np.testing.assert_allclose(low + high, 0, atol=1e-6)
    assert (high - low).max() == pytest.approx(1, abs=1e-6)
    # Not each frame by itself: then the motion between frames would be lost.
    assert (np.ptp(mesh.positions, axis=1).max(1) < 1 - 1e-4).any()


def test_normalized_ignores_vertices_without_a_face(mesh_of):
    positions = np.array([*TRIANGLE, [100.0, 0, 0]])
    mesh = mesh_of(positions, [[0, 1, 2]]).normalized()
    assert np.ptp(mesh.used_positions, axis=1).max() == pytest.approx(1)


def test_yaw_turns_what_faces_z_to_x(mesh_of):
    mesh = mesh_of([[0, 0, 1.0], [0, 0, -1], [0, 0.1, 0]], [[0, 1, 2]]).normalized(90.0)
    assert mesh.positions[0, 0, 0] == pytest.approx(0.5)


def test_a_point_cannot_be_scaled(mesh_of):
    with pytest.raises(ValueError, match="no extent"):
        mesh_of(np.ones((3, 3)), [[0, 1, 2]]).normalized()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("faces", np.array([[0, 1, 3]], np.int32), "index 3 vertices"),
        ("faces", np.array([[0, 1, 2]], np.int64), "faces must be int32"),
        ("colors", np.ones((2, 3), np.float32), "colors must be"),
        ("face_textures", np.array([0], np.int32), "0 textures"),
        ("positions", np.full((1, 3, 3), np.nan, np.float32), "not finite"),
        ("smoothing", np.array([0, 1, 3], np.int32), "smoothing"),
        ("faces", np.zeros((0, 3), np.int32), "face"),
    ],
)
def test_wrong_fields_are_named(mesh_of, field, value, message):
    mesh = mesh_of(TRIANGLE, [[0, 1, 2]])
    with pytest.raises(ValueError, match=message):
        replace(mesh, **{field: value})
