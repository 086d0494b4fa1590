"""Pictures of an animated mesh without a graphics card or a window system.

A z-buffer rasterizer in Numba (`raster_kernels`): perspective-correct, clipped at the near plane,
2 x 2 samples a pixel, bilinear textures with a level of detail per triangle, one directional light
with ambient and sky light, computed per vertex. Light works on display values (sRGB-encoded), which
is simple and fast and gives softer shadows than light on linear values.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.geometry.cameras import Cameras

MAX_LEVELS = 12


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """One far light, a sky and ambient light, in world axes: they do not turn with the camera.

    A surface of albedo 1 shows ambient + sky (0.5 + 0.5 n_y) + sun max(n . direction, 0), clipped
    to 1. Both sides of a triangle are lit, each by its own normal.

    Args:
        direction: [3] towards the light, any length.
        sun, sky, ambient: strengths.
        tint: [3] colour of the sun; its complement goes to the ambient light.
    """

    direction: tuple[float, float, float] = (0.4, 0.8, 0.5)
    sun: float = 0.5
    sky: float = 0.15
    ambient: float = 0.45
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @staticmethod
    def random(generator: np.random.Generator) -> Lighting:
        """Light from anywhere above, soft to strong, nearly white; full light is about 1."""
        direction = generator.normal(size=3)
        direction[1] = abs(direction[1]) + 0.5
        ambient = generator.uniform(0.45, 0.7)
        sky = generator.uniform(0.05, 0.2)
        sun = (1.0 - ambient - sky) * generator.uniform(1.0, 1.4)
        tint = 1.0 + generator.uniform(-0.06, 0.06, 3)
        x, y, z = direction
        r, g, b = tint
        return Lighting(
            direction=(float(x), float(y), float(z)),
            sun=float(sun),
            sky=float(sky),
            ambient=float(ambient),
            tint=(float(r), float(g), float(b)),
        )


def render_mesh(
    mesh: AnimatedMesh, cameras: Cameras, lighting: Lighting | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Render every frame of a mesh from every camera.

    Pictures are shared out to threads (NUMBA_NUM_THREADS, or as many as there are cores); the
    result does not depend on their number.

    Args:
        mesh: T frames.
        cameras: [V]; nothing nearer than `cameras.near` or beyond `cameras.far` is drawn.
        lighting: where the light comes from.

    Returns:
        images [T, V, H, W, 4] uint8 RGBA, colour not premultiplied (white where alpha is 0), alpha
        in steps of a quarter; depth [T, V, H, W] float32, camera z of the nearest surface at the
        pixel's centre, 0 where there is none (exactly where alpha is 0).

    Raises:
        ValueError: if cameras do not have one leading dimension.
    """
    from l4gm.datagen import raster_kernels as kernels

    shape = _shape(mesh, cameras)
    poses, lenses = _camera_arrays(cameras, kernels.SUPERSAMPLE)
    images, depths = np.empty((*shape, 4), np.uint8), np.empty(shape, np.float32)
    shade = _light(mesh, lighting or Lighting())
    _in_threads(
        kernels.render_pictures, shape[0] * shape[1],
        mesh.positions, mesh.faces, mesh.colors, shade, mesh.uv, mesh.face_textures,
        *_texture_pyramids(mesh.textures), poses, lenses, float(cameras.near), float(cameras.far),
        images, depths,
    )  # fmt: skip
    return images, depths


def trace_mesh(
    mesh: AnimatedMesh, cameras: Cameras
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Which point of the mesh the centre of every pixel shows.

    Args:
        mesh: T frames.
        cameras: [V].

    Returns:
        faces [T, V, H, W], -1 where there is none; weights [T, V, H, W, 2], the barycentric
        coordinates of the face's first two corners (the third's are the rest to 1); depth
        [T, V, H, W], camera z, 0 where there is none.

    Raises:
        ValueError: if cameras do not have one leading dimension.
    """
    from l4gm.datagen import raster_kernels as kernels

    shape = _shape(mesh, cameras)
    poses, lenses = _camera_arrays(cameras, 1)
    shown, depths = np.empty(shape, np.int32), np.empty(shape, np.float32)
    weights = np.empty((*shape, 2), np.float32)
    _in_threads(
        kernels.trace_pictures, shape[0] * shape[1],
        mesh.positions, mesh.faces, mesh.uv, mesh.face_textures,
        *_texture_pyramids(mesh.textures), poses, lenses, float(cameras.near), float(cameras.far),
        shown, weights, depths,
    )  # fmt: skip
    return shown, weights, depths


def _shape(mesh: AnimatedMesh, cameras: Cameras) -> tuple[int, int, int, int]:
    """T, V, H, W."""
    if len(cameras.shape) != 1:
        raise ValueError(f"cameras must be [V], got {list(cameras.shape)}")
    return mesh.num_frames, cameras.shape[0], cameras.height, cameras.width


def _camera_arrays(cameras: Cameras, scale: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[V, 3, 4] camera from world, and [V, 4] fx, fy, cx, cy of pictures `scale` times as large."""
    poses = cameras.camera_from_world.double().numpy()[:, :3]
    matrix = cameras.intrinsics.double().numpy()
    lenses = [matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]]
    return np.ascontiguousarray(poses), scale * np.stack(lenses, 1)


def _in_threads(kernel: Callable[..., None], num_pictures: int, *arguments: Any) -> None:
    """Run a kernel, which takes the first and the last picture before its arguments, on all."""
    from l4gm.datagen import raster_kernels as kernels

    num_threads = min(kernels.num_threads(), num_pictures)
    if num_threads <= 1:
        kernel(0, num_pictures, *arguments)
        return
    # A few pieces per thread even out pictures of different cost.
    bounds = np.linspace(0, num_pictures, min(4 * num_threads, num_pictures) + 1).astype(int)

    def run(first: int, last: int) -> None:
        kernel(first, last, *arguments)

    with ThreadPoolExecutor(num_threads) as pool:
        list(pool.map(run, bounds[:-1].tolist(), bounds[1:].tolist()))


def _light(mesh: AnimatedMesh, lighting: Lighting) -> NDArray[np.float32]:
    """[T, P, 2, 3] light on the front and back of every vertex."""
    from l4gm.datagen import raster_kernels as kernels

    num_vertices = mesh.positions.shape[1]
    smoothing = mesh.smoothing
    if smoothing is None:
        smoothing = np.arange(num_vertices, dtype=np.int32)
    direction = np.asarray(lighting.direction, np.float64)
    direction = direction / np.linalg.norm(direction)
    tint = np.asarray(lighting.tint, np.float64)
    shade = np.empty((mesh.num_frames, num_vertices, 2, 3), np.float32)
    for t in range(mesh.num_frames):
        kernels.light_vertices(
            mesh.positions[t], mesh.faces, smoothing, direction, lighting.sun * tint,
            lighting.ambient * (2.0 - tint), float(lighting.sky), shade[t],
        )  # fmt: skip
    return shade


def _texture_pyramids(
    textures: tuple[NDArray[np.uint8], ...],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """All textures with their halvings in one array, and where each lies.

    Returns:
        texels [M, 4]; levels [textures, L, 3] (offset, width, height; the last level repeats);
        holes [textures], whether any texel is see-through.
    """
    levels = np.zeros((max(len(textures), 1), MAX_LEVELS, 3), np.int64)
    holes = np.zeros(max(len(textures), 1), np.bool_)
    pieces: list[NDArray[np.uint8]] = []
    offset = 0
    for index, texture in enumerate(textures):
        holes[index] = bool((texture[..., 3] < 128).any())
        level = texture
        for depth in range(MAX_LEVELS):
            if depth:
                halved = _halved(level)
                if halved.shape == level.shape:
                    levels[index, depth] = levels[index, depth - 1]
                    continue
                level = halved
            levels[index, depth] = offset, level.shape[1], level.shape[0]
            pieces.append(level.reshape(-1, 4))
            offset += len(pieces[-1])
    texels = np.concatenate(pieces) if pieces else np.full((1, 4), 255, np.uint8)
    return texels, levels, holes


def _halved(level: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each side halved (a side of 1 stays, an odd last row or column is left out), 2 x 2 means."""
    for axis in (0, 1):
        size = level.shape[axis]
        if size > 1:
            even = level.take(range(0, size - 1, 2), axis).astype(np.uint16)
            odd = level.take(range(1, size, 2), axis)
            level = ((even + odd + 1) // 2).astype(np.uint8)
    return level
