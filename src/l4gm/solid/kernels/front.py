"""What the video's camera sees: depth and normal of every pixel of the object."""

from __future__ import annotations

import numpy as np

from l4gm.solid.kernels.field import LIFT, LIMIT
from l4gm.splat.kernels.jit import kernel

_f32 = np.float32
_FAINT = _f32(0.5)  # of alpha: pixels from here on are the object
_SMOOTHINGS = 3
_REACH = 2  # pixels to each side that a normal is fitted to


@kernel
def _first_crossing(column):
    """Where a ray enters the object, in cells from the first cell's centre; -1 if nowhere."""
    if column[0] > 0:
        return _f32(-0.5)
    for d in range(1, column.size):
        if column[d] > 0:
            return _f32(d - 1) + column[d - 1] / (column[d - 1] - column[d])
    return _f32(-1)


@kernel
def front_depth(level, alpha, lens, depth):
    """Depth of the first crossing along each pixel's ray.

    Args:
        level: [L, L, D] without loose parts.
        alpha: [S, S].
        lens: [6].
        depth: out, [S, S] camera z; 0 where the image shows no object, -1 where it shows one but
            all columns around are empty.
    """
    fine, _, cells = level.shape
    size = alpha.shape[0]
    near, thickness = lens[4], (lens[5] - lens[4]) / cells
    column = np.empty(cells, np.float32)
    filled = np.zeros((fine, fine), np.bool_)
    for y in range(fine):
        for x in range(fine):
            for d in range(cells):
                filled[y, x] |= level[y, x, d] > 0
    for y in range(size):
        v = (y + 0.5) * fine / size - 0.5
        y0 = int(np.floor(v))
        for x in range(size):
            depth[y, x] = 0
            if alpha[y, x] <= _FAINT:
                continue
            u = (x + 0.5) * fine / size - 0.5
            x0 = int(np.floor(u))
            total, highest = _f32(0), -LIMIT
            column[:] = 0
            for j in range(max(y0, 0), min(y0 + 2, fine)):
                for i in range(max(x0, 0), min(x0 + 2, fine)):
                    if filled[j, i]:
                        share = _f32((1 - abs(v - j)) * (1 - abs(u - i))) + _f32(1e-6)
                        total += share
                        for d in range(cells):
                            column[d] += share * level[j, i, d]
            depth[y, x] = -1
            if total == 0:
                continue
            for d in range(cells):
                column[d] /= total
                highest = max(highest, column[d])
            if highest < LIFT:
                for d in range(cells):
                    column[d] += LIFT - highest
            depth[y, x] = near + (_first_crossing(column) + 0.5) * thickness


@kernel
def fill_depth(depth):
    """Give pixels without depth (-1) that of their neighbours, from the border inwards, in place.

    Parts of the object with no depth at all get the mean of the rest.
    """
    size = depth.shape[0]
    queue = np.empty((size * size, 2), np.int32)
    count, known, total = 0, 0, 0.0
    for y in range(size):
        for x in range(size):
            if depth[y, x] > 0:
                total += depth[y, x]
                known += 1
            elif depth[y, x] < 0 and _mean_neighbour(depth, y, x) > 0:
                queue[count, 0], queue[count, 1] = y, x
                count += 1
                depth[y, x] = -2
    place = 0
    while place < count:
        y, x = queue[place]
        depth[y, x] = _mean_neighbour(depth, y, x)
        place += 1
        for j in range(max(y - 1, 0), min(y + 2, size)):
            for i in range(max(x - 1, 0), min(x + 2, size)):
                if depth[j, i] == -1:
                    depth[j, i] = -2
                    queue[count, 0], queue[count, 1] = j, i
                    count += 1
    for y in range(size):
        for x in range(size):
            if depth[y, x] < 0:
                depth[y, x] = total / max(known, 1)


@kernel
def _mean_neighbour(depth, y, x):
    """Mean of the known depths around a pixel; 0 if there are none."""
    size = depth.shape[0]
    total, count = 0.0, 0
    for j in range(max(y - 1, 0), min(y + 2, size)):
        for i in range(max(x - 1, 0), min(x + 2, size)):
            if depth[j, i] > 0:
                total += depth[j, i]
                count += 1
    return total / count if count else 0.0


@kernel
def smooth_depth(depth, step, scratch):
    """Smooth along the surface, not across its edges: a few rounds of bilateral 3 x 3 means.

    Args:
        depth: [S, S], changed in place.
        step: depth difference between neighbours from which they count less than half.
        scratch: [S, S].
    """
    size = depth.shape[0]
    inverse = _f32(1) / _f32(step * step)
    for _ in range(_SMOOTHINGS):
        scratch[:] = depth
        for y in range(size):
            for x in range(size):
                here = scratch[y, x]
                if here == 0:
                    continue
                total, weights = _f32(0), _f32(0)
                for j in range(max(y - 1, 0), min(y + 2, size)):
                    for i in range(max(x - 1, 0), min(x + 2, size)):
                        other = scratch[j, i]
                        if other == 0:
                            continue
                        square = (other - here) * (other - here) * inverse
                        weight = _f32(1) / (_f32(1) + square * square)
                        total += weight * (other - here)
                        weights += weight
                depth[y, x] = here + total / weights


@kernel
def front_normals(depth, lens, steepest, normals):
    """Unit normals [S, S, 3] of the depth map, towards the camera.

    Args:
        depth: [S, S].
        lens: [6].
        steepest: slope dz / dx from which neighbouring pixels lie on different surfaces.
        normals: out.
    """
    size = depth.shape[0]
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    for y in range(size):
        for x in range(size):
            z = depth[y, x]
            if z == 0:
                continue
            du = _slope(depth, y, x, 0, 1, steepest * z / (fx * size))
            dv = _slope(depth, y, x, 1, 0, steepest * z / (fy * size))
            # P = (p z, q z, z); the cross product of its derivatives along the image's axes.
            p, q = ((x + 0.5) / size - cx) / fx, ((y + 0.5) / size - cy) / fy
            across, down = z / (fx * size), z / (fy * size)
            nx, ny = du * down, dv * across
            nz = -(across * down + p * du * down + q * dv * across)
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            normals[y, x, 0] = nx / length
            normals[y, x, 1] = ny / length
            normals[y, x, 2] = nz / length


@kernel
def _slope(depth, y, x, dy, dx, jump):
    """Change of depth per pixel along an axis, from the neighbours on the same surface."""
    size = depth.shape[0]
    z = depth[y, x]
    forward, backward = z, z
    ahead, behind = 0, 0
    for k in range(1, _REACH + 1):
        j, i = y + k * dy, x + k * dx
        if j >= size or i >= size or depth[j, i] == 0 or abs(depth[j, i] - forward) > jump:
            break
        forward, ahead = depth[j, i], k
    for k in range(1, _REACH + 1):
        j, i = y - k * dy, x - k * dx
        if j < 0 or i < 0 or depth[j, i] == 0 or abs(depth[j, i] - backward) > jump:
            break
        backward, behind = depth[j, i], k
    return (forward - backward) / max(ahead + behind, 1)
