"""Meshes of Gaussians: closed, coloured as the splats are, where the splats are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import trimesh

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.software_renderer import Lighting, render_mesh
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.meshes.fuse import Box, Mesher, measure_box
from l4gm.meshes.mesh import Mesh, component_labels, face_volumes, vertex_normals, without_specks
from l4gm.meshes.surface_nets import extract_surface
from l4gm.splat.render import render

AS_IT_IS = Lighting(sun=0.0, sky=0.0, ambient=1.0)


def splats_on(
    points: np.ndarray, normals: np.ndarray, size: float, colors: np.ndarray
) -> Gaussians:
    """[N] opaque flat splats on a surface."""
    x, y, z = normals.T
    quats = np.stack([1 + z + 1e-4, -y, x, 0 * x], 1)
    count = len(points)
    columns = (points, quats, np.tile([size, size, size / 6], (count, 1)), colors)
    means, quats_, scales, colors_ = (torch.tensor(c, dtype=torch.float32) for c in columns)
    return Gaussians(means, quats_, scales, torch.full((count,), 0.97), colors_)


def splats_of(mesh: trimesh.Trimesh, count: int = 30_000) -> Gaussians:
    points, faces = trimesh.sample.sample_surface(mesh, count, seed=0)
    colors = 0.5 + 0.4 * np.sin(6 * np.asarray(points) + [0, 2, 4])
    size = math.sqrt(mesh.area / 2 / count)
    return splats_on(np.asarray(points), mesh.face_normals[faces], size, colors)


def mesh_of(gaussians: Gaussians, max_triangles: int = 20_000) -> Mesh:
    box = measure_box(1, lambda index: gaussians)
    assert box is not None
    mesh = Mesher(box, max_triangles).mesh(gaussians)
    assert mesh is not None
    return mesh


def drawn(mesh: Mesh, cameras: Cameras) -> np.ndarray:
    """[V, H, W, 4] by the software renderer, with colours as they are."""
    count = len(mesh.positions)
    moving = AnimatedMesh(
        positions=mesh.positions[None],
        faces=mesh.faces,
        colors=mesh.colors,
        uv=np.zeros((count, 2), np.float32),
        face_textures=np.full(len(mesh.faces), -1, np.int32),
    )
    return render_mesh(moving, cameras, AS_IT_IS)[0][0] / 255.0


def assert_closed(mesh: Mesh) -> None:
    assert len(mesh.faces) > 100
    checked = trimesh.Trimesh(mesh.positions, mesh.faces, process=False)
    assert checked.is_watertight
    assert checked.is_winding_consistent
    assert checked.volume > 0
    assert np.isfinite(mesh.positions).all()
    assert mesh.colors.min() >= 0
    assert mesh.colors.max() <= 1


def shapes() -> dict[str, trimesh.Trimesh]:
    thin = trimesh.creation.box((0.9, 0.6, 0.05))
    legs = [
        trimesh.creation.cylinder(
            0.04, 0.5, transform=trimesh.transformations.translation_matrix(p)
        )
        for p in ([-0.3, -0.2, -0.25], [0.3, -0.2, -0.25], [-0.3, 0.2, -0.25], [0.3, 0.2, -0.25])
    ]
    return {
        "ball": trimesh.creation.icosphere(4, 0.45),
        "torus": trimesh.creation.torus(0.35, 0.12),
        "table": trimesh.util.concatenate([thin, *legs]),
    }


@pytest.mark.parametrize("name", ["ball", "torus", "table"])
def test_the_mesh_shows_what_the_splats_show(name: str) -> None:
    gaussians = splats_of(shapes()[name])
    mesh = mesh_of(gaussians)
    assert_closed(mesh)
    assert len(mesh.faces) <= 20_000
    cameras = orbit_cameras([15, 130, 250], torch.tensor([10.0, 40.0, -20.0]), size=192)
    images = drawn(mesh, cameras)
    out = render(gaussians, cameras)
    solid, covered = out.alpha[:, 0].numpy() >= 0.5, images[..., 3] >= 0.5
    assert (solid & covered).sum() / (solid | covered).sum() > 0.95
    both = solid & covered
    error = images[..., :3] - out.image.permute(0, 2, 3, 1).numpy()
    assert -10 * math.log10(np.square(error[both]).mean()) > 20


def test_sizes_and_topology_are_true() -> None:
    ball = trimesh.creation.icosphere(4, 0.45)
    mesh = mesh_of(splats_of(ball))
    distances = np.linalg.norm(mesh.positions, axis=1)
    assert abs(np.median(distances) - 0.45) < 0.01
    assert distances.std() < 0.01
    torus = mesh_of(splats_of(shapes()["torus"]))
    assert trimesh.Trimesh(torus.positions, torus.faces, process=False).euler_number == 0


@pytest.mark.parametrize("budget", [500, 2_000, 8_000])
def test_no_more_triangles_than_allowed(budget: int) -> None:
    mesh = mesh_of(splats_of(shapes()["torus"], 10_000), budget)
    assert_closed(mesh)
    assert budget / 3 < len(mesh.faces) <= budget


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0.0), (50.0, 700.0)])
def test_any_size_and_place(factor: float, shift: float) -> None:
    gaussians = splats_of(trimesh.creation.icosphere(3, 0.45), 10_000)
    moved = Gaussians(
        gaussians.means * factor + shift,
        gaussians.quats,
        gaussians.scales * factor,
        gaussians.opacities,
        gaussians.colors,
    )
    mesh = mesh_of(moved, 4_000)
    assert_closed(mesh)
    radius = np.linalg.norm(mesh.positions - shift, axis=1)
    assert abs(np.median(radius) / factor - 0.45) < 0.02


def test_specks_and_what_is_invisible_leave_nothing() -> None:
    gaussians = splats_of(shapes()["ball"], 10_000)
    gaussians.means[:30] = torch.tensor([0.6, 0.6, 0.0]) + 0.002 * gaussians.means[:30]
    gaussians.means[30:60] = torch.tensor([-0.6, 0.6, 0.0])
    gaussians.opacities[30:60] = 0.001
    mesh = mesh_of(gaussians, 4_000)
    assert_closed(mesh)
    assert np.linalg.norm(mesh.positions, axis=1).max() < 0.5


def test_nothing_solid_is_no_mesh() -> None:
    gaussians = splats_of(shapes()["ball"], 2_000)
    faint = Gaussians(
        gaussians.means,
        gaussians.quats,
        gaussians.scales * 0.2,
        torch.full((2_000,), 0.02),
        gaussians.colors,
    )
    box = measure_box(1, lambda index: faint)
    assert box is not None
    assert Mesher(box).mesh(faint) is None
    faint.opacities[:] = 0.0
    assert measure_box(1, lambda index: faint) is None


def test_the_grid_stays_the_same_from_frame_to_frame() -> None:
    box = Box(torch.full((3,), -0.5), torch.full((3,), 0.5))
    mesher = Mesher(box, 3_000)
    first = mesher.mesh(splats_of(trimesh.creation.icosphere(3, 0.4), 5_000))
    step = mesher.step
    second = mesher.mesh(splats_of(trimesh.creation.icosphere(3, 0.2), 5_000))
    assert mesher.step == step
    assert first is not None
    assert second is not None
    assert len(second.faces) < 0.4 * len(first.faces)


def noise(seed: int, size: int = 14) -> np.ndarray:
    """A volume of random signs, the worst that can come; outside at its rim."""
    volume = np.random.default_rng(seed).normal(size=(size, size, size)).astype(np.float32)
    for axis in range(3):
        layers = np.moveaxis(volume, axis, 0)
        layers[[0, 1, 2, -3, -2, -1]] = 1.0
    return volume


@pytest.mark.parametrize("seed", range(6))
def test_surfaces_of_any_volume_are_closed(seed: int) -> None:
    positions, faces = extract_surface(noise(seed))
    checked = trimesh.Trimesh(positions, faces, process=False)
    assert checked.is_watertight
    assert checked.is_winding_consistent


def test_a_plain_surface_lies_where_it_should() -> None:
    axes = np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij")
    distance = np.sqrt(sum((axis - 11.6) ** 2 for axis in axes)) - 7.3
    positions, faces = extract_surface(distance.astype(np.float32))
    radius = np.linalg.norm(positions - 11.6, axis=1)
    np.testing.assert_allclose(radius, 7.3, atol=0.15)
    assert face_volumes(positions - 11.6, faces).sum() == pytest.approx(
        4 / 3 * math.pi * 7.3**3, rel=0.03
    )
    outward = (vertex_normals(positions, faces) * (positions - 11.6)).sum(1) / radius
    assert outward.min() > 0.9


def test_parts_are_told_apart() -> None:
    one = trimesh.creation.icosphere(2, 1.0)
    small = trimesh.creation.icosphere(2, 0.1)
    hollow = trimesh.creation.icosphere(2, 0.5)
    positions = np.concatenate([one.vertices, small.vertices + 3, hollow.vertices]).astype(
        np.float32
    )
    faces = np.concatenate(
        [
            one.faces,
            small.faces + len(one.vertices),
            hollow.faces[:, ::-1] + len(one.vertices) + len(small.vertices),
        ]
    ).astype(np.int32)
    assert len(np.unique(component_labels(len(positions), faces))) == 3
    kept, kept_faces = without_specks(positions, faces, 0.01)
    assert (len(kept), len(kept_faces)) == (len(one.vertices), len(one.faces))
    np.testing.assert_allclose(kept, one.vertices, atol=1e-6)
