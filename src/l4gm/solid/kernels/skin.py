"""The whole surface of the field: one vertex for each cell that it passes through.

Naive surface nets: the vertex of a dual cell (between eight neighbouring cell centres) is the mean
of the places where the cell's twelve edges cross the surface.
"""

from __future__ import annotations

import numpy as np

from l4gm.solid.kernels.field import LIMIT
from l4gm.splat.kernels.jit import kernel

_f32 = np.float32


@kernel
def _value(level, rim, y, x, d):
    """The field at a cell's centre, which may lie one cell beyond the border."""
    size, _, depth = level.shape
    if y < 0 or x < 0 or d < 0 or y >= size or x >= size or d >= depth:
        return -LIMIT
    return min(level[y, x, d], rim[y, x])


@kernel
def _crossings(corners, centre):
    """Mean of the edges' crossings, into `centre` [3] in cells from the first corner."""
    count = 0
    centre[:] = 0
    for axis in range(3):
        step = 4 >> axis
        for i in range(8):
            if i & step:
                continue
            a, b = corners[i], corners[i + step]
            if (a > 0) == (b > 0):
                continue
            count += 1
            for other in range(3):
                centre[other] += _f32((i >> (2 - other)) & 1)
            centre[axis] += a / (a - b)
    for axis in range(3):
        centre[axis] /= _f32(count)


@kernel
def _gradient(corners, centre, gradient):
    """Of the trilinear interpolation of the corners, along (y, x, d)."""
    for axis in range(3):
        step = 4 >> axis
        gradient[axis] = 0
        for i in range(8):
            if i & step:
                continue
            weight = _f32(1)
            for other in range(3):
                if other != axis:
                    bit = (i >> (2 - other)) & 1
                    weight *= centre[other] if bit else _f32(1) - centre[other]
            gradient[axis] += weight * (corners[i + step] - corners[i])


@kernel
def count_skin(level, rim):
    """How many vertices `grow_skin` makes."""
    size, _, depth = level.shape
    count = 0
    for y in range(-1, size):
        for x in range(-1, size):
            if not _may_cross(rim, y, x):
                continue
            before = _signs(level, rim, y, x, -1)
            for d in range(-1, depth):
                after = _signs(level, rim, y, x, d + 1)
                count += before | (after << 4) not in (0, 255)
                before = after
    return count


@kernel
def _may_cross(rim, y, x):
    """Whether any of the four columns at the corner has inside cells."""
    size = rim.shape[0]
    for j in range(max(y, 0), min(y + 2, size)):
        for i in range(max(x, 0), min(x + 2, size)):
            if rim[j, i] > 0:
                return True
    return False


@kernel
def _signs(level, rim, y, x, d):
    """Four bits: which cells of the four columns at a depth are inside."""
    return (
        (_value(level, rim, y, x, d) > 0)
        | ((_value(level, rim, y, x + 1, d) > 0) << 1)
        | ((_value(level, rim, y + 1, x, d) > 0) << 2)
        | ((_value(level, rim, y + 1, x + 1, d) > 0) << 3)
    )


@kernel
def grow_skin(level, rim, lens, points, normals, spacings, cells):
    """All vertices of the surface.

    Args:
        level: [L, L, D].
        rim: [L, L].
        lens: [6].
        points: out, [N, 3] in the camera's axes.
        normals: out, [N, 3], unit, outwards.
        spacings: out, [N, 2], distance to the neighbours up and down the slope towards the
            camera, and across it.
        cells: out, [N], the number of the dual cell.
    """
    size, _, depth = level.shape
    fx, fy, cx, cy, near, far = lens
    thickness = (far - near) / depth
    corners, centre = np.empty(8, np.float32), np.empty(3, np.float32)
    gradient = np.empty(3, np.float32)
    count = 0
    for y in range(-1, size):
        for x in range(-1, size):
            if not _may_cross(rim, y, x):
                continue
            before = _signs(level, rim, y, x, -1)
            for d in range(-1, depth):
                after = _signs(level, rim, y, x, d + 1)
                crosses = before | (after << 4) not in (0, 255)
                before = after
                if not crosses:
                    continue
                for i in range(8):
                    corners[i] = _value(level, rim, y + (i >> 2), x + ((i >> 1) & 1), d + (i & 1))
                _crossings(corners, centre)
                _gradient(corners, centre, gradient)
                u, v = (x + centre[1] + 0.5) / size, (y + centre[0] + 0.5) / size
                z = near + (d + centre[2] + 0.5) * thickness
                points[count, 0], points[count, 1] = (u - cx) / fx * z, (v - cy) / fy * z
                points[count, 2] = z
                du, dv, dz = gradient[1] * size, gradient[0] * size, gradient[2] / thickness
                nx, ny = -du * fx / z, -dv * fy / z
                nz = (du * (u - cx) + dv * (v - cy)) / z - dz
                length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-20
                nx, ny, nz = nx / length, ny / length, nz / length
                normals[count, 0], normals[count, 1], normals[count, 2] = nx, ny, nz
                across = z / (fx * size)
                px, py = (u - cx) / fx, (v - cy) / fy
                cosine = (nx * px + ny * py + nz) / np.sqrt(px * px + py * py + 1)
                steep = max(1 - cosine * cosine, 0.0)
                spacings[count, 0] = np.sqrt(across**2 * (1 - steep) + thickness**2 * steep)
                spacings[count, 1] = across
                cells[count] = ((y + 1) * (size + 1) + x + 1) * (depth + 1) + d + 1
                count += 1
