from __future__ import annotations

import numpy as np
import pytest

from l4gm.datagen.objects.shapes import box, ellipsoid
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import Lighting, render_mesh
from l4gm.datagen.surfaces import Surfaces
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays


@pytest.fixture(scope="module")
def creature():
    mesh = procedural_object(3, 3, 8.0).normalized(40)
    cameras = orbit_cameras([0, 70], 10, size=48)
    return mesh, cameras, Surfaces.trace(mesh, cameras)


def test_points_lie_on_the_rays_of_their_pixels(creature):
    """The traced point is origin + depth * direction of the pixel's ray."""
    _, cameras, surfaces = creature
    origins, directions = (a.double().numpy() for a in pixel_rays(cameras))
    forward = cameras.world_from_camera[:, :3, 2].double().numpy()
    for view in range(2):
        points = surfaces.points(1, view, 1)
        shown = surfaces.faces[1, view] >= 0
        assert shown.sum() > 100
        per_depth = directions[view] / (directions[view] @ forward[view])[..., None]
        expected = origins[view] + surfaces.depth[1, view][..., None] * per_depth
        np.testing.assert_allclose(points[shown], expected[shown], atol=2e-5)
        assert np.isnan(points[~shown]).all()


def test_surfaces_are_where_the_picture_shows_them(creature):
    mesh, cameras, surfaces = creature
    images, depth = render_mesh(mesh, cameras)
    solid = images[..., 3] == 255
    assert (surfaces.faces[solid] >= 0).mean() > 0.995
    assert (surfaces.faces[images[..., 3] == 0] == -1).all()
    both = solid & (surfaces.faces >= 0)
    assert np.median(np.abs(surfaces.depth[both] - depth[both])) < 1e-3


def test_flow_of_a_shifted_board_is_what_the_lens_makes_of_it(mesh_of):
    """A board at distance 1.5 that moves by (0.1, -0.05): focal / 1.5 times that."""
    board = np.array([[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]])
    moved = board + np.array([0.1, -0.05, 0])
    mesh = mesh_of([board, moved], [[0, 1, 2], [0, 2, 3]])
    cameras = orbit_cameras([0], size=64)
    flow, seen = Surfaces.trace(mesh, cameras).flow(0, 0, 1)
    focal = float(cameras.intrinsics[0, 0, 0])
    shown = Surfaces.trace(mesh, cameras).faces[0, 0] >= 0
    expected = np.broadcast_to([0.1 * focal / 1.5, 0.05 * focal / 1.5], flow[shown].shape)
    np.testing.assert_allclose(flow[shown], expected, atol=1e-4)
    assert (flow[~shown] == 0).all()
    assert not seen[~shown].any()
    assert seen[shown].mean() > 0.9  # the border's pixels may fall beside it


def test_what_turns_away_or_is_hidden_is_not_seen(mesh_of):
    ball = ellipsoid(24, 32)
    points = (ball.points - [0, 0.5, 0]) * [0.4, 0.8, 0.4]
    half_turn = points * [-1, 1, -1]
    mesh = mesh_of([points, points, half_turn], ball.faces)
    cameras = orbit_cameras([0, 180], size=48)
    surfaces = Surfaces.trace(mesh, cameras)
    shown = surfaces.faces[0, 0] >= 0
    flow, seen = surfaces.flow(0, 0, 1)
    np.testing.assert_allclose(flow[shown], 0, atol=1e-4)
    assert seen[shown].all()
    _, seen = surfaces.flow(0, 0, 2)
    assert not seen[12:36, 18:30].any()
    # The other side's camera sees them after the half turn, at the same pixels.
    flow, seen = surfaces.flow(0, 0, 2, at_view=1)
    assert seen[shown].mean() > 0.98
    np.testing.assert_allclose(flow[shown], 0, atol=1e-3)


def test_flow_carries_colours(mesh_of):
    """Warping the next frame back by the flow gives this frame, where the point is seen."""
    shape = box(6)
    points = (shape.points - [0, 0.5, 0]) * [0.3, 0.6, 0.3]
    generator = np.random.default_rng(0)
    colors = generator.uniform(0.2, 1, (len(points), 3))
    turned = points @ np.array(
        [[np.cos(0.3), 0, -np.sin(0.3)], [0, 1, 0], [np.sin(0.3), 0, np.cos(0.3)]]
    )
    mesh = mesh_of([points, turned + np.array([0.05, 0.02, 0])], shape.faces, colors)
    cameras = orbit_cameras([30], 20, size=128)
    images, _ = render_mesh(mesh, cameras, Lighting(sun=0, sky=0, ambient=1.0))
    flow, seen = Surfaces.trace(mesh, cameras).flow(0, 0, 1)
    solid = images[0, 0, ..., 3] == 255
    rows, columns = np.nonzero(seen & solid)
    x = (columns + 0.5 + flow[rows, columns, 0]).astype(int)
    y = (rows + 0.5 + flow[rows, columns, 1]).astype(int)
    there = images[1, 0, y, x].astype(float)
    here = images[0, 0, rows, columns].astype(float)
    inner = there[:, 3] == 255
    difference = np.abs(there - here)[inner, :3]
    assert inner.sum() > 2000
    assert difference.mean() < 4
    assert np.abs(np.roll(here, 40, 0) - here)[:, :3].mean() > 20


def test_holes_are_seen_through(mesh_of):
    texture = np.full((4, 4, 4), 255, np.uint8)
    texture[:, 2:, 3] = 0
    board = [[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]]
    uv = [[0, 1], [1, 1], [1, 0], [0, 0]]
    mesh = mesh_of(board, [[0, 1, 2], [0, 2, 3]], uv=uv, textures=(texture,))
    faces = Surfaces.trace(mesh, orbit_cameras([0], size=32)).faces[0, 0]
    assert (faces[16, 8:15] >= 0).all()
    assert (faces[16, 17:] == -1).all()


def test_cameras_need_one_dimension(mesh_of):
    mesh = mesh_of([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    with pytest.raises(ValueError, match="cameras must be"):
        Surfaces.trace(mesh, orbit_cameras([0, 1]).reshape(1, 2))
