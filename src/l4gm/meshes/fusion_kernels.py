"""Numba kernels of `fuse`: depth images to a volume, images to colours of vertices.

Symbols: M views, H and W pixels, (X, Y, Z) grid points; a view's `pose` is camera from world
[3, 4], its `lens` fx, fy, cx, cy in pixels.
"""

from __future__ import annotations

import math

import numpy as np

from l4gm.splat.kernels.jit import kernel
from l4gm.splat.kernels.simd import fetch_add

SOLID = 0.5  # a pixel shows the object where its alpha is at least this
CERTAIN = 3  # so many views that see far through a place prove that nothing is there


@kernel
def outside_distances(alpha, distances):  # type: ignore[no-untyped-def]
    """[M, H, W]: pixels from each pixel's centre to the object's outline; 0 where it shows.

    Chamfer distance with weights 1 and sqrt(2), two passes.
    """
    diagonal = math.sqrt(2.0)
    num_views, height, width = alpha.shape
    for m in range(num_views):
        for v in range(height):
            for u in range(width):
                best = 0.0 if alpha[m, v, u] >= SOLID else 1e9
                if best > 0.0:
                    if u > 0:
                        best = min(best, distances[m, v, u - 1] + 1.0)
                    if v > 0:
                        best = min(best, distances[m, v - 1, u] + 1.0)
                        if u > 0:
                            best = min(best, distances[m, v - 1, u - 1] + diagonal)
                        if u < width - 1:
                            best = min(best, distances[m, v - 1, u + 1] + diagonal)
                distances[m, v, u] = best
        for v in range(height - 1, -1, -1):
            for u in range(width - 1, -1, -1):
                best = distances[m, v, u]
                if best > 0.0:
                    if u < width - 1:
                        best = min(best, distances[m, v, u + 1] + 1.0)
                    if v < height - 1:
                        best = min(best, distances[m, v + 1, u] + 1.0)
                        if u < width - 1:
                            best = min(best, distances[m, v + 1, u + 1] + diagonal)
                        if u > 0:
                            best = min(best, distances[m, v + 1, u - 1] + diagonal)
                    distances[m, v, u] = best
        for v in range(height):
            for u in range(width):
                distances[m, v, u] = max(distances[m, v, u] - 0.5, 0.0)


@kernel
def integrate(  # type: ignore[no-untyped-def]
    counter,  # shared; the next layer of the volume to work on
    alpha,  # [M, H, W]
    depth,  # [M, H, W] camera z; 0 where it is not known
    distances,  # [M, H, W] of `outside_distances`
    poses,  # [M, 3, 4]
    lens,  # [4]
    origin,  # [3] of grid point (0, 0, 0)
    step,
    reach,  # distances are cut off here; what lies so far behind a surface is not known
    volume,  # out [X, Y, Z]: mean distance to the surface over the views, of `reach`; -1 unseen
):
    num_views, height, width = alpha.shape
    while True:
        i = fetch_add(counter, 0)
        if i >= volume.shape[0]:
            return
        x = origin[0] + i * step
        for j in range(volume.shape[1]):
            y = origin[1] + j * step
            for k in range(volume.shape[2]):
                z = origin[2] + k * step
                total, weight, certain = 0.0, 0.0, 0
                for m in range(num_views):
                    pose = poses[m]
                    far = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
                    across = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
                    below = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
                    u = math.floor(lens[0] * across / far + lens[2])
                    v = math.floor(lens[1] * below / far + lens[3])
                    if u < 0 or v < 0 or u >= width or v >= height:
                        distance = 1.0
                    elif alpha[m, v, u] < SOLID:
                        distance = distances[m, v, u] * far / (lens[0] * reach)
                    elif depth[m, v, u] > 0.0:
                        distance = (depth[m, v, u] - far) / reach
                    else:
                        continue
                    if distance >= 1.0:
                        certain += 1
                        total += 1.0
                        weight += 1.0
                        if certain == CERTAIN:
                            total = weight
                            break
                    elif distance >= 0.0:
                        total += distance
                        weight += 1.0
                    elif distance > -1.0:
                        # The farther behind, the likelier is it another surface.
                        total += (1.0 + distance) * distance
                        weight += 1.0 + distance
                volume[i, j, k] = total / weight if weight > 0.0 else -1.0


@kernel
def color_vertices(  # type: ignore[no-untyped-def]
    positions,  # [P, 3]
    normals,  # [P, 3]
    images,  # [M, 3, H, W] premultiplied
    alpha,  # [M, H, W]
    depth,  # [M, H, W]
    poses,
    lens,
    tolerance,  # a vertex is seen where the depth differs by less
    sums,  # out [P, 4]: weighted colour, weighted alpha
):
    num_views, height, width = alpha.shape
    for p in range(positions.shape[0]):
        x, y, z = positions[p, 0], positions[p, 1], positions[p, 2]
        for m in range(num_views):
            pose = poses[m]
            far = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
            across = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
            below = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
            u, v = lens[0] * across / far + lens[2], lens[1] * below / far + lens[3]
            if u < 1.0 or v < 1.0 or u >= width - 1 or v >= height - 1:
                continue
            if abs(depth[m, int(v), int(u)] - far) > tolerance:
                continue
            length = math.sqrt(across * across + below * below + far * far)
            facing = 0.0
            for axis in range(3):
                toward = -(pose[0, axis] * across + pose[1, axis] * below + pose[2, axis] * far)
                facing += normals[p, axis] * toward / length
            if facing < 0.1:
                continue
            weight = facing**4
            left, top = math.floor(u - 0.5), math.floor(v - 0.5)
            fu, fv = u - 0.5 - left, v - 0.5 - top
            for dv in range(2):
                for du in range(2):
                    share = weight * (fu if du else 1 - fu) * (fv if dv else 1 - fv)
                    for channel in range(3):
                        sums[p, channel] += share * images[m, channel, top + dv, left + du]
                    sums[p, 3] += share * alpha[m, top + dv, left + du]


@kernel
def spread_colors(colors, known, faces, rounds):  # type: ignore[no-untyped-def]
    """Give vertices without a colour the mean of their neighbours', ring by ring."""
    sums, counts = np.zeros_like(colors), np.zeros(len(colors))
    for _ in range(rounds):
        missing = 0
        for p in range(len(colors)):
            missing += not known[p]
            sums[p] = 0.0
            counts[p] = 0.0
        if missing == 0:
            return
        for f in range(len(faces)):
            for k in range(3):
                p = faces[f, k]
                if known[p]:
                    continue
                for other in range(1, 3):
                    q = faces[f, (k + other) % 3]
                    if known[q]:
                        sums[p] += colors[q]
                        counts[p] += 1.0
        for p in range(len(colors)):
            if counts[p] > 0.0:
                colors[p] = sums[p] / counts[p]
                known[p] = True
