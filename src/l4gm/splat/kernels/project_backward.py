"""Backward of stage 1: from the slots of the Gaussians, in all views, to their own parameters.

Symbols as in the forward, and r = var_y - SLANT cov_xy. Eight Gaussians at a time, in float64 until
the gradients are written.
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import VECTOR_MATH, kernel
from l4gm.splat.kernels.project import (
    BLOCK_QUAT,
    BLOCK_ROWS,
    clamped_slopes,
    covariance_image,
    half_axes_image,
    image_from_world,
    read_block,
    rotation_matrix,
    scale_columns,
    to_camera,
)
from l4gm.splat.kernels.simd import (
    LANES,
    equal,
    fetch_add,
    greater,
    load,
    load_widened,
    splat_double,
    square_root,
    store,
    where,
)

# Rows of the totals of a block in one view: the nine sums, and 1 where a Gaussian is seen.
_SUM_S_EE, _SEEN = rec.SLOT_SIZE, rec.SLOT_SIZE + 1
_TOTAL_ROWS = rec.SLOT_SIZE + 2

# Rows of a block's gradients: as the parameters come, one number of eight Gaussians a row.
_MEAN, _QUAT, _SCALE, _COLOR, _OPACITY = 0, 3, 7, 10, 13
_GRAD_ROWS = 14


@kernel(fastmath=VECTOR_MATH)
def _read_totals(sums, last_sums, base, slots, span, line, totals):
    """Add up the slots of eight Gaussians in one view; returns whether there are any."""
    found = False
    for lane in range(LANES):
        i = span[0] + lane
        count = slots[i, 1] if i < span[1] else 0
        total, last_total = splat_double(0.0), 0.0
        if count > 0:
            found = True
            first = base + slots[i, 0]
            for slot in range(first, first + count):
                total = total + load_widened(sums, slot * rec.SLOT_SIZE)
                last_total += np.float64(last_sums[slot])
        store(line, 0, total)
        for k in range(rec.SLOT_SIZE):
            totals[k * LANES + lane] = line[k]
        totals[_SUM_S_EE * LANES + lane] = last_total
        totals[_SEEN * LANES + lane] = 1.0 if count > 0 else 0.0
    return found


@kernel(fastmath=VECTOR_MATH)
def _grad_image_space(totals, covariance):
    """From the sums: gradients of mean x, mean y, var_x, cov_xy, var_y.

    sigma = dx^2 / (2 var_x) + e^2 / (2 r), e = dy - slant dx, and s = -dL/dsigma.
    """
    var_x, cov, var_y = covariance
    inverse_x = 1.0 / var_x
    slant = cov * inverse_x
    inverse_r = 1.0 / (var_y - slant * cov)
    s_e = load(totals, rec.SUM_S_E * LANES) * inverse_r
    grad_slant = load(totals, rec.SUM_S_E_DX * LANES) * inverse_r * inverse_x
    grad_r = 0.5 * load(totals, _SUM_S_EE * LANES) * inverse_r * inverse_r
    s_dx = load(totals, rec.SUM_S_DX * LANES) * inverse_x
    grad_var_x = 0.5 * load(totals, rec.SUM_S_DX2 * LANES) * inverse_x * inverse_x
    return (
        s_dx - slant * s_e,
        s_e,
        grad_var_x - grad_slant * slant + grad_r * slant * slant,
        grad_slant - 2.0 * slant * grad_r,
        grad_r,
    )


@kernel(fastmath=VECTOR_MATH)
def _grad_camera_point(camera, point, slopes, grad_a, grad_mean_x, grad_mean_y):
    """Gradient of the camera-space mean, from the image mean and from A (six numbers)."""
    fx, fy = camera[rec.FOCAL_X], camera[rec.FOCAL_Y]
    slope_x, slope_y, inverse = slopes
    clamped_x, clamped_y = clamped_slopes(camera, slope_x, slope_y)
    # A's rows are (f / z) (W_0 - slope W_2).
    along_x = grad_a[0] * camera[0] + grad_a[1] * camera[1] + grad_a[2] * camera[2]
    along_y = grad_a[3] * camera[3] + grad_a[4] * camera[4] + grad_a[5] * camera[5]
    along_zx = grad_a[0] * camera[6] + grad_a[1] * camera[7] + grad_a[2] * camera[8]
    along_zy = grad_a[3] * camera[6] + grad_a[4] * camera[7] + grad_a[5] * camera[8]
    grad_inverse = fx * (along_x - clamped_x * along_zx) + fy * (along_y - clamped_y * along_zy)
    zero = splat_double(0.0)
    grad_slope_x = fx * (grad_mean_x - where(equal(clamped_x, slope_x), inverse * along_zx, zero))
    grad_slope_y = fy * (grad_mean_y - where(equal(clamped_y, slope_y), inverse * along_zy, zero))
    grad_inverse = grad_inverse + grad_slope_x * point[0] + grad_slope_y * point[1]
    return (
        grad_slope_x * inverse,
        grad_slope_y * inverse,
        0.0 - grad_inverse * inverse * inverse,
    )


@kernel(fastmath=VECTOR_MATH)
def _add_view(camera, block, m, totals, grad_mean, grad_m):
    """One view's part added to the gradients of the world means (3) and of M (9), both tuples."""
    point = to_camera(camera, block)
    # An unseen Gaussian has no totals, but may lie at depth zero; nothing times infinity is not 0.
    seen = equal(load(totals, _SEEN * LANES), splat_double(1.0))
    inverse_z = where(seen, 1.0 / point[2], splat_double(1.0))
    slopes = point[0] * inverse_z, point[1] * inverse_z, inverse_z
    clamped_x, clamped_y = clamped_slopes(camera, slopes[0], slopes[1])
    a = image_from_world(camera, clamped_x, clamped_y, inverse_z)
    v = half_axes_image(a, m)
    grad_mean_x, grad_mean_y, grad_var_x, grad_cov, grad_var_y = _grad_image_space(
        totals, covariance_image(v)
    )
    grad_u = (
        2.0 * grad_var_x * v[0] + grad_cov * v[3],
        2.0 * grad_var_x * v[1] + grad_cov * v[4],
        2.0 * grad_var_x * v[2] + grad_cov * v[5],
    )
    grad_v = (
        grad_cov * v[0] + 2.0 * grad_var_y * v[3],
        grad_cov * v[1] + 2.0 * grad_var_y * v[4],
        grad_cov * v[2] + 2.0 * grad_var_y * v[5],
    )
    grad_a = (
        grad_u[0] * m[0] + grad_u[1] * m[1] + grad_u[2] * m[2],
        grad_u[0] * m[3] + grad_u[1] * m[4] + grad_u[2] * m[5],
        grad_u[0] * m[6] + grad_u[1] * m[7] + grad_u[2] * m[8],
        grad_v[0] * m[0] + grad_v[1] * m[1] + grad_v[2] * m[2],
        grad_v[0] * m[3] + grad_v[1] * m[4] + grad_v[2] * m[5],
        grad_v[0] * m[6] + grad_v[1] * m[7] + grad_v[2] * m[8],
    )
    grad_x, grad_y, grad_z = _grad_camera_point(
        camera, point, slopes, grad_a, grad_mean_x, grad_mean_y
    )
    return (
        (
            grad_mean[0] + camera[0] * grad_x + camera[3] * grad_y + camera[6] * grad_z,
            grad_mean[1] + camera[1] * grad_x + camera[4] * grad_y + camera[7] * grad_z,
            grad_mean[2] + camera[2] * grad_x + camera[5] * grad_y + camera[8] * grad_z,
        ),
        (
            grad_m[0] + a[0] * grad_u[0] + a[3] * grad_v[0],
            grad_m[1] + a[0] * grad_u[1] + a[3] * grad_v[1],
            grad_m[2] + a[0] * grad_u[2] + a[3] * grad_v[2],
            grad_m[3] + a[1] * grad_u[0] + a[4] * grad_v[0],
            grad_m[4] + a[1] * grad_u[1] + a[4] * grad_v[1],
            grad_m[5] + a[1] * grad_u[2] + a[4] * grad_v[2],
            grad_m[6] + a[2] * grad_u[0] + a[5] * grad_v[0],
            grad_m[7] + a[2] * grad_u[1] + a[5] * grad_v[1],
            grad_m[8] + a[2] * grad_u[2] + a[5] * grad_v[2],
        ),
    )


@kernel(fastmath=VECTOR_MATH)
def _write_shape_grads(block, r, g, grads):
    """Gradients of quaternions (of any length) and scales from g, that of M = R S."""
    store(grads, _SCALE * LANES, g[0] * r[0] + g[3] * r[3] + g[6] * r[6])
    store(grads, (_SCALE + 1) * LANES, g[1] * r[1] + g[4] * r[4] + g[7] * r[7])
    store(grads, (_SCALE + 2) * LANES, g[2] * r[2] + g[5] * r[5] + g[8] * r[8])
    h = scale_columns(g, block)  # the gradient of R
    w, x, y, z = (
        load(block, BLOCK_QUAT * LANES),
        load(block, (BLOCK_QUAT + 1) * LANES),
        load(block, (BLOCK_QUAT + 2) * LANES),
        load(block, (BLOCK_QUAT + 3) * LANES),
    )
    square = w * w + x * x + y * y + z * z
    zero = splat_double(0.0)
    inverse = where(greater(square, zero), 1.0 / square_root(square), zero)
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    skew_x, skew_y, skew_z = h[7] - h[5], h[2] - h[6], h[3] - h[1]
    even_x, even_y, even_z = h[5] + h[7], h[2] + h[6], h[1] + h[3]
    grad_w = x * skew_x + y * skew_y + z * skew_z
    grad_x = y * even_z + z * even_y + w * skew_x - 2.0 * x * (h[4] + h[8])
    grad_y = x * even_z + z * even_x + w * skew_y - 2.0 * y * (h[0] + h[8])
    grad_z = x * even_y + y * even_x + w * skew_z - 2.0 * z * (h[0] + h[4])
    # The length does not matter, so the gradient has no part along the quaternion.
    along = grad_w * w + grad_x * x + grad_y * y + grad_z * z
    twice = 2.0 * inverse
    store(grads, _QUAT * LANES, (grad_w - along * w) * twice)
    store(grads, (_QUAT + 1) * LANES, (grad_x - along * x) * twice)
    store(grads, (_QUAT + 2) * LANES, (grad_y - along * y) * twice)
    store(grads, (_QUAT + 3) * LANES, (grad_z - along * z) * twice)


@kernel(fastmath=VECTOR_MATH)
def _grad_block(cameras, pairs, slots, bases, sums, last_sums, span, block, buffers):
    """Gradients of eight Gaussians, over all views; returns whether any was seen."""
    line, totals, grads = buffers
    r = rotation_matrix(block)
    m = scale_columns(r, block)
    zero = splat_double(0.0)
    grad_mean = (zero, zero, zero)
    grad_m = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
    red, green, blue, sum_s = zero, zero, zero, zero
    seen = False
    for pair in range(pairs[0], pairs[1]):
        if not _read_totals(sums, last_sums, bases[pair], slots[pair], span, line, totals):
            continue
        seen = True
        red = red + load(totals, rec.SUM_RED * LANES)
        green = green + load(totals, rec.SUM_GREEN * LANES)
        blue = blue + load(totals, rec.SUM_BLUE * LANES)
        sum_s = sum_s + load(totals, rec.SUM_S * LANES)
        grad_mean, grad_m = _add_view(cameras[pair], block, m, totals, grad_mean, grad_m)
    if seen:
        _write_shape_grads(block, r, grad_m, grads)
        store(grads, _MEAN * LANES, grad_mean[0])
        store(grads, (_MEAN + 1) * LANES, grad_mean[1])
        store(grads, (_MEAN + 2) * LANES, grad_mean[2])
        store(grads, _COLOR * LANES, red)
        store(grads, (_COLOR + 1) * LANES, green)
        store(grads, (_COLOR + 2) * LANES, blue)
        store(grads, _OPACITY * LANES, sum_s)
    return seen


@kernel
def project_backward(
    counter, last_task, num_views, num_chunks,
    means, quats, scales, opacities,  # [B, N, 3 | 4 | 3 | none]
    cameras,  # [P, CAMERA_SIZE]
    slots, bases, sums, last_sums,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors,  # out, zero where unseen
):  # fmt: skip
    """Worker: take (frame, chunk of Gaussians) tasks off the counter; write their gradients."""
    block = np.zeros(BLOCK_ROWS * LANES)
    grads = np.zeros(_GRAD_ROWS * LANES)
    buffers = np.zeros(LANES), np.zeros(_TOTAL_ROWS * LANES), grads
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        frame, chunk = task // num_chunks, task % num_chunks
        pairs = frame * num_views, (frame + 1) * num_views
        last = min((chunk + 1) * rec.CHUNK, means.shape[1])
        for first in range(chunk * rec.CHUNK, last, LANES):
            span = first, min(first + LANES, last)
            read_block(means, quats, scales, frame, first, block)
            if not _grad_block(cameras, pairs, slots, bases, sums, last_sums, span, block, buffers):
                continue
            for i in range(span[0], span[1]):
                lane = i - first
                for k in range(3):
                    grad_means[frame, i, k] = grads[(_MEAN + k) * LANES + lane]
                    grad_scales[frame, i, k] = grads[(_SCALE + k) * LANES + lane]
                    grad_colors[frame, i, k] = grads[(_COLOR + k) * LANES + lane]
                for k in range(4):
                    grad_quats[frame, i, k] = grads[(_QUAT + k) * LANES + lane]
                # s carries a factor alpha, which is the opacity times the Gaussian.
                sum_s = grads[_OPACITY * LANES + lane]
                if sum_s != 0.0:
                    grad_opacities[frame, i] = sum_s / np.float64(opacities[frame, i])
