from __future__ import annotations

import numpy as np
import pytest
import torch

from l4gm.datagen import raster_kernels
from l4gm.datagen.objects.shapes import box, ellipsoid
from l4gm.datagen.software_renderer import Lighting, render_mesh
from l4gm.geometry.cameras import Cameras, orbit_cameras, pinhole_intrinsics
from l4gm.geometry.rays import pixel_rays

FLAT = Lighting(sun=0.0, sky=0.0, ambient=1.0)


def sample_rays(cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Origins and directions [V, 2H, 2W, 3] of the samples; directions have camera z 1."""
    doubled = cameras.resized(2 * cameras.width)
    origins, directions = (a.double().numpy() for a in pixel_rays(doubled))
    forward = cameras.world_from_camera[:, None, None, :3, 2].double().numpy()
    return origins, directions / (directions * forward).sum(-1, keepdims=True)


def trace(mesh, cameras: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Brute force (Moeller and Trumbore): depth [V, 2H, 2W] of the nearest triangle (inf: none) and
    how near each sample is to any triangle's edge, in barycentric terms."""
    origins, directions = sample_rays(cameras)
    nearest = np.full(origins.shape[:3], np.inf)
    margin = np.full(origins.shape[:3], np.inf)
    for a, b, c in mesh.positions[0].astype(np.float64)[mesh.faces]:
        e1, e2 = b - a, c - a
        p = np.cross(directions, e2)
        det = (p * e1).sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            s = origins - a
            u = (s * p).sum(-1) / det
            q = np.cross(s, e1)
            v = (directions * q).sum(-1) / det
            t = (q @ e2) / det
        inside = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= cameras.near) & (t <= cameras.far)
        nearest = np.where(inside & (t < nearest), t, nearest)
        edge = np.minimum(np.minimum(np.abs(u), np.abs(v)), np.abs(1 - u - v))
        margin = np.minimum(margin, np.where(np.isfinite(edge), edge, 0))
    return nearest, margin


def by_pixel(samples: np.ndarray) -> np.ndarray:
    """[V, 2H, 2W] to [V, H, W, 4]."""
    views, rows, columns = samples.shape
    split = samples.reshape(views, rows // 2, 2, columns // 2, 2)
    return split.transpose(0, 1, 3, 2, 4).reshape(views, rows // 2, columns // 2, 4)


def test_each_azimuth_sees_its_face_of_a_marker_cube(mesh_of):
    shape = box(1)
    points = (shape.points - [0, 0.5, 0]) * [0.4, 0.8, 0.4]
    colors = np.full((len(points), 3), 0.2)
    marks = {0: (2, 0.4), 90: (0, 0.4), 180: (2, -0.4), 270: (0, -0.4)}
    paint = {0: [1, 0, 0], 90: [0, 1, 0], 180: [0, 0, 1], 270: [1, 1, 0]}
    for azimuth, (axis, side) in marks.items():
        face = shape.faces[np.isclose(points[shape.faces][..., axis], side).all(1)]
        colors[np.unique(face)] = paint[azimuth]
    images, _ = render_mesh(
        mesh_of(points, shape.faces, colors), orbit_cameras([0, 90, 180, 270], size=32), FLAT
    )
    for view, azimuth in enumerate(marks):
        centre = images[0, view, 16, 16]
        np.testing.assert_array_equal(centre[:3], 255 * np.array(paint[azimuth]))
    # From 20 degrees the face of azimuth 90 shows on the right.
    images, _ = render_mesh(
        mesh_of(points, shape.faces, colors), orbit_cameras([20], size=64), FLAT
    )
    columns = np.nonzero((images[0, 0, 32, :, :3] == [0, 255, 0]).all(-1))[0]
    assert len(columns) > 2
    assert columns.min() > 32


def test_up_is_up(mesh_of):
    mesh = mesh_of([[-0.2, 0.1, 0], [0.2, 0.1, 0], [0, 0.4, 0]], [[0, 1, 2]])
    images, _ = render_mesh(mesh, orbit_cameras([0], elevation=10, size=32))
    assert images[0, 0, :16, :, 3].any()
    assert not images[0, 0, 17:, :, 3].any()


def test_depth_of_a_ball_is_analytic(mesh_of):
    shape = ellipsoid(48, 96)
    points = (shape.points - [0, 0.5, 0]) * [0.4, 0.8, 0.4]
    cameras = orbit_cameras([0, 130], elevation=torch.tensor([0.0, 25.0]), size=64)
    _, depth = render_mesh(mesh_of(points, shape.faces), cameras)
    origins, directions = (a.double().numpy() for a in pixel_rays(cameras))
    along = -(origins * directions).sum(-1)
    square = 0.4**2 - ((origins + along[..., None] * directions) ** 2).sum(-1)
    forward = cameras.world_from_camera[:, None, None, :3, 2].double().numpy()
    expected = (along - np.sqrt(square.clip(0))) * (directions * forward).sum(-1)
    inside = square > 0.03
    assert inside.sum() > 1000
    np.testing.assert_allclose(depth[0][inside], expected[inside], atol=2e-3)
    assert not depth[0][square < -0.01].any()


def test_depth_of_a_box_face_is_its_distance(mesh_of):
    shape = box(1)
    points = (shape.points - [0, 0.5, 0]) * [0.3, 0.6, 0.3]
    _, depth = render_mesh(mesh_of(points, shape.faces), orbit_cameras([0], size=64))
    np.testing.assert_allclose(depth[0, 0, 24:40, 24:40], 1.2, atol=1e-6)


@pytest.mark.parametrize("near", [0.5, 1.45])
def test_silhouettes_and_depths_match_brute_force(mesh_of, near):
    """At near 1.45 the near plane cuts through the triangles, and far 1.7 ends them."""
    generator = np.random.default_rng(3)
    points = generator.uniform(-0.5, 0.5, (24, 3))
    mesh = mesh_of(points, np.arange(24).reshape(-1, 3))
    rig = orbit_cameras([0, 77, 200], elevation=torch.tensor([0.0, 30.0, -20.0]), size=24)
    far = 1.7 if near > 1 else 2.5
    cameras = Cameras(rig.world_from_camera, rig.intrinsics, 24, 24, near, far)
    images, depth = render_mesh(mesh, cameras)
    expected, margin = trace(mesh, cameras)
    clear = by_pixel(margin).min(-1) > 1e-4
    covered = np.isfinite(by_pixel(expected)).sum(-1)
    alpha = np.floor(covered * 63.75 + 0.5)
    assert clear.mean() > 0.8
    assert 0.05 < (covered > 0).mean() < 0.95
    # Rays that graze the near or far plane fall either way.
    grazes = (np.abs(expected - near) < 1e-4) | (np.abs(expected - far) < 1e-4)
    clear &= ~by_pixel(grazes).any(-1)
    np.testing.assert_array_equal(images[0, ..., 3][clear], alpha[clear])
    whole = (
        clear
        & (covered == 4)
        & (np.ptp(np.where(covered[..., None] == 4, by_pixel(expected), 0), axis=-1) < 0.01)
    )
    np.testing.assert_allclose(depth[0][whole], by_pixel(expected)[whole].mean(-1), atol=1e-4)


def test_near_plane_through_the_ground(mesh_of):
    """A floor that runs under and behind the camera: everything below the horizon is floor."""
    mesh = mesh_of(
        [[-50, -1, -50], [50, -1, -50], [50, -1, 50], [-50, -1, 50]], [[0, 2, 1], [0, 3, 2]]
    )
    cameras = Cameras(
        torch.eye(4)[None].clone(), pinhole_intrinsics(90.0, 32, 32)[None], 32, 32, 0.5, 40.0
    )
    cameras.world_from_camera[0, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    images, depth = render_mesh(mesh, cameras, FLAT)
    below = np.arange(18, 32)[:, None] + 0.5 - 16
    assert (images[0, 0, 18:, :, 3] == 255).all()
    assert not images[0, 0, :16, :, 3].any()
    # Towards the horizon a pixel spans many depths; its nearer samples count.
    assert (depth[0, 0, 18:] <= 16 / below + 1e-4).all()
    assert (depth[0, 0, 18:] >= 16 / (below + 0.25) - 1e-4).all()


def test_texture_is_perspective_correct(mesh_of):
    """On a strongly tilted square the coordinate is that of the ray's hit."""
    ramp = np.full((4, 256, 4), 255, np.uint8)
    ramp[..., 0] = np.arange(256)
    corners = np.array(
        [[-0.45, -0.3, 0.7], [0.45, -0.3, -0.7], [0.45, 0.3, -0.7], [-0.45, 0.3, 0.7]]
    )
    mesh = mesh_of(
        corners, [[0, 1, 2], [0, 2, 3]], uv=[[0, 1], [1, 1], [1, 0], [0, 0]], textures=(ramp,)
    )
    cameras = orbit_cameras([0], size=64)
    images, depth = render_mesh(mesh, cameras, FLAT)
    origins, directions = (a.double().numpy()[0] for a in pixel_rays(cameras))
    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    distance = ((corners[0] - origins) @ normal) / (directions @ normal)
    hit = origins + distance[..., None] * directions
    u = (hit[..., 0] + 0.45) / 0.9
    inside = (images[0, 0, ..., 3] == 255) & (u > 0.05) & (u < 0.95)
    assert inside.sum() > 200
    linear = np.abs(images[0, 0, ..., 0] / 255 - u)[inside]
    assert linear.max() < 0.02
    np.testing.assert_allclose(depth[0, 0][inside], -(hit - origins)[..., 2][inside], atol=2e-3)


def test_no_holes_between_triangles(mesh_of):
    generator = np.random.default_rng(1)
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 40), np.linspace(-0.6, 0.6, 40))
    jitter = generator.uniform(-0.012, 0.012, (2, 40, 40))
    points = np.stack([x + jitter[0], y + jitter[1], 0.1 * generator.random((40, 40))], -1)
    index = np.arange(1600).reshape(40, 40)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack([a, b, d], -1), np.stack([a, d, c], -1)]).reshape(-1, 3)
    images, depth = render_mesh(mesh_of(points.reshape(-1, 3), faces), orbit_cameras([0], size=96))
    assert (images[0, 0, 12:-12, 12:-12, 3] == 255).all()
    assert (depth[0, 0, 12:-12, 12:-12] > 0).all()


def test_edges_keep_the_object_colour(mesh_of):
    """RGB is not premultiplied: a half-covered pixel is as red as a whole one."""
    red = np.tile([[1.0, 0, 0]], (3, 1))
    mesh = mesh_of([[-0.3, -0.2, 0], [0.3, -0.25, 0], [0, 0.3, 0]], [[0, 1, 2]], red)
    images, depth = render_mesh(mesh, orbit_cameras([0], size=48), FLAT)
    alpha = images[0, 0, ..., 3]
    assert set(np.unique(alpha)) == {0, 64, 128, 191, 255}
    np.testing.assert_array_equal(images[0, 0][alpha > 0][:, :3], [[255, 0, 0]] * (alpha > 0).sum())
    np.testing.assert_array_equal(images[0, 0][alpha == 0][:, :3], [[255] * 3] * (alpha == 0).sum())
    np.testing.assert_array_equal(depth[0, 0] > 0, alpha > 0)


def test_texels_without_alpha_are_holes(mesh_of):
    texture = np.full((2, 2, 4), 255, np.uint8)
    texture[0, :, 3] = 0
    corners = [[-0.4, -0.4, 0], [0.4, -0.4, 0], [0.4, 0.4, 0], [-0.4, 0.4, 0]]
    mesh = mesh_of(
        corners, [[0, 1, 2], [0, 2, 3]], uv=[[0, 1], [1, 1], [1, 0], [0, 0]], textures=(texture,)
    )
    images, _ = render_mesh(mesh, orbit_cameras([0], size=32), FLAT)
    assert not images[0, 0, 10:15, 10:22, 3].any()
    assert (images[0, 0, 17:22, 10:22, 3] == 255).all()


def test_far_textures_do_not_alias(mesh_of):
    """A checkerboard much finer than a sample is grey, not noise."""
    checks = np.full((512, 512, 4), 255, np.uint8)
    checks[..., :3] = 255 * (np.indices((512, 512)).sum(0) % 2)[..., None]
    corners = [[-0.3, -0.3, 0], [0.3, -0.3, 0], [0.3, 0.3, 0], [-0.3, 0.3, 0]]
    mesh = mesh_of(
        corners, [[0, 1, 2], [0, 2, 3]], uv=[[0, 1], [1, 1], [1, 0], [0, 0]], textures=(checks,)
    )
    images, _ = render_mesh(mesh, orbit_cameras([0], size=48), FLAT)
    np.testing.assert_allclose(images[0, 0, 18:30, 18:30, :3], 128, atol=2)


def test_light_comes_from_its_direction_on_both_sides(mesh_of):
    shape = ellipsoid()
    points = (shape.points - [0, 0.5, 0]) * [0.4, 0.8, 0.4]
    lighting = Lighting(direction=(1, 0, 0), sun=0.8, sky=0.0, ambient=0.2)
    mesh = mesh_of(points, shape.faces, smoothing=shape.smoothing)
    turned_inside_out = mesh_of(points, shape.faces[:, ::-1], smoothing=shape.smoothing)
    for ball in (mesh, turned_inside_out):
        images, _ = render_mesh(ball, orbit_cameras([0], size=32), lighting)
        row = images[0, 0, 16, :, 0].astype(int)
        left, right = np.nonzero(images[0, 0, 16, :, 3] == 255)[0][[1, -2]]
        assert row[right] > 170
        assert row[left] == 51
        assert row[16] < row[20] < row[23]


def test_random_lights_are_bright_enough_and_not_blinding():
    for seed in range(200):
        light = Lighting.random(np.random.default_rng(seed))
        full = light.ambient + light.sky + light.sun
        assert 0.95 < full < 1.3
        assert light.direction[1] > 0


def test_threads_do_not_change_a_byte(mesh_of, monkeypatch):
    generator = np.random.default_rng(5)
    positions = generator.uniform(-0.5, 0.5, (3, 60, 3))
    mesh = mesh_of(positions, np.arange(60).reshape(-1, 3), generator.random((60, 3)))
    cameras = orbit_cameras([0, 40, 80], size=24)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(raster_kernels, "num_threads", lambda threads=threads: threads)
        results.append(render_mesh(mesh, cameras))
    for images, depth in results[1:]:
        np.testing.assert_array_equal(images, results[0][0])
        np.testing.assert_array_equal(depth, results[0][1])


def test_cameras_need_one_dimension(mesh_of):
    mesh = mesh_of(np.eye(3), [[0, 1, 2]])
    with pytest.raises(ValueError, match=r"cameras must be \[V\]"):
        render_mesh(mesh, orbit_cameras([0], size=8)[0])
