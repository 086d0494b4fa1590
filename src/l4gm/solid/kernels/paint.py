"""Colours of points: from images that show them, else from the predicted volume."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

_f32 = np.float32
_OPAQUE = _f32(0.98)
_LEAST_DARK = _f32(0.1)  # squared distance from white of colours that white can be told from
_SAME_HUE = _f32(0.03)  # squared distance from the mixtures of a colour and white
EDGE_IMPURITY = _f32(0.25)  # share of the background's colour in that of pixels at the outline


@kernel
def inner_colors(image, inner):
    """Colours that are free of the background: those near the outline come from further inside.

    Args:
        image: [S, S, 4] straight RGBA.
        inner: out, [S, S, 3]; reaches a few pixels beyond the outline.
    """
    size = image.shape[0]
    solid = np.zeros((size, size), np.bool_)
    for y in range(size):
        for x in range(size):
            least = _f32(1)
            for j in range(max(y - 1, 0), min(y + 2, size)):
                for i in range(max(x - 1, 0), min(x + 2, size)):
                    least = min(least, image[j, i, 3])
            solid[y, x] = least >= _OPAQUE
    for y in range(size):
        for x in range(size):
            inner[y, x] = image[y, x, :3]
            if solid[y, x]:
                continue
            total = _f32(0)
            red, green, blue = _f32(0), _f32(0), _f32(0)
            for j in range(max(y - 3, 0), min(y + 4, size)):
                for i in range(max(x - 3, 0), min(x + 4, size)):
                    weight = image[j, i, 3] * image[j, i, 3]
                    weight *= weight * (_f32(1) if solid[j, i] else _f32(1e-3))
                    weight /= _f32((j - y) ** 2 + (i - x) ** 2 + 1)
                    total += weight
                    red += weight * image[j, i, 0]
                    green += weight * image[j, i, 1]
                    blue += weight * image[j, i, 2]
            if total > 1e-6:
                inner[y, x, 0], inner[y, x, 1] = red / total, green / total
                inner[y, x, 2] = blue / total


@kernel
def unmix_outline(image, inner):
    """Take white out of the pixels along the outline, in place: less alpha, the colour of inside.

    Mattes of images on white often take for object what is half background. Such a pixel's colour
    lies between white and that of the object further inside; what is of another hue is left alone.

    Args:
        image: [S, S, 4] straight RGBA.
        inner: [S, S, 3] of `inner_colors`.
    """
    size = image.shape[0]
    outside = np.zeros((size, size), np.bool_)
    for y in range(size):
        for x in range(size):
            outside[y, x] = image[y, x, 3] <= _f32(0.5)
    for y in range(size):
        for x in range(size):
            if outside[y, x]:
                continue
            beside = False
            for j in range(max(y - 1, 0), min(y + 2, size)):
                for i in range(max(x - 1, 0), min(x + 2, size)):
                    beside |= outside[j, i]
            if not beside:
                continue
            square, product = _f32(1e-6), _f32(0)
            for k in range(3):
                square += (_f32(1) - inner[y, x, k]) ** 2
                product += (_f32(1) - inner[y, x, k]) * (_f32(1) - image[y, x, k])
            share, rest = product / square, _f32(0)
            for k in range(3):
                mixed = _f32(1) - share * (_f32(1) - inner[y, x, k])
                rest += (image[y, x, k] - mixed) ** 2
            if square > _LEAST_DARK and rest < _SAME_HUE and share < _f32(1):
                image[y, x, 3] *= max(share, _f32(0))
                image[y, x, :3] = inner[y, x]


@kernel
def sharpen(image, inner, amount, sharp):
    """Move colours away from their neighbours' mean by what rendering will blur them.

    Along the outline, where images mix in the background, colours come in part from `inner`.

    Args:
        image: [S, S, 4] straight RGBA; only opaque neighbours count.
        inner: [S, S, 3] of `inner_colors`.
        amount: of the difference that is added.
        sharp: out, [S, S, 3].
    """
    size = image.shape[0]
    for y in range(size):
        for x in range(size):
            sharp[y, x] = image[y, x, :3]
            if image[y, x, 3] <= _f32(0.5):
                continue
            least = _f32(1)
            total = _f32(0)
            red, green, blue = _f32(0), _f32(0), _f32(0)
            for j in range(max(y - 1, 0), min(y + 2, size)):
                for i in range(max(x - 1, 0), min(x + 2, size)):
                    weight = _f32(1) if j == y or i == x else _f32(0.25)
                    weight *= image[j, i, 3] if j != y or i != x else _f32(0)
                    least = min(least, image[j, i, 3])
                    total += weight
                    red += weight * image[j, i, 0]
                    green += weight * image[j, i, 1]
                    blue += weight * image[j, i, 2]
            share = amount * total / _f32(5)
            total = max(total, _f32(1e-6))
            sharp[y, x, 0] += share * (image[y, x, 0] - red / total)
            sharp[y, x, 1] += share * (image[y, x, 1] - green / total)
            sharp[y, x, 2] += share * (image[y, x, 2] - blue / total)
            pure = _f32(1) - EDGE_IMPURITY * (_f32(1) - least)
            for k in range(3):
                value = pure * sharp[y, x, k] + (_f32(1) - pure) * inner[y, x, k]
                sharp[y, x, k] = min(max(value, _f32(0)), _f32(1))


@kernel
def _ramp(value, low, high):
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3 - 2 * share)


@kernel
def _sample(image, u, v, out):
    """Bilinear, at (u, v) in [0, 1]; the border continues outwards."""
    size = image.shape[0]
    x, y = u * size - 0.5, v * size - 0.5
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    fx, fy = x - x0, y - y0
    left, right = min(max(x0, 0), size - 1), min(max(x0 + 1, 0), size - 1)
    top, bottom = min(max(y0, 0), size - 1), min(max(y0 + 1, 0), size - 1)
    for k in range(out.size):
        above = image[top, left, k] * (1 - fx) + image[top, right, k] * fx
        below = image[bottom, left, k] * (1 - fx) + image[bottom, right, k] * fx
        out[k] = above * (1 - fy) + below * fy


@kernel
def _farthest(depth, u, v):
    """The farthest of the four pixels of a depth map around (u, v)."""
    size = depth.shape[0]
    x0, y0 = int(np.floor(u * size - 0.5)), int(np.floor(v * size - 0.5))
    far = _f32(0)
    for y in range(max(y0, 0), min(y0 + 2, size)):
        for x in range(max(x0, 0), min(x0 + 2, size)):
            far = max(far, depth[y, x])
    return far


@kernel
def add_image(points, normals, image, depth, camera, cosines, tolerance, sums, weights):
    """Add the colours that an image shows of points, weighted by how squarely it shows them.

    Args:
        points: [N, 3].
        normals: [N, 3].
        image: [S, S, 3] of `inner_colors`.
        depth: [R, R] camera z of what the image shows, 0 where that is nothing.
        camera: [4, 4]: rows 0..2 take points to the camera's axes; row 3 is fx, fy, cx, cy.
        cosines: two, between which the weight rises from 0 to 1.
        tolerance: how far behind the depth map a point may lie; at twice that it is hidden.
        sums: [N, 3], added to.
        weights: [N], added to.
    """
    color = np.empty(3, np.float32)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        px = camera[0, 0] * x + camera[0, 1] * y + camera[0, 2] * z + camera[0, 3]
        py = camera[1, 0] * x + camera[1, 1] * y + camera[1, 2] * z + camera[1, 3]
        pz = camera[2, 0] * x + camera[2, 1] * y + camera[2, 2] * z + camera[2, 3]
        if pz <= 1e-3:
            continue
        u, v = px / pz * camera[3, 0] + camera[3, 2], py / pz * camera[3, 1] + camera[3, 3]
        behind = pz - _farthest(depth, u, v)
        if u < 0 or v < 0 or u >= 1 or v >= 1 or behind > 2 * tolerance:
            continue
        cosine = 0.0
        for k in range(3):
            turned = 0.0
            for j in range(3):
                turned += camera[k, j] * normals[i, j]
            cosine -= turned * (px if k == 0 else py if k == 1 else pz)
        cosine /= np.sqrt(px * px + py * py + pz * pz)
        weight = _ramp(cosine, cosines[0], cosines[1]) * (1 - _ramp(behind / tolerance, 1, 2))
        if weight > 0:
            _sample(image, u, v, color)
            weights[i] += weight
            for k in range(3):
                sums[i, k] += weight * color[k]


@kernel
def sample_volume(points, volume, lens, out):
    """Trilinear samples of a volume at points; the border continues outwards.

    Args:
        points: [N, 3].
        volume: [D, h, w, C].
        lens: [6].
        out: [N, C].
    """
    depth, height, width, channels = volume.shape
    fx, fy, cx, cy, near, far = lens
    for i in range(points.shape[0]):
        z = points[i, 2]
        x = (points[i, 0] / z * fx + cx) * width - 0.5
        y = (points[i, 1] / z * fy + cy) * height - 0.5
        d = (z - near) / (far - near) * depth - 0.5
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
        d = min(max(d, 0.0), depth - 1.0)
        x0, y0, d0 = int(x), int(y), int(d)
        x1, y1, d1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1), min(d0 + 1, depth - 1)
        fraction_x, fraction_y, fraction_d = x - x0, y - y0, d - d0
        for k in range(channels):
            near_value = (
                volume[d0, y0, x0, k] * (1 - fraction_x) + volume[d0, y0, x1, k] * fraction_x
            ) * (1 - fraction_y) + (
                volume[d0, y1, x0, k] * (1 - fraction_x) + volume[d0, y1, x1, k] * fraction_x
            ) * fraction_y
            far_value = (
                volume[d1, y0, x0, k] * (1 - fraction_x) + volume[d1, y0, x1, k] * fraction_x
            ) * (1 - fraction_y) + (
                volume[d1, y1, x0, k] * (1 - fraction_x) + volume[d1, y1, x1, k] * fraction_x
            ) * fraction_y
            out[i, k] = near_value * (1 - fraction_d) + far_value * fraction_d


@kernel
def mix_colors(own, own_weights, others, other_weights, predicted, colors):
    """The video's own image first, then the given views, then what was predicted.

    Args:
        own: [N, 3] weighted sum, with its weights [N].
        others: [N, 3] weighted sum, with its weights [N].
        predicted: [N, 3].
        colors: out, [N, 3] in [0, 1].
    """
    for i in range(colors.shape[0]):
        first = min(own_weights[i], _f32(1))
        second = (1 - first) * min(other_weights[i], _f32(1))
        for k in range(3):
            value = (1 - first - second) * predicted[i, k]
            value += first * own[i, k] / max(own_weights[i], _f32(1e-6))
            value += second * others[i, k] / max(other_weights[i], _f32(1e-6))
            colors[i, k] = min(max(value, 0.0), 1.0)
