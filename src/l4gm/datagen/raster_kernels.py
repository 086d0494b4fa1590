"""Numba kernels of the software renderer: lighting of vertices, z-buffer, shading of samples.

Symbols
    T frames, V views, P vertices, F faces, S = SUPERSAMPLE; (Y, X) are sample rows and columns of
    a picture S times as wide and high as the output.

Each triangle is scan-converted with edge functions e_k(x, y). Perspective-correct barycentric
coordinates are n_i / sum(n), where n_i = sum_k e_k G[k, i] are affine in the picture, and sum(n)
is 1 / depth. The z-buffer keeps (1 / depth, n_0, n_1, face); colours are looked up once per sample
afterwards, whatever the overdraw. Edge functions of a shared edge are exact negatives of each
other (only differences and products of the same numbers, and no fused multiply-add), so with
inclusive tests no sample between two triangles is lost.

All kernels release the interpreter's lock, so the caller spreads them over threads.
"""

from __future__ import annotations

import math
import os

import numpy as np
from numba import njit

SUPERSAMPLE = 2


def num_threads() -> int:
    """Threads worth starting: the environment's NUMBA_NUM_THREADS, else the cores we may use."""
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@njit(cache=True, nogil=True, error_model="numpy")
def light_vertices(  # type: ignore[no-untyped-def]
    positions,  # [P, 3] of one frame
    faces,  # [F, 3]
    smoothing,  # [P]
    direction,  # [3] unit, towards the light
    light,  # [3] its colour times its strength
    ambient,  # [3]
    hemisphere,  # from below 0 to above 1, times this
    shade,  # out [P, 2, 3]: light that falls on the front and on the back
):
    normals = np.zeros((positions.shape[0], 3), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux = positions[b, 0] - positions[a, 0]
        uy = positions[b, 1] - positions[a, 1]
        uz = positions[b, 2] - positions[a, 2]
        vx = positions[c, 0] - positions[a, 0]
        vy = positions[c, 1] - positions[a, 1]
        vz = positions[c, 2] - positions[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            s = smoothing[faces[f, k]]
            normals[s, 0] += nx
            normals[s, 1] += ny
            normals[s, 2] += nz
    for p in range(positions.shape[0]):
        s = smoothing[p]
        nx, ny, nz = normals[s, 0], normals[s, 1], normals[s, 2]
        length = math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-30
        cosine = (nx * direction[0] + ny * direction[1] + nz * direction[2]) / length
        up = ny / length
        for side in range(2):
            sign = 1.0 - 2.0 * side
            lit = max(sign * cosine, 0.0)
            sky = hemisphere * (0.5 + 0.5 * sign * up)
            for k in range(3):
                shade[p, side, k] = ambient[k] + sky + lit * light[k]


@njit(cache=True, nogil=True, error_model="numpy")
def texel(texels, levels, texture, level, u, v, out):  # type: ignore[no-untyped-def]
    """Bilinear, repeating. texels [M, 4] uint8; levels [textures, L, 3] = offset, width, height."""
    offset, w, h = levels[texture, level, 0], levels[texture, level, 1], levels[texture, level, 2]
    x = (u - math.floor(u)) * w - 0.5
    y = (v - math.floor(v)) * h - 0.5
    x0, y0 = math.floor(x), math.floor(y)
    fx, fy = x - x0, y - y0
    left, top = (int(x0) + w) % w, (int(y0) + h) % h
    right, bottom = (left + 1) % w, (top + 1) % h
    a, b = offset + top * w + left, offset + top * w + right
    c, d = offset + bottom * w + left, offset + bottom * w + right
    for k in range(3):
        out[k] = (
            (texels[a, k] * (1 - fx) + texels[b, k] * fx) * (1 - fy)
            + (texels[c, k] * (1 - fx) + texels[d, k] * fx) * fy
        ) / 255.0


@njit(cache=True, nogil=True, error_model="numpy")
def has_surface(texels, levels, texture, u, v):  # type: ignore[no-untyped-def]
    """Whether the nearest texel of the finest level is opaque (alpha >= 128)."""
    offset, w, h = levels[texture, 0, 0], levels[texture, 0, 1], levels[texture, 0, 2]
    x = min(int((u - math.floor(u)) * w), w - 1)
    y = min(int((v - math.floor(v)) * h), h - 1)
    return texels[offset + y * w + x, 3] >= 128


@njit(cache=True, nogil=True, error_model="numpy")
def draw_triangle(  # type: ignore[no-untyped-def]
    corners,  # [3, 2] picture positions in samples
    gain,  # [3, 3] G without the division by the area: inverse depth times barycentric coordinate
    face,
    has_holes,
    vertex_uv,  # [3, 2] of the whole face
    texture,
    texels,
    levels,
    inverse_depth,  # [Y, X]
    first,  # [Y, X] n_0
    second,  # [Y, X] n_1
    owner,  # [Y, X] 0 empty, face + 1 seen from its front, -(face + 1) from its back
):
    """Scan-convert one triangle into the z-buffer; returns its area in samples."""
    x0, y0, x1 = corners[0, 0], corners[0, 1], corners[1, 0]
    y1, x2, y2 = corners[1, 1], corners[2, 0], corners[2, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    rows, columns = inverse_depth.shape
    left = max(0, math.ceil(max(min(x0, min(x1, x2)), -1.0) - 0.5))
    right = min(columns - 1, math.floor(min(max(x0, max(x1, x2)), columns + 1.0) - 0.5))
    top = max(0, math.ceil(max(min(y0, min(y1, y2)), -1.0) - 0.5))
    bottom = min(rows - 1, math.floor(min(max(y0, max(y1, y2)), rows + 1.0) - 0.5))
    if not abs(area) > 1e-12 or right < left or bottom < top:
        return 0.0
    sign = 1.0 if area > 0 else -1.0
    # Counter-clockwise seen upright is a negative area where y grows downwards.
    label = np.int32(face + 1) if area < 0 else np.int32(-face - 1)
    area = abs(area)
    a0, b0, c0 = sign * (y1 - y2), sign * (x2 - x1), sign * (x1 * y2 - x2 * y1)
    a1, b1, c1 = sign * (y2 - y0), sign * (x0 - x2), sign * (x2 * y0 - x0 * y2)
    a2, b2, c2 = sign * (y0 - y1), sign * (x1 - x0), sign * (x0 * y1 - x1 * y0)
    g00, g10, g20 = gain[0, 0] / area, gain[1, 0] / area, gain[2, 0] / area
    g01, g11, g21 = gain[0, 1] / area, gain[1, 1] / area, gain[2, 1] / area
    g0 = g00 + g01 + gain[0, 2] / area
    g1 = g10 + g11 + gain[1, 2] / area
    g2 = g20 + g21 + gain[2, 2] / area
    for y in range(top, bottom + 1):
        py = y + 0.5
        r0, r1, r2 = b0 * py + c0, b1 * py + c1, b2 * py + c2
        for x in range(left, right + 1):
            px = x + 0.5
            e0, e1, e2 = a0 * px + r0, a1 * px + r1, a2 * px + r2
            if e0 < 0.0 or e1 < 0.0 or e2 < 0.0:
                continue
            inverse = e0 * g0 + e1 * g1 + e2 * g2
            if not inverse > inverse_depth[y, x]:
                continue
            n0 = e0 * g00 + e1 * g10 + e2 * g20
            n1 = e0 * g01 + e1 * g11 + e2 * g21
            if has_holes:
                p0, p1 = n0 / inverse, n1 / inverse
                p2 = 1.0 - p0 - p1
                u = p0 * vertex_uv[0, 0] + p1 * vertex_uv[1, 0] + p2 * vertex_uv[2, 0]
                v = p0 * vertex_uv[0, 1] + p1 * vertex_uv[1, 1] + p2 * vertex_uv[2, 1]
                if not has_surface(texels, levels, texture, u, v):
                    continue
            inverse_depth[y, x] = inverse
            first[y, x] = n0
            second[y, x] = n1
            owner[y, x] = label
    return area


@njit(cache=True, nogil=True, error_model="numpy")
def clip_to_near(points, near, clipped, weights):  # type: ignore[no-untyped-def]
    """Cut a triangle off at depth `near` (Sutherland and Hodgman 1974, one plane).

    Args:
        points: [3, 3] in camera axes.
        clipped: out [4, 3] corners of what is left.
        weights: out [4, 3] their barycentric coordinates in the triangle.

    Returns:
        the number of corners: 0, 3 or 4.
    """
    count = 0
    for k in range(3):
        following = (k + 1) % 3
        here, there = points[k, 2] - near, points[following, 2] - near
        if here >= 0.0:
            for i in range(3):
                clipped[count, i] = points[k, i]
                weights[count, i] = 1.0 if i == k else 0.0
            count += 1
        if (here >= 0.0) != (there >= 0.0):
            share = here / (here - there)
            for i in range(3):
                clipped[count, i] = points[k, i] + share * (points[following, i] - points[k, i])
                weights[count, i] = 0.0
            clipped[count, 2] = near
            weights[count, k] = 1.0 - share
            weights[count, following] = share
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def mip_level(uv, width, height, area, num_levels):  # type: ignore[no-untyped-def]
    """The texture level at which a triangle of `area` samples sees about one texel a sample."""
    doubled = abs(
        (uv[1, 0] - uv[0, 0]) * (uv[2, 1] - uv[0, 1])
        - (uv[2, 0] - uv[0, 0]) * (uv[1, 1] - uv[0, 1])
    )
    texels_a_sample = doubled * width * height / max(area, 1e-12)
    if not texels_a_sample > 1.0:
        return 0
    return min(int(0.5 * math.log2(texels_a_sample) + 0.4), num_levels - 1)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_mesh(  # type: ignore[no-untyped-def]
    positions,  # [P, 3]
    faces,  # [F, 3]
    uv,  # [P, 2]
    face_textures,  # [F]
    texels,
    levels,
    holes,  # [textures] whether any texel is see-through
    pose,  # [3, 4] camera from world
    lens,  # [4] fx, fy, cx, cy in samples
    near,
    inverse_depth,
    first,
    second,
    owner,
    face_levels,  # out [F] the texture level to shade the face with
):
    num_vertices = positions.shape[0]
    in_camera = np.empty((num_vertices, 3))
    in_picture = np.empty((num_vertices, 2))
    for p in range(num_vertices):
        x, y, z = positions[p, 0], positions[p, 1], positions[p, 2]
        for i in range(3):
            in_camera[p, i] = pose[i, 0] * x + pose[i, 1] * y + pose[i, 2] * z + pose[i, 3]
        depth = in_camera[p, 2]
        if depth >= near:
            in_picture[p, 0] = lens[0] * in_camera[p, 0] / depth + lens[2]
            in_picture[p, 1] = lens[1] * in_camera[p, 1] / depth + lens[3]
    corners, gain, triangle = np.empty((3, 2)), np.zeros((3, 3)), np.empty((3, 3))
    clipped, weights, face_uv = np.empty((4, 3)), np.empty((4, 3)), np.zeros((3, 2))
    for f in range(faces.shape[0]):
        texture = face_textures[f]
        has_holes = False
        if texture >= 0:
            has_holes = holes[texture]
            for k in range(3):
                face_uv[k, 0], face_uv[k, 1] = uv[faces[f, k], 0], uv[faces[f, k], 1]
        behind = 0
        for k in range(3):
            behind += in_camera[faces[f, k], 2] < near
        if behind == 3:
            continue
        area = 0.0
        if behind == 0:
            for k in range(3):
                p = faces[f, k]
                corners[k, 0], corners[k, 1] = in_picture[p, 0], in_picture[p, 1]
                for i in range(3):
                    gain[k, i] = 0.0
                gain[k, k] = 1.0 / in_camera[p, 2]
            area = draw_triangle(
                corners, gain, f, has_holes, face_uv, texture, texels, levels,
                inverse_depth, first, second, owner,
            )  # fmt: skip
        else:
            for k in range(3):
                for i in range(3):
                    triangle[k, i] = in_camera[faces[f, k], i]
            count = clip_to_near(triangle, near, clipped, weights)
            for fan in range(1, count - 1):
                for k in range(3):
                    source = 0 if k == 0 else fan + k - 1
                    depth = clipped[source, 2]
                    corners[k, 0] = lens[0] * clipped[source, 0] / depth + lens[2]
                    corners[k, 1] = lens[1] * clipped[source, 1] / depth + lens[3]
                    for i in range(3):
                        gain[k, i] = weights[source, i] / depth
                area += draw_triangle(
                    corners, gain, f, has_holes, face_uv, texture, texels, levels,
                    inverse_depth, first, second, owner,
                )  # fmt: skip
        if texture >= 0 and area > 0.0:
            face_levels[f] = mip_level(
                face_uv, levels[texture, 0, 1], levels[texture, 0, 2], area, levels.shape[1]
            )


@njit(cache=True, nogil=True, error_model="numpy")
def shade_pixels(  # type: ignore[no-untyped-def]
    faces,
    colors,  # [P, 3]
    shade,  # [P, 2, 3]
    uv,
    face_textures,
    face_levels,
    texels,
    levels,
    inverse_depth,
    first,
    second,
    owner,
    image,  # out [H, W, 4]
    depth,  # out [H, W]
):
    """Colour every covered sample and average the samples of each pixel."""
    scale = SUPERSAMPLE
    texture_color, color, total = np.empty(3), np.empty(3), np.empty(3)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            covered, nearest = 0, 0.0
            for k in range(3):
                total[k] = 0.0
            for sample in range(scale * scale):
                y, x = scale * row + sample // scale, scale * column + sample % scale
                label = owner[y, x]
                if label == 0:
                    continue
                covered += 1
                f, side = (label - 1, 0) if label > 0 else (-label - 1, 1)
                inverse = inverse_depth[y, x]
                nearest = max(nearest, inverse)
                w0, w1 = first[y, x] / inverse, second[y, x] / inverse
                w2 = 1.0 - w0 - w1
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                for k in range(3):
                    color[k] = (w0 * colors[a, k] + w1 * colors[b, k] + w2 * colors[c, k]) * (
                        w0 * shade[a, side, k] + w1 * shade[b, side, k] + w2 * shade[c, side, k]
                    )
                texture = face_textures[f]
                if texture >= 0:
                    u = w0 * uv[a, 0] + w1 * uv[b, 0] + w2 * uv[c, 0]
                    v = w0 * uv[a, 1] + w1 * uv[b, 1] + w2 * uv[c, 1]
                    texel(texels, levels, texture, face_levels[f], u, v, texture_color)
                    for k in range(3):
                        color[k] *= texture_color[k]
                for k in range(3):
                    total[k] += min(max(color[k], 0.0), 1.0)
            if covered == 0:
                for k in range(3):
                    image[row, column, k] = 255
                image[row, column, 3] = 0
                depth[row, column] = 0.0
                continue
            for k in range(3):
                image[row, column, k] = np.uint8(total[k] * (255.0 / covered) + 0.5)
            image[row, column, 3] = np.uint8(covered * (255.0 / (scale * scale)) + 0.5)
            # Of the nearest surface's samples only; 1 / depth is affine in the picture, so that the
            # mean over a pixel that a plane covers is the value at its centre.
            total_inverse, num_near = 0.0, 0
            for sample in range(scale * scale):
                y, x = scale * row + sample // scale, scale * column + sample % scale
                if owner[y, x] != 0 and inverse_depth[y, x] > 0.97 * nearest:
                    total_inverse += inverse_depth[y, x]
                    num_near += 1
            depth[row, column] = num_near / total_inverse


@njit(cache=True, nogil=True, error_model="numpy")
def render_pictures(  # type: ignore[no-untyped-def]
    first_picture,  # pictures are counted frame by frame, views within a frame
    last_picture,
    positions,  # [T, P, 3]
    faces,
    colors,
    shade,  # [T, P, 2, 3]
    uv,
    face_textures,
    texels,
    levels,
    holes,
    poses,  # [V, 3, 4]
    lenses,  # [V, 4]
    near,
    far,
    images,  # out [T, V, H, W, 4]
    depths,  # out [T, V, H, W]
):
    num_views = poses.shape[0]
    rows, columns = SUPERSAMPLE * images.shape[2], SUPERSAMPLE * images.shape[3]
    inverse_depth = np.empty((rows, columns), np.float32)
    first = np.empty((rows, columns), np.float32)
    second = np.empty((rows, columns), np.float32)
    owner = np.empty((rows, columns), np.int32)
    face_levels = np.zeros(faces.shape[0], np.int64)
    for picture in range(first_picture, last_picture):
        t, v = picture // num_views, picture % num_views
        # Starting at the far plane drops what lies behind it.
        inverse_depth[:] = 1.0 / far
        owner[:] = 0
        draw_mesh(
            positions[t], faces, uv, face_textures, texels, levels, holes, poses[v], lenses[v],
            near, inverse_depth, first, second, owner, face_levels,
        )  # fmt: skip
        shade_pixels(
            faces, colors, shade[t], uv, face_textures, face_levels, texels, levels,
            inverse_depth, first, second, owner, images[t, v], depths[t, v],
        )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def trace_pictures(  # type: ignore[no-untyped-def]
    first_picture,  # pictures are counted frame by frame, views within a frame
    last_picture,
    positions,  # [T, P, 3]
    faces,
    uv,
    face_textures,
    texels,
    levels,
    holes,
    poses,  # [V, 3, 4]
    lenses,  # [V, 4] of pictures with one sample a pixel, at its centre
    near,
    far,
    shown,  # out [T, V, H, W] face, -1 where there is none
    weights,  # out [T, V, H, W, 2] barycentric coordinates of the face's first two corners
    depths,  # out [T, V, H, W]
):
    num_views = poses.shape[0]
    rows, columns = shown.shape[2], shown.shape[3]
    inverse_depth = np.empty((rows, columns), np.float32)
    first = np.empty((rows, columns), np.float32)
    second = np.empty((rows, columns), np.float32)
    owner = np.empty((rows, columns), np.int32)
    face_levels = np.zeros(faces.shape[0], np.int64)
    for picture in range(first_picture, last_picture):
        t, v = picture // num_views, picture % num_views
        inverse_depth[:] = 1.0 / far
        owner[:] = 0
        draw_mesh(
            positions[t], faces, uv, face_textures, texels, levels, holes, poses[v], lenses[v],
            near, inverse_depth, first, second, owner, face_levels,
        )  # fmt: skip
        for y in range(rows):
            for x in range(columns):
                label, inverse = owner[y, x], inverse_depth[y, x]
                shown[t, v, y, x] = abs(label) - 1
                if label == 0:
                    weights[t, v, y, x, 0] = weights[t, v, y, x, 1] = 0.0
                    depths[t, v, y, x] = 0.0
                    continue
                weights[t, v, y, x, 0] = first[y, x] / inverse
                weights[t, v, y, x, 1] = second[y, x] / inverse
                depths[t, v, y, x] = 1.0 / inverse
