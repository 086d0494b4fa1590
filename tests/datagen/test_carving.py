"""Carving against shapes whose inside is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.carving_kernels import carve_rays
from l4gm.datagen.software_renderer import trace_mesh
from l4gm.geometry.cameras import Cameras, orbit_cameras

NEAR, FAR, CELLS, SIZE = 0.92, 2.08, 128, 48


def mesh(positions: np.ndarray, faces: np.ndarray) -> AnimatedMesh:
    return AnimatedMesh(
        positions=positions[None].astype(np.float32),
        faces=faces.astype(np.int32),
        colors=np.ones((len(positions), 3), np.float32),
        uv=np.zeros((len(positions), 2), np.float32),
        face_textures=np.full(len(faces), -1, np.int32),
    )


def sphere(radius: float) -> AnimatedMesh:
    lat, lon = np.meshgrid(np.linspace(0, np.pi, 40), np.linspace(0, 2 * np.pi, 80), indexing="ij")
    points = np.stack([np.sin(lat) * np.cos(lon), np.cos(lat), np.sin(lat) * np.sin(lon)], -1)
    grid = np.arange(40 * 80).reshape(40, 80)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    return mesh(radius * points.reshape(-1, 3), faces)


def rig(size: int = 96, turned: float = 0.0) -> Cameras:
    azimuths = [turned + 45.0 * k for k in range(8)]
    level = orbit_cameras(azimuths, size=size)
    poles = orbit_cameras([0.0] * 4, torch.tensor([45.0, -45.0, 70.0, -70.0]), size=size)
    return replace(
        level,
        world_from_camera=torch.cat([level.world_from_camera, poles.world_from_camera]),
        intrinsics=torch.cat([level.intrinsics, poles.intrinsics]),
    )


def carved(shape: AnimatedMesh, turned: float = 0.0) -> np.ndarray:
    cameras = rig(turned=turned)
    depth = trace_mesh(shape, cameras)[2][0]
    front = orbit_cameras([0.0], size=SIZE)[0]
    everywhere = np.ones((SIZE, SIZE), bool)
    return carve_rays(everywhere, front, NEAR, FAR, CELLS, depth, cameras, 0.006)


def cell_points() -> np.ndarray:
    from l4gm.solid.volume import Frustum

    frustum = Frustum(orbit_cameras([0.0], size=SIZE)[0], NEAR, FAR)
    return frustum.points(CELLS, SIZE, SIZE).numpy()


def test_a_sphere_is_solid() -> None:
    inside = carved(sphere(0.35))
    distance = np.linalg.norm(cell_points(), axis=-1)
    assert inside[distance < 0.34].mean() > 0.999
    assert not inside[distance > 0.40].any()
    truth = distance < 0.35
    assert (inside & truth).sum() / (inside | truth).sum() > 0.95


def test_a_sheet_without_thickness_stays() -> None:
    """Unless a camera sees it exactly from the edge."""
    corners = np.array([[-0.3, -0.3, 0], [0.3, -0.3, 0], [0.3, 0.3, 0], [-0.3, 0.3, 0]])
    inside = carved(mesh(corners, np.array([[0, 1, 2], [0, 2, 3]])), turned=22.5)
    points = cell_points()
    on_sheet = (np.abs(points[..., 2]) < 0.0046) & (np.abs(points[..., :2]) < 0.26).all(-1)
    columns = on_sheet.any(0)
    # Every ray through the sheet meets it, and it is not fat.
    assert inside.any(0)[columns].mean() > 0.97
    watched = (np.abs(points) < 0.45).all(-1)  # what lies beyond no camera sees
    assert not inside[watched & (np.abs(points[..., 2]) > 0.06)].any()


def test_rays_beside_the_mask_are_empty() -> None:
    shape = sphere(0.3)
    cameras = rig()
    depth = trace_mesh(shape, cameras)[2][0]
    front = orbit_cameras([0.0], size=SIZE)[0]
    mask = np.zeros((SIZE, SIZE), bool)
    mask[: SIZE // 2] = True
    inside = carve_rays(mask, front, NEAR, FAR, CELLS, depth, cameras, 0.006)
    assert inside[:, : SIZE // 2].any()
    assert not inside[:, SIZE // 2 :].any()


@pytest.mark.parametrize("turned", [0.0, 40.0])
def test_slanted_walls_are_not_eaten(turned: float) -> None:
    """A box seen at an angle: depth changes fast from pixel to pixel along its sides."""
    unit = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * 0.25
    angle = np.radians(turned)
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    inside = carved(mesh(unit @ turn.T, faces))
    local = cell_points() @ turn
    assert inside[(np.abs(local) < 0.235).all(-1)].mean() > 0.995
    assert not inside[(np.abs(local) > 0.29).any(-1)].any()
