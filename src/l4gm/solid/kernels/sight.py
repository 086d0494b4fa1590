"""What a given view sees of the volume of the reference moment."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

_f32 = np.float32


@kernel
def _level_at(columns, lens, x, y, z):
    """Trilinear level [h, w, D] at a point; low outside."""
    height, width, cells = columns.shape
    if z <= lens[4] or z >= lens[5]:
        return _f32(-1)
    u = (x / z * lens[0] + lens[2]) * width - 0.5
    v = (y / z * lens[1] + lens[3]) * height - 0.5
    d = (z - lens[4]) / (lens[5] - lens[4]) * cells - 0.5
    if u < -0.5 or v < -0.5 or u > width - 0.5 or v > height - 0.5:
        return _f32(-1)
    u, v = min(max(u, 0.0), width - 1.001), min(max(v, 0.0), height - 1.001)
    d = min(max(d, 0.0), cells - 1.001)
    i, j, k = int(u), int(v), int(d)
    a, b, c = _f32(u - i), _f32(v - j), _f32(d - k)
    one = _f32(1)
    near = (columns[j, i, k] * (one - a) + columns[j, i + 1, k] * a) * (one - b) + (
        columns[j + 1, i, k] * (one - a) + columns[j + 1, i + 1, k] * a
    ) * b
    far = (columns[j, i, k + 1] * (one - a) + columns[j, i + 1, k + 1] * a) * (one - b) + (
        columns[j + 1, i, k + 1] * (one - a) + columns[j + 1, i + 1, k + 1] * a
    ) * b
    return near * (one - c) + far * c


@kernel
def view_depth(columns, lens, camera, reach, alpha, depth):
    """Depth of the first crossing along the rays of a view, as seen by its own camera.

    Args:
        columns: [h, w, D] levels.
        lens: [6].
        camera: [4, 4]: rows 0..2 take points from the view's axes to the volume's camera; row 3 is
            the view's fx, fy, cx, cy.
        reach: nearest z, farthest z and step along the rays.
        alpha: [R, R] of the view; rays beside its object are not followed.
        depth: out, [R, R] camera z, 0 where there is no surface.
    """
    size = alpha.shape[0]
    for row in range(size):
        for column in range(size):
            depth[row, column] = 0
            if alpha[row, column] < 0.1:
                continue
            p = ((column + 0.5) / size - camera[3, 2]) / camera[3, 0]
            q = ((row + 0.5) / size - camera[3, 3]) / camera[3, 1]
            dx = camera[0, 0] * p + camera[0, 1] * q + camera[0, 2]
            dy = camera[1, 0] * p + camera[1, 1] * q + camera[1, 2]
            dz = camera[2, 0] * p + camera[2, 1] * q + camera[2, 2]
            t, before = reach[0], _f32(-1)
            while t < reach[1]:
                here = _level_at(
                    columns, lens,
                    camera[0, 3] + dx * t, camera[1, 3] + dy * t, camera[2, 3] + dz * t,
                )  # fmt: skip
                if here > 0:
                    depth[row, column] = t - reach[2] * here / (here - before)
                    break
                before = here
                t += reach[2]


@kernel
def level_normals(columns, lens, points, step, normals):
    """Unit normals [N, 3], outwards, at points near the surface, from differences over `step`."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        nx = _level_at(columns, lens, x - step, y, z) - _level_at(columns, lens, x + step, y, z)
        ny = _level_at(columns, lens, x, y - step, z) - _level_at(columns, lens, x, y + step, z)
        nz = _level_at(columns, lens, x, y, z - step) - _level_at(columns, lens, x, y, z + step)
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + _f32(1e-12)
        normals[i, 0], normals[i, 1], normals[i, 2] = nx / length, ny / length, nz / length
