"""Stage 1: project the Gaussians of a frame into all its views, eight at a time.

Projection runs in float64: it costs little beside compositing, and in float32 the mean alone would
be off by more than the image may be.

Symbols: M = R S, rotation times scales; A = J W, Jacobian times rotation of the camera, so the
derivative of the pixel (u, v) by the world point; V = A M, so that V V^T is the covariance in the
image. Each is a tuple of vectors, row after row; a vector holds one number of eight Gaussians.
"""

from __future__ import annotations

import math

import numpy as np

from l4gm.splat.constants import ALPHA_MIN, BLUR_VARIANCE_PX2, JACOBIAN_MARGIN
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import VECTOR_MATH, kernel
from l4gm.splat.kernels.simd import (
    LANES,
    both,
    ceiling,
    count_trailing_zeros,
    fetch_add,
    floor,
    greater,
    less_equal,
    load,
    mask_bits,
    maximum,
    minimum,
    splat_double,
    square_root,
    store,
    where,
)

# Beyond this the float32 arithmetic of the later stages would overflow (px^2).
_MAX_VARIANCE = 1e24

# Rows of a block: eight Gaussians, one number of each a row.
BLOCK_MEAN, BLOCK_QUAT, BLOCK_SCALE = 0, 3, 7
BLOCK_LOG_OPACITY, BLOCK_REACH = 10, 11
BLOCK_ROWS = 12

# Rows of a block's projection: as the columns of a record, then the depths.
_DEPTH = rec.RECORD_SIZE
_PROJECTION_ROWS = rec.RECORD_SIZE + 1


@kernel
def fill_camera_rows(world_from_camera, intrinsics, size, rows):
    """Cameras [P, 4, 4] and [P, 3, 3] in float64 to the rows of `kernels.records`."""
    for p in range(len(rows)):
        row, pose, k = rows[p], world_from_camera[p], intrinsics[p]
        for i in range(3):
            row[rec.TRANSLATION + i] = 0.0
            for j in range(3):  # the inverse of a rotation is its transpose
                row[3 * i + j] = pose[j, i]
                row[rec.TRANSLATION + i] -= pose[j, i] * pose[j, 3]
        row[rec.FOCAL_X], row[rec.FOCAL_Y] = k[0, 0], k[1, 1]
        row[rec.CENTRE_X], row[rec.CENTRE_Y] = k[0, 2], k[1, 2]
        margin_x = 0.5 * JACOBIAN_MARGIN * size[0]
        margin_y = 0.5 * JACOBIAN_MARGIN * size[1]
        row[rec.SLOPE_X_MIN] = -(k[0, 2] + margin_x) / k[0, 0]
        row[rec.SLOPE_X_MAX] = (size[0] - k[0, 2] + margin_x) / k[0, 0]
        row[rec.SLOPE_Y_MIN] = -(k[1, 2] + margin_y) / k[1, 1]
        row[rec.SLOPE_Y_MAX] = (size[1] - k[1, 2] + margin_y) / k[1, 1]


@kernel
def read_block(means, quats, scales, frame, first, block):
    """Turn eight Gaussians into rows of numbers; past the end the last one is repeated."""
    for lane in range(LANES):
        i = min(first + lane, means.shape[1] - 1)
        for k in range(3):
            block[(BLOCK_MEAN + k) * LANES + lane] = means[frame, i, k]
            block[(BLOCK_SCALE + k) * LANES + lane] = scales[frame, i, k]
        for k in range(4):
            block[(BLOCK_QUAT + k) * LANES + lane] = quats[frame, i, k]


@kernel(fastmath=VECTOR_MATH)
def rotation_matrix(block):
    """R of the quaternions, of any length; the identity for length zero."""
    w, x, y, z = (
        load(block, BLOCK_QUAT * LANES),
        load(block, (BLOCK_QUAT + 1) * LANES),
        load(block, (BLOCK_QUAT + 2) * LANES),
        load(block, (BLOCK_QUAT + 3) * LANES),
    )
    square = w * w + x * x + y * y + z * z
    zero = splat_double(0.0)
    double = where(greater(square, zero), 2.0 / square, zero)
    return (
        1.0 - double * (y * y + z * z), double * (x * y - w * z), double * (x * z + w * y),
        double * (x * y + w * z), 1.0 - double * (x * x + z * z), double * (y * z - w * x),
        double * (x * z - w * y), double * (y * z + w * x), 1.0 - double * (x * x + y * y),
    )  # fmt: skip


@kernel(fastmath=VECTOR_MATH)
def scale_columns(r, block):
    """R S from R."""
    x, y, z = (
        load(block, BLOCK_SCALE * LANES),
        load(block, (BLOCK_SCALE + 1) * LANES),
        load(block, (BLOCK_SCALE + 2) * LANES),
    )
    return (
        r[0] * x, r[1] * y, r[2] * z,
        r[3] * x, r[4] * y, r[5] * z,
        r[6] * x, r[7] * y, r[8] * z,
    )  # fmt: skip


@kernel(fastmath=VECTOR_MATH)
def to_camera(camera, block):
    """The means in camera axes."""
    x, y, z = (
        load(block, BLOCK_MEAN * LANES),
        load(block, (BLOCK_MEAN + 1) * LANES),
        load(block, (BLOCK_MEAN + 2) * LANES),
    )
    return (
        camera[0] * x + camera[1] * y + camera[2] * z + camera[rec.TRANSLATION],
        camera[3] * x + camera[4] * y + camera[5] * z + camera[rec.TRANSLATION + 1],
        camera[6] * x + camera[7] * y + camera[8] * z + camera[rec.TRANSLATION + 2],
    )


@kernel(fastmath=VECTOR_MATH)
def clamped_slopes(camera, slope_x, slope_y):
    """x/z and y/z as the Jacobian takes them."""
    return (
        minimum(
            maximum(slope_x, splat_double(camera[rec.SLOPE_X_MIN])),
            splat_double(camera[rec.SLOPE_X_MAX]),
        ),
        minimum(
            maximum(slope_y, splat_double(camera[rec.SLOPE_Y_MIN])),
            splat_double(camera[rec.SLOPE_Y_MAX]),
        ),
    )


@kernel(fastmath=VECTOR_MATH)
def image_from_world(camera, slope_x, slope_y, inverse_z):
    """A = J W; the slopes are clamped."""
    jx, jy = camera[rec.FOCAL_X] * inverse_z, camera[rec.FOCAL_Y] * inverse_z
    return (
        jx * (camera[0] - slope_x * camera[6]),
        jx * (camera[1] - slope_x * camera[7]),
        jx * (camera[2] - slope_x * camera[8]),
        jy * (camera[3] - slope_y * camera[6]),
        jy * (camera[4] - slope_y * camera[7]),
        jy * (camera[5] - slope_y * camera[8]),
    )


@kernel(fastmath=VECTOR_MATH)
def half_axes_image(a, m):
    """V = A M."""
    return (
        a[0] * m[0] + a[1] * m[3] + a[2] * m[6],
        a[0] * m[1] + a[1] * m[4] + a[2] * m[7],
        a[0] * m[2] + a[1] * m[5] + a[2] * m[8],
        a[3] * m[0] + a[4] * m[3] + a[5] * m[6],
        a[3] * m[1] + a[4] * m[4] + a[5] * m[7],
        a[3] * m[2] + a[4] * m[5] + a[5] * m[8],
    )


@kernel(fastmath=VECTOR_MATH)
def covariance_image(v):
    """var_x, cov_xy, var_y of V V^T with the blur added."""
    return (
        v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + BLUR_VARIANCE_PX2,
        v[0] * v[3] + v[1] * v[4] + v[2] * v[5],
        v[3] * v[3] + v[4] * v[4] + v[5] * v[5] + BLUR_VARIANCE_PX2,
    )


@kernel(fastmath=VECTOR_MATH)
def _project_block(camera, block, m, depth_range, size, out):
    """Write the projection of eight Gaussians; returns the bits of those that are seen."""
    x, y, z = to_camera(camera, block)
    inside = both(
        less_equal(splat_double(depth_range[0]), z), less_equal(z, splat_double(depth_range[1]))
    )
    if mask_bits(inside) == 0:
        return mask_bits(inside)
    inverse_z = 1.0 / z
    slope_x, slope_y = x * inverse_z, y * inverse_z
    clamped_x, clamped_y = clamped_slopes(camera, slope_x, slope_y)
    a = image_from_world(camera, clamped_x, clamped_y, inverse_z)
    var_x, cov, var_y = covariance_image(half_axes_image(a, m))
    mean_x = camera[rec.FOCAL_X] * slope_x + camera[rec.CENTRE_X]
    mean_y = camera[rec.FOCAL_Y] * slope_y + camera[rec.CENTRE_Y]
    reach = load(block, BLOCK_REACH * LANES)
    extent_x, extent_y = square_root(reach * var_x), square_root(reach * var_y)
    # First and last pixels whose centres lie in the box around the ellipse, cut to the image.
    x0 = maximum(ceiling(mean_x - extent_x - 0.5), splat_double(0.0))
    y0 = maximum(ceiling(mean_y - extent_y - 0.5), splat_double(0.0))
    x1 = minimum(floor(mean_x + extent_x - 0.5), splat_double(size[0] - 1.0))
    y1 = minimum(floor(mean_y + extent_y - 0.5), splat_double(size[1] - 1.0))
    limit = splat_double(_MAX_VARIANCE)
    seen = both(both(less_equal(x0, x1), less_equal(y0, y1)), inside)
    seen = both(seen, both(less_equal(var_x, limit), less_equal(var_y, limit)))
    inverse_x = 1.0 / var_x
    slant = cov * inverse_x
    conditional = var_y - slant * cov
    whole_x, whole_y = floor(mean_x), floor(mean_y)
    store(out, rec.MEAN_X * LANES, whole_x)
    store(out, rec.MEAN_Y * LANES, whole_y)
    store(out, rec.FRACTION_X * LANES, mean_x - whole_x)
    store(out, rec.FRACTION_Y * LANES, mean_y - whole_y)
    store(out, rec.ALONG_X * LANES, (-0.5 * rec.LOG2_E) * inverse_x)
    store(out, rec.SLANT * LANES, slant)
    store(out, rec.ALONG_Y * LANES, (-0.5 * rec.LOG2_E) / conditional)
    store(out, rec.LOG_OPACITY * LANES, load(block, BLOCK_LOG_OPACITY * LANES))
    store(out, rec.EXTENT_X * LANES, extent_x)
    store(out, rec.EXTENT_Y * LANES, extent_y)
    store(out, rec.EXTENT_CENTRE * LANES, square_root(reach * conditional))
    store(out, _DEPTH * LANES, z)
    return mask_bits(seen)


@kernel
def strip_box(record, size):
    """First and last column of strips, and first and last row of pixels, that a record may touch.

    From the record as it was written, so that every stage finds the same; one row wider than the
    ellipse on each side, for the rounding in the search of its rows.
    """
    x = np.float64(record[rec.MEAN_X]) + np.float64(record[rec.FRACTION_X])
    y = np.float64(record[rec.MEAN_Y]) + np.float64(record[rec.FRACTION_Y])
    extent_x = np.float64(record[rec.EXTENT_X])
    extent_y = np.float64(record[rec.EXTENT_Y]) + 1.0
    x0 = int(max(math.ceil(x - extent_x - 0.5), 0.0))
    x1 = int(min(math.floor(x + extent_x - 0.5), size[0] - 1.0))
    y0 = int(max(math.ceil(y - extent_y - 0.5), 0.0))
    y1 = int(min(math.floor(y + extent_y - 0.5), size[1] - 1.0))
    return x0 >> rec.STRIP_WIDTH_LOG2, x1 >> rec.STRIP_WIDTH_LOG2, y0, y1


@kernel
def _count_strips(record, size):
    """How many strips a record touches at most."""
    column0, column1, y0, y1 = strip_box(record, size)
    rows = (y1 >> rec.STRIP_ROWS_LOG2) - (y0 >> rec.STRIP_ROWS_LOG2) + 1
    return max(column1 - column0 + 1, 0) * max(rows, 0)


@kernel
def _read_opacities(opacities, frame, first, last, block):
    """Fill the rows made from opacities; returns the bits of Gaussians that can be seen at all."""
    bits = np.uint64(0)
    for lane in range(LANES):
        block[BLOCK_LOG_OPACITY * LANES + lane] = rec.LOG2_ALPHA_MIN
        block[BLOCK_REACH * LANES + lane] = 0.0
        i = first + lane
        if i < last and opacities[frame, i] >= ALPHA_MIN:
            log_opacity = math.log2(np.float64(opacities[frame, i]))
            # Alpha is at least ALPHA_MIN up to this squared Mahalanobis distance.
            reach = 2.0 / rec.LOG2_E * max(log_opacity - rec.LOG2_ALPHA_MIN, 0.0)
            block[BLOCK_LOG_OPACITY * LANES + lane] = log_opacity
            block[BLOCK_REACH * LANES + lane] = reach
            bits |= np.uint64(1) << np.uint64(lane)
    return bits


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
    block, projection = np.zeros(BLOCK_ROWS * LANES), np.zeros(_PROJECTION_ROWS * LANES)
    # Counted apart: the bounds of other chunks share cache lines with this one's.
    touched = np.zeros(num_views, np.int32)
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        frame, chunk = task // num_chunks, task % num_chunks
        first_pair = frame * num_views
        touched[:] = 0
        last = min((chunk + 1) * rec.CHUNK, means.shape[1])
        depths[first_pair : first_pair + num_views, chunk * rec.CHUNK : last] = -1.0
        for first in range(chunk * rec.CHUNK, last, LANES):
            visible = _read_opacities(opacities, frame, first, last, block)
            if visible == 0:
                continue
            read_block(means, quats, scales, frame, first, block)
            m = scale_columns(rotation_matrix(block), block)
            for view in range(num_views):
                pair = first_pair + view
                bits = visible & _project_block(
                    cameras[pair], block, m, depth_range, size, projection
                )
                while bits != 0:
                    lane = np.int64(count_trailing_zeros(bits))
                    bits &= bits - np.uint64(1)
                    i = first + lane
                    for k in range(rec.EXTENT_CENTRE + 1):
                        records[pair, i, k] = projection[k * LANES + lane]
                    for k in range(3):
                        records[pair, i, rec.RED + k] = colors[frame, i, k]
                    depths[pair, i] = projection[_DEPTH * LANES + lane]
                    record_ints[pair, i, rec.FIRST_SLOT] = touched[view]
                    touched[view] += _count_strips(records[pair, i], size)
        bounds[first_pair : first_pair + num_views, chunk] = touched
