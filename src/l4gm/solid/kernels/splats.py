"""Splats of the front and of the skin: which ones, how many, how wide."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

DROPPED, SKIN, LINING, FRONT = range(4)  # what an element of the surface is

LEAST_COSINE = np.float32(0.3)  # front pixels stretch to cover slopes this much turned away
LINING_MARGIN_PX = 3  # no lining so near to an edge of the front
LINING_DEEPEST = np.float32(0.0155)  # world units, below the surface
LINING_DEPTH = np.float32(0.4)  # behind the front, of a depth cell
LINING_REACH_PX = 2  # about the radius of a splat of the lining
EDGE_SHIFT_PX = np.float32(0.35)
EDGE_SLOPE = np.float32(0.35)  # pixels more for a pixel that is hardly covered
_GOLDEN_ANGLE = 2.399963229728653
_CHILD_SPREAD = 1.2  # radius of the disc over which parts of a splat are spread, in its sigmas


@kernel
def front_splats(depth, pixels, normals, lens, points, facing, spacings, cells):
    """One splat for each pixel of the object.

    Rendering blurs: those along the outline lie a little inwards, so that it stays where it is.

    Args:
        pixels: [S, S, 4] straight RGBA.
        depth: [S, S] camera z, 0 where there is no object.
        normals: [S, S, 3].
        lens: [6].
        points, facing, spacings, cells: out, as of `skin.grow_skin`.
    """
    size = depth.shape[0]
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    count = 0
    for y in range(size):
        for x in range(size):
            z = depth[y, x]
            if z == 0:
                continue
            dx, dy = _inwards(pixels, y, x)
            p, q = ((x + dx + 0.5) / size - cx) / fx, ((y + dy + 0.5) / size - cy) / fy
            points[count, 0], points[count, 1], points[count, 2] = p * z, q * z, z
            cosine = np.float32(0)
            for k in range(3):
                facing[count, k] = normals[y, x, k]
                cosine -= normals[y, x, k] * points[count, k]
            cosine /= z * np.sqrt(p * p + q * q + 1)
            across = z / (fx * size)
            spacings[count, 0] = across / max(cosine, LEAST_COSINE)
            spacings[count, 1] = across
            cells[count] = y * size + x
            count += 1


@kernel
def _inwards(pixels, y, x):
    """How far (dx, dy) the splat of a pixel is moved away from the background, in pixels."""
    size = pixels.shape[0]
    dx, dy, least = np.float32(0), np.float32(0), np.float32(1)
    for j in range(y - 1, y + 2):
        for i in range(x - 1, x + 2):
            beside = np.float32(0)
            if j >= 0 and i >= 0 and j < size and i < size:
                beside = pixels[j, i, 3]
            weight = np.float32(2 - abs(j - y)) * np.float32(2 - abs(i - x))
            dx += weight * np.float32(i - x) * beside
            dy += weight * np.float32(j - y) * beside
            if j == y or i == x:
                least = min(least, beside)
    length = np.sqrt(dx * dx + dy * dy)
    if least > np.float32(0.5) or length < np.float32(1):
        return np.float32(0), np.float32(0)
    shift = EDGE_SHIFT_PX + EDGE_SLOPE * (np.float32(1) - pixels[y, x, 3])
    return dx / length * shift, dy / length * shift


@kernel
def settle_skin(points, normals, depth, level, lens, tolerance, inset, roles):
    """Fit the skin to the front: which of its splats stay, and where.

    Splats that show what the front does stay only as its lining, some way behind it, so that the
    front can be as sharp as its pixels and yet has no gaps when seen closely. Near an edge there is
    none, for it would widen the outline. Splats that would hide the front, as seen by the camera,
    are moved behind it as well.

    Args:
        points: [N, 3], changed in place.
        normals: [N, 3].
        depth: [S, S] of the front.
        level: [L, L, D].
        lens: [6].
        tolerance: depth difference up to which both are one surface.
        inset: how far all are moved inwards, because splats reach out of the surface they lie on.
        roles: out, [N]: SKIN, LINING or DROPPED.
    """
    size = depth.shape[0]
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    thickness = (lens[5] - lens[4]) / level.shape[2]
    for i in range(points.shape[0]):
        for k in range(3):
            points[i, k] -= inset * normals[i, k]
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        column = min(max(int((x / z * fx + cx) * size), 0), size - 1)
        row = min(max(int((y / z * fy + cy) * size), 0), size - 1)
        front = depth[row, column]
        roles[i] = SKIN
        if front == 0 or z >= front + tolerance:
            continue
        length = np.sqrt(x * x + y * y + z * z)
        cosine = -(normals[i, 0] * x + normals[i, 1] * y + normals[i, 2] * z) / length
        behind = LINING_DEPTH * tolerance
        if cosine > LEAST_COSINE:
            # Splats are sorted by their centres: on a slope the lining lies deeper.
            slope = np.sqrt(1 - min(cosine * cosine, 1)) / cosine
            behind += LINING_REACH_PX * z / (fx * size) * slope
            behind = min(behind, LINING_DEEPEST / cosine)
            deep = (front + np.float32(1.5) * behind - lens[4]) / thickness - 0.5
            solid = _is_solid(level, row / size, column / size, deep)
            inner = _is_inner(depth, row, column, front + np.float32(3) * tolerance)
            roles[i] = LINING if solid and inner else DROPPED
            z = np.float32(0)
        if z < front + behind:
            scale = (front + behind) / points[i, 2]
            for k in range(3):
                points[i, k] *= scale


@kernel
def _is_solid(level, v, u, d):
    """Whether the object is filled at a place of the image, d cells deep."""
    size, _, cells = level.shape
    if d < 0 or d > cells - 1:
        return False
    return level[int(v * size), int(u * size), int(d + 0.5)] > 0


@kernel
def _is_inner(depth, row, column, farthest):
    """Whether no edge of the front is near a pixel."""
    size = depth.shape[0]
    for y in range(row - LINING_MARGIN_PX, row + LINING_MARGIN_PX + 1):
        for x in range(column - LINING_MARGIN_PX, column + LINING_MARGIN_PX + 1):
            if y < 0 or x < 0 or y >= size or x >= size:
                return False
            if depth[y, x] == 0 or depth[y, x] > farthest:
                return False
    return True


@kernel
def hash_cells(cells, salt, hashes):
    """[N] uint32 from the numbers of cells: the same cell has the same one in every frame."""
    for i in range(cells.size):
        value = np.uint64(cells[i]) * np.uint64(2) + np.uint64(salt)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashes[i] = np.uint32((value ^ (value >> np.uint64(31))) & np.uint64(0xFFFFFFFF))


@kernel
def place(points, normals, sigmas, counts, flatness, centres, axes, scales, sources):
    """Lay out `counts[i]` splats for surface element i, as flat discs in its tangent plane.

    Args:
        points, normals: [M, 3].
        sigmas: [M, 2] down the slope (as seen from the camera) and across it.
        counts: [M].
        flatness: sigma along the normal, of that across the slope.
        centres: out, [N, 3].
        axes: out, [N, 3, 3], columns down the slope, across it, along the normal.
        scales: out, [N, 3] sigmas along them.
        sources: out, [N], the element that each belongs to.
    """
    down, across = np.empty(3, np.float32), np.empty(3, np.float32)
    n = 0
    for i in range(points.shape[0]):
        _tangents(points[i], normals[i], down, across)
        shrink = 1 / np.sqrt(max(counts[i], 1))
        for child in range(counts[i]):
            radius = _CHILD_SPREAD * np.sqrt((child + 0.5) / counts[i]) if counts[i] > 1 else 0.0
            a = radius * np.cos(child * _GOLDEN_ANGLE) * sigmas[i, 0]
            b = radius * np.sin(child * _GOLDEN_ANGLE) * sigmas[i, 1]
            for k in range(3):
                centres[n, k] = points[i, k] + a * down[k] + b * across[k]
                axes[n, k, 0], axes[n, k, 1], axes[n, k, 2] = down[k], across[k], normals[i, k]
            scales[n, 0], scales[n, 1] = sigmas[i, 0] * shrink, sigmas[i, 1] * shrink
            scales[n, 2] = sigmas[i, 1] * shrink * flatness
            sources[n] = i
            n += 1


@kernel
def _tangents(point, normal, down, across):
    """Right-handed (down, across, normal); `across` is at a right angle to the ray as well."""
    ax = normal[1] * point[2] - normal[2] * point[1]
    ay = normal[2] * point[0] - normal[0] * point[2]
    az = normal[0] * point[1] - normal[1] * point[0]
    length = np.sqrt(ax * ax + ay * ay + az * az)
    if length < 1e-4:  # the ray meets the surface at a right angle: any direction will do
        ax, ay, az = normal[2], np.float32(0), -normal[0]
        length = np.sqrt(ax * ax + az * az)
        if length < 1e-4:
            ax, az, length = np.float32(1), np.float32(0), np.float32(1)
    across[0], across[1], across[2] = ax / length, ay / length, az / length
    down[0] = across[1] * normal[2] - across[2] * normal[1]
    down[1] = across[2] * normal[0] - across[0] * normal[2]
    down[2] = across[0] * normal[1] - across[1] * normal[0]
