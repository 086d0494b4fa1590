"""Stage 1: project the Gaussians of a frame into all its views.

Projection runs in float64: it costs little beside compositing, and the inverse covariance of a
long thin Gaussian would lose most of float32's digits.
"""

from __future__ import annotations

import math

import numpy as np

from l4gm.splat.constants import ALPHA_MIN, BLUR_VARIANCE_PX2
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import kernel
from l4gm.splat.kernels.simd import fetch_add

# Beyond this the float32 arithmetic of the later stages would overflow (px^2).
_MAX_VARIANCE = 1e24


@kernel
def rotation_matrix(w, x, y, z):
    """R of a quaternion of any length, row-major; the identity for length zero."""
    square = w * w + x * x + y * y + z * z
    double = 2.0 / square if square > 0.0 else 0.0
    return (
        1.0 - double * (y * y + z * z), double * (x * y - w * z), double * (x * z + w * y),
        double * (x * y + w * z), 1.0 - double * (x * x + z * z), double * (y * z - w * x),
        double * (x * z - w * y), double * (y * z + w * x), 1.0 - double * (x * x + y * y),
    )  # fmt: skip


@kernel
def half_axes_world(quats, scales, frame, i):
    """M = R S of Gaussian i of a frame, row-major."""
    r = rotation_matrix(
        np.float64(quats[frame, i, 0]), np.float64(quats[frame, i, 1]),
        np.float64(quats[frame, i, 2]), np.float64(quats[frame, i, 3]),
    )  # fmt: skip
    sx = np.float64(scales[frame, i, 0])
    sy = np.float64(scales[frame, i, 1])
    sz = np.float64(scales[frame, i, 2])
    return (
        r[0] * sx, r[1] * sy, r[2] * sz,
        r[3] * sx, r[4] * sy, r[5] * sz,
        r[6] * sx, r[7] * sy, r[8] * sz,
    )  # fmt: skip


@kernel
def to_camera(camera, means, frame, i):
    """The mean of Gaussian i of a frame in camera axes."""
    x = np.float64(means[frame, i, 0])
    y = np.float64(means[frame, i, 1])
    z = np.float64(means[frame, i, 2])
    return (
        camera[0] * x + camera[1] * y + camera[2] * z + camera[rec.TRANSLATION],
        camera[3] * x + camera[4] * y + camera[5] * z + camera[rec.TRANSLATION + 1],
        camera[6] * x + camera[7] * y + camera[8] * z + camera[rec.TRANSLATION + 2],
    )


@kernel
def clamped_slopes(camera, slope_x, slope_y):
    """x/z and y/z as the Jacobian takes them."""
    return (
        min(max(slope_x, camera[rec.SLOPE_X_MIN]), camera[rec.SLOPE_X_MAX]),
        min(max(slope_y, camera[rec.SLOPE_Y_MIN]), camera[rec.SLOPE_Y_MAX]),
    )


@kernel
def image_from_world(camera, slope_x, slope_y, inverse_z):
    """J W, the derivative of the pixel by the world point, rows u and v; slopes are clamped."""
    jx, jy = camera[rec.FOCAL_X] * inverse_z, camera[rec.FOCAL_Y] * inverse_z
    return (
        jx * (camera[0] - slope_x * camera[6]),
        jx * (camera[1] - slope_x * camera[7]),
        jx * (camera[2] - slope_x * camera[8]),
        jy * (camera[3] - slope_y * camera[6]),
        jy * (camera[4] - slope_y * camera[7]),
        jy * (camera[5] - slope_y * camera[8]),
    )


@kernel
def half_axes_image(a, m):
    """V = (J W)(R S), rows u and v, from the two tuples."""
    return (
        a[0] * m[0] + a[1] * m[3] + a[2] * m[6],
        a[0] * m[1] + a[1] * m[4] + a[2] * m[7],
        a[0] * m[2] + a[1] * m[5] + a[2] * m[8],
        a[3] * m[0] + a[4] * m[3] + a[5] * m[6],
        a[3] * m[1] + a[4] * m[4] + a[5] * m[7],
        a[3] * m[2] + a[4] * m[5] + a[5] * m[8],
    )


@kernel
def covariance_image(v):
    """var_x, cov_xy, var_y of V V^T with the blur added."""
    return (
        v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + BLUR_VARIANCE_PX2,
        v[0] * v[3] + v[1] * v[4] + v[2] * v[5],
        v[3] * v[3] + v[4] * v[4] + v[5] * v[5] + BLUR_VARIANCE_PX2,
    )


@kernel
def pixel_range(mean, extent, size):
    """First and last pixel whose centre lies within mean +- extent, cut to the image."""
    first = max(math.ceil(mean - extent - 0.5), 0.0)
    last = min(math.floor(mean + extent - 0.5), size - 1.0)
    if not first <= last:
        return 0, -1
    return int(first), int(last)


@kernel
def _project_to_record(camera, point, m, reach, size, record):
    """Write the geometry of a record; returns how many strips its box touches, 0 if it is unseen.

    `reach` is the squared Mahalanobis distance up to which alpha is at least the least alpha.
    """
    inverse_z = 1.0 / point[2]
    slope_x, slope_y = point[0] * inverse_z, point[1] * inverse_z
    clamped_x, clamped_y = clamped_slopes(camera, slope_x, slope_y)
    a = image_from_world(camera, clamped_x, clamped_y, inverse_z)
    var_x, cov, var_y = covariance_image(half_axes_image(a, m))
    if not (var_x < _MAX_VARIANCE and var_y < _MAX_VARIANCE):
        return 0
    mean_x = camera[rec.FOCAL_X] * slope_x + camera[rec.CENTRE_X]
    mean_y = camera[rec.FOCAL_Y] * slope_y + camera[rec.CENTRE_Y]
    extent_x, extent_y = math.sqrt(reach * var_x), math.sqrt(reach * var_y)
    x0, x1 = pixel_range(mean_x, extent_x, size[0])
    y0, y1 = pixel_range(mean_y, extent_y, size[1])
    if x1 < x0 or y1 < y0:
        return 0
    # Later the rows may come out one wider on each side, from rounding.
    y0, y1 = max(y0 - 1, 0), min(y1 + 1, size[1] - 1)
    slant = cov / var_x
    conditional = var_y - slant * cov
    record[rec.MEAN_X], record[rec.MEAN_Y] = math.floor(mean_x), math.floor(mean_y)
    record[rec.FRACTION_X] = mean_x - math.floor(mean_x)
    record[rec.FRACTION_Y] = mean_y - math.floor(mean_y)
    record[rec.ALONG_X] = -0.5 * rec.LOG2_E / var_x
    record[rec.SLANT] = slant
    record[rec.ALONG_Y] = -0.5 * rec.LOG2_E / conditional
    record[rec.EXTENT_X], record[rec.EXTENT_Y] = extent_x, extent_y
    record[rec.EXTENT_CENTRE] = math.sqrt(reach * conditional)
    columns = (x1 >> rec.STRIP_WIDTH_LOG2) - (x0 >> rec.STRIP_WIDTH_LOG2) + 1
    return columns * ((y1 >> rec.STRIP_ROWS_LOG2) - (y0 >> rec.STRIP_ROWS_LOG2) + 1)


@kernel
def project_chunks(
    counter, last_task, num_views, num_chunks, depth_range, size,
    means, quats, scales, opacities, colors,  # [B, N, 3 | 4 | 3 | none | 3]
    cameras,  # [P, CAMERA_SIZE]
    records, record_ints,  # out: [P, N, RECORD_SIZE], the same memory as float32 and as int32
    depths,  # out: [P, N], -1 where a Gaussian is not seen
    bounds,  # out: [P, chunks], at most so many entries come from a chunk
):  # fmt: skip
    """Worker: take (frame, chunk of Gaussians) tasks off the counter; project into all views."""
    near, far = depth_range
    touched_before = np.zeros(num_views, np.int32)
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        frame, chunk = task // num_chunks, task % num_chunks
        first_pair = frame * num_views
        touched_before[:] = 0
        for i in range(chunk * rec.CHUNK, min((chunk + 1) * rec.CHUNK, means.shape[1])):
            depths[first_pair : first_pair + num_views, i] = -1.0
            if not opacities[frame, i] >= ALPHA_MIN:
                continue
            log_opacity = math.log2(np.float64(opacities[frame, i]))
            reach = 2.0 / rec.LOG2_E * max(log_opacity - rec.LOG2_ALPHA_MIN, 0.0)
            m = half_axes_world(quats, scales, frame, i)
            for pair in range(first_pair, first_pair + num_views):
                point = to_camera(cameras[pair], means, frame, i)
                if point[2] < near or point[2] > far:
                    continue
                record = records[pair, i]
                touched = _project_to_record(cameras[pair], point, m, reach, size, record)
                if touched == 0:
                    continue
                record[rec.LOG_OPACITY] = log_opacity
                record[rec.RED] = colors[frame, i, 0]
                record[rec.GREEN] = colors[frame, i, 1]
                record[rec.BLUE] = colors[frame, i, 2]
                # Counted apart: the bounds of other chunks share cache lines with this one's.
                record_ints[pair, i, rec.FIRST_SLOT] = touched_before[pair - first_pair]
                touched_before[pair - first_pair] += touched
                depths[pair, i] = point[2]
        bounds[first_pair : first_pair + num_views, chunk] = touched_before
