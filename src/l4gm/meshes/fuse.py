"""Gaussians to a closed mesh: rendered depth of many views, fused in a volume.

Every grid point gets its mean signed distance to what the views see (Curless and Levoy 1996);
pixels that show nothing say how far it is to the outline. What no view sees is inside. So the mesh
is what the images show, however the Gaussians lie within it. Colours are the images' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import visible
from l4gm.geometry.cameras import FOV_Y_DEGREES, Cameras, orbit_cameras
from l4gm.meshes.mesh import Mesh, vertex_normals, without_specks
from l4gm.meshes.surface_nets import extract_surface
from l4gm.splat.kernels.workers import available_threads, run_workers
from l4gm.splat.render import render

MAX_TRIANGLES = 20_000
MIN_TRIANGLES = 500  # as many the coarsest grid may take

_VIEWS = 32
_PIXELS = 256
_MOST_STEPS = 128  # grid steps along the object's longest side
_LEAST_STEPS = 4
_REACH_STEPS = 3.0  # distances to the surface are kept up to so many grid steps
_PADDING = 4  # grid points around the object
_LEAST_PART = 0.01  # of the largest part's volume: smaller ones are specks
_STRAYS = 0.001  # share of the Gaussians at each side that may lie outside of the grid
_MIXED_STEPS = 2.0  # pixels whose depths spread more widely show two surfaces


@dataclass(frozen=True)
class Box:
    """Where an object lies in all its frames.

    Args:
        low, high: [3] corners.
    """

    low: Tensor
    high: Tensor

    @property
    def side(self) -> float:
        """The longest one."""
        return float((self.high - self.low).max())


def measure_box(num_frames: int, frame: Callable[[int], Gaussians]) -> Box | None:
    """The box around the visible Gaussians of all frames, but for strays; None: there are none."""
    lows, highs = [], []
    for index in range(num_frames):
        gaussians = _seen(frame(index))
        count = gaussians.num_gaussians
        if not count:
            continue
        ordered, skipped = gaussians.means.sort(0).values, int(_STRAYS * count)
        reach = 2 * float(gaussians.scales.amax(-1).median())
        lows.append(ordered[skipped] - reach)
        highs.append(ordered[count - 1 - skipped] + reach)
    if not lows:
        return None
    return Box(torch.stack(lows).amin(0), torch.stack(highs).amax(0))


class Mesher:
    """Makes meshes of the frames of one object.

    The grid is as fine as `max_triangles` allows: it gets coarser with the first frame that needs
    it, and stays so.

    Args:
        box: where the object lies in all frames.
        max_triangles: of a frame at most.

    Raises:
        ValueError: fewer triangles than 500.
    """

    def __init__(self, box: Box, max_triangles: int = MAX_TRIANGLES) -> None:
        if max_triangles < MIN_TRIANGLES:
            raise ValueError(f"max_triangles must be at least {MIN_TRIANGLES}, got {max_triangles}")
        self.box = box
        self.max_triangles = max_triangles
        self.step = max(box.side, 1e-6) / _MOST_STEPS
        centre = (box.low + box.high) / 2
        reach = float((box.high - box.low).norm()) / 2
        azimuths, elevations = _around()
        self.cameras = orbit_cameras(
            azimuths,
            elevations,
            1.05 * max(reach, 1e-6) / math.sin(math.radians(FOV_Y_DEGREES / 2)),
            size=_PIXELS,
            target=centre.tolist(),
        )

    def mesh(self, gaussians: Gaussians) -> Mesh | None:
        """The mesh of one set [N], closed, without specks; None if nothing solid is to be seen."""
        views = _look(gaussians, self.cameras)
        while True:
            positions, faces = self._surface(views)
            if len(faces) <= self.max_triangles:
                break
            coarser = self.step * 1.02 * math.sqrt(len(faces) / self.max_triangles)
            self.step = min(coarser, max(self.box.side, 1e-6) / _LEAST_STEPS)
            if self.step < coarser:
                positions, faces = self._surface(views)
                break
        if not len(faces):
            return None
        return Mesh(positions, faces, _paint(positions, faces, views, 2 * self.step))

    def _surface(self, views: _Views) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        from l4gm.meshes import fusion_kernels as kernels

        origin = (self.box.low - _PADDING * self.step).double().numpy()
        extent = (self.box.high - self.box.low).double().numpy()
        shape = np.ceil(extent / self.step).astype(int) + 2 * _PADDING + 1
        volume = np.empty(tuple(shape), np.float32)
        depth = np.where(views.spread <= _MIXED_STEPS * self.step, views.depth, 0.0)
        depth = depth.astype(np.float32)
        reach = _REACH_STEPS * self.step
        run_workers(
            lambda counter, number: kernels.integrate(
                counter, views.alpha, depth, views.distances, views.poses, views.lens,
                origin, self.step, reach, volume,
            ),
            available_threads(),
        )  # fmt: skip
        _open_rim(volume)
        positions, faces = extract_surface(volume)
        positions, faces = without_specks(positions, faces, _LEAST_PART)
        return (origin + positions * self.step).astype(np.float32), faces


@dataclass(frozen=True)
class _Views:
    """What the cameras see: see `fusion_kernels` for the shapes.

    `spread` [M, H, W] is the standard deviation of the depths that a pixel shows.
    """

    images: NDArray[np.float32]
    alpha: NDArray[np.float32]
    depth: NDArray[np.float32]
    spread: NDArray[np.float32]
    distances: NDArray[np.float32]
    poses: NDArray[np.float64]
    lens: NDArray[np.float64]


def _seen(gaussians: Gaussians) -> Gaussians:
    """The visible ones of a set [N], on the CPU."""
    keep = visible(gaussians)
    return gaussians.map(lambda tensor: tensor[keep].detach().to("cpu", torch.float32))


def _around() -> tuple[Tensor, Tensor]:
    """Azimuths and elevations in degrees, evenly over the sphere (a Fibonacci lattice)."""
    index = torch.arange(_VIEWS, dtype=torch.float64)
    azimuths = 360 * ((index / ((1 + math.sqrt(5)) / 2)) % 1)
    return azimuths, (1 - 2 * (index + 0.5) / _VIEWS).asin().rad2deg()


@torch.inference_mode()
def _look(gaussians: Gaussians, cameras: Cameras) -> _Views:
    from l4gm.meshes import fusion_kernels as kernels

    gaussians = _seen(gaussians)
    out = render(gaussians, cameras, background=0.0)
    alpha = out.alpha[:, 0].clamp(1e-6, 1)
    camera_from_world = cameras.camera_from_world
    depths = torch.stack(
        [gaussians.means @ pose[2, :3] + pose[2, 3] for pose in camera_from_world]
    )  # [M, N]
    near = float(cameras.near)
    # Counted from the near plane, so that their squares are exact enough; a view at a time, since
    # each has its own.
    moments = torch.cat(
        [
            render(
                replace(gaussians, colors=torch.stack([z - near, (z - near) ** 2, z], -1)),
                cameras[view : view + 1],
                background=0.0,
            ).image
            for view, z in enumerate(depths)
        ]
    )
    mean = moments[:, 0] / alpha
    spread = (moments[:, 1] / alpha - mean**2).clamp(min=0).sqrt()
    solid = out.alpha[:, 0].contiguous().numpy()
    distances = np.empty_like(solid)
    kernels.outside_distances(solid, distances)
    matrix = cameras.intrinsics[0].double().numpy()
    return _Views(
        images=out.image.contiguous().numpy(),
        alpha=solid,
        depth=(mean + near).contiguous().numpy(),
        spread=spread.contiguous().numpy(),
        distances=distances,
        poses=np.ascontiguousarray(camera_from_world[:, :3].double().numpy()),
        lens=np.array([matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]]),
    )


def _open_rim(volume: NDArray[np.float32]) -> None:
    """Outside, whatever the views say: nothing of the object is there, and the mesh must close."""
    for axis in range(3):
        layers = np.moveaxis(volume, axis, 0)
        layers[[0, 1, -2, -1]] = np.maximum(layers[[0, 1, -2, -1]], 0.01)


def _paint(
    positions: NDArray[np.float32],
    faces: NDArray[np.int32],
    views: _Views,
    tolerance: float,
) -> NDArray[np.float32]:
    """[P, 3] colours of vertices: what the views that see them show there."""
    from l4gm.meshes import fusion_kernels as kernels

    sums = np.zeros((len(positions), 4))
    kernels.color_vertices(
        positions, vertex_normals(positions, faces), views.images, views.alpha, views.depth,
        views.poses, views.lens, tolerance, sums,
    )  # fmt: skip
    known = sums[:, 3] > 1e-3
    colors = np.where(known[:, None], sums[:, :3] / np.maximum(sums[:, 3:], 1e-9), 0.5)
    kernels.spread_colors(colors, known, faces, len(positions))
    return colors.clip(0, 1).astype(np.float32)
