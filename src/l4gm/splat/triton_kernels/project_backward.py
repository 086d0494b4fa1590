"""Backward of stage 1: from the slots of the Gaussians, in all views, to their own parameters.

Symbols as in `geometry`; u and v are the gradients of the two rows of V.
"""

from __future__ import annotations

import triton
import triton.language as tl

from l4gm.splat.triton_kernels.geometry import (
    camera_number,
    camera_rotation,
    clamped_slopes,
    covariance_image,
    half_axes_image,
    image_from_world,
    load_quat,
    load_triple,
    rotation_matrix,
    scale_columns,
    to_camera,
)
from l4gm.splat.triton_kernels.layout import (
    FOCAL_X,
    FOCAL_Y,
    SLOT_SIZE,
    SUM_BLUE,
    SUM_GREEN,
    SUM_RED,
    SUM_S,
    SUM_S_DX,
    SUM_S_DX2,
    SUM_S_E,
    SUM_S_E2,
    SUM_S_E_DX,
)


@triton.jit(do_not_specialize=["num_records"])
def add_slots(
    starts,  # [P N + 1] int64, where the slots of each record start
    sums,  # [entries, SLOT_SIZE] float32
    totals,  # out: [P N, SLOT_SIZE] float32, only for records that have slots
    num_records,
    block: tl.constexpr,
):  # fmt: skip
    """Program: a block of records, whose slots are added up in their order."""
    i = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    mask = i < num_records
    first = tl.load(starts + i, mask=mask, other=0)
    count = (tl.load(starts + i + 1, mask=mask, other=0) - first).to(tl.int32)
    zero = tl.zeros([block], tl.float32)
    red, green, blue = zero, zero, zero
    s, s_dx, s_dx2 = zero, zero, zero
    s_e, s_e_dx, s_e2 = zero, zero, zero
    for step in range(tl.max(count, 0)):
        here = step < count
        slot = sums + (first + step) * SLOT_SIZE
        red += tl.load(slot + SUM_RED, mask=here, other=0.0)
        green += tl.load(slot + SUM_GREEN, mask=here, other=0.0)
        blue += tl.load(slot + SUM_BLUE, mask=here, other=0.0)
        s += tl.load(slot + SUM_S, mask=here, other=0.0)
        s_dx += tl.load(slot + SUM_S_DX, mask=here, other=0.0)
        s_dx2 += tl.load(slot + SUM_S_DX2, mask=here, other=0.0)
        s_e += tl.load(slot + SUM_S_E, mask=here, other=0.0)
        s_e_dx += tl.load(slot + SUM_S_E_DX, mask=here, other=0.0)
        s_e2 += tl.load(slot + SUM_S_E2, mask=here, other=0.0)
    total, mask = totals + i * SLOT_SIZE, count > 0
    tl.store(total + SUM_RED, red, mask=mask)
    tl.store(total + SUM_GREEN, green, mask=mask)
    tl.store(total + SUM_BLUE, blue, mask=mask)
    tl.store(total + SUM_S, s, mask=mask)
    tl.store(total + SUM_S_DX, s_dx, mask=mask)
    tl.store(total + SUM_S_DX2, s_dx2, mask=mask)
    tl.store(total + SUM_S_E, s_e, mask=mask)
    tl.store(total + SUM_S_E_DX, s_e_dx, mask=mask)
    tl.store(total + SUM_S_E2, s_e2, mask=mask)


@triton.jit
def _grad_image_space(sums, v, covariance):
    """From the sums: gradients of mean x, mean y, and of V (six numbers).

    With d = (dx, dy), q = (V V^T + blur)^-1 d and s = -dL/dsigma, the gradient of the mean is the
    sum of s q, and that of V is the sum of s q (q^T V). In terms of e = dy - slant dx and
    r = det / var_x: q_y = e / r, q_x = dx / var_x - slant q_y, and with p = V_y - slant V_x

        q^T V = dx / var_x V_x + e / r p,

    in which nothing cancels for long thin Gaussians.
    """
    sum_s_dx, sum_s_dx2, sum_s_e, sum_s_e_dx, sum_s_e2 = sums
    var_x, cov, _, determinant = covariance
    inverse_x, inverse_r = 1.0 / var_x, var_x / determinant
    slant = cov * inverse_x
    grad_mean_y = sum_s_e * inverse_r
    xx = sum_s_dx2 * inverse_x * inverse_x
    xe = sum_s_e_dx * inverse_x * inverse_r
    ee = sum_s_e2 * inverse_r * inverse_r
    p0, p1, p2 = v[3] - slant * v[0], v[4] - slant * v[1], v[5] - slant * v[2]
    v0, v1, v2 = xe * v[0] + ee * p0, xe * v[1] + ee * p1, xe * v[2] + ee * p2
    u0 = xx * v[0] + xe * p0 - slant * v0
    u1 = xx * v[1] + xe * p1 - slant * v1
    u2 = xx * v[2] + xe * p2 - slant * v2
    return sum_s_dx * inverse_x - slant * grad_mean_y, grad_mean_y, u0, u1, u2, v0, v1, v2


@triton.jit
def _add_view(cameras, pair, point_world, m, sums, seen, grad_mean, grad_m):
    """One view's part added to the gradients of the world means (3) and of M (9), both tuples."""
    w = camera_rotation(cameras, pair)
    fx, fy = camera_number(cameras, pair, FOCAL_X), camera_number(cameras, pair, FOCAL_Y)
    x, y, z = to_camera(cameras, pair, w, point_world)
    # An unseen Gaussian has no totals, but may lie at depth zero; nothing times infinity is not 0.
    inverse = 1.0 / tl.where(seen, z, 1.0)
    slope_x, slope_y = x * inverse, y * inverse
    clamped_x, clamped_y = clamped_slopes(cameras, pair, slope_x, slope_y)
    a = image_from_world(cameras, pair, w, clamped_x, clamped_y, inverse)
    v = half_axes_image(a, m)
    grad_mean_x, grad_mean_y, u0, u1, u2, v0, v1, v2 = _grad_image_space(
        sums, v, covariance_image(v)
    )
    # The gradient of A, whose rows are (f / z) (W_0 - slope W_2).
    ax0 = u0 * m[0] + u1 * m[1] + u2 * m[2]
    ax1 = u0 * m[3] + u1 * m[4] + u2 * m[5]
    ax2 = u0 * m[6] + u1 * m[7] + u2 * m[8]
    ay0 = v0 * m[0] + v1 * m[1] + v2 * m[2]
    ay1 = v0 * m[3] + v1 * m[4] + v2 * m[5]
    ay2 = v0 * m[6] + v1 * m[7] + v2 * m[8]
    along_x = ax0 * w[0] + ax1 * w[1] + ax2 * w[2]
    along_y = ay0 * w[3] + ay1 * w[4] + ay2 * w[5]
    along_zx = ax0 * w[6] + ax1 * w[7] + ax2 * w[8]
    along_zy = ay0 * w[6] + ay1 * w[7] + ay2 * w[8]
    grad_inverse = fx * (along_x - clamped_x * along_zx) + fy * (along_y - clamped_y * along_zy)
    free_x = tl.where(clamped_x == slope_x, inverse * along_zx, 0.0)
    free_y = tl.where(clamped_y == slope_y, inverse * along_zy, 0.0)
    grad_slope_x, grad_slope_y = fx * (grad_mean_x - free_x), fy * (grad_mean_y - free_y)
    grad_inverse += grad_slope_x * x + grad_slope_y * y
    gx, gy, gz = grad_slope_x * inverse, grad_slope_y * inverse, -grad_inverse * inverse * inverse
    return (
        (
            grad_mean[0] + tl.where(seen, w[0] * gx + w[3] * gy + w[6] * gz, 0.0),
            grad_mean[1] + tl.where(seen, w[1] * gx + w[4] * gy + w[7] * gz, 0.0),
            grad_mean[2] + tl.where(seen, w[2] * gx + w[5] * gy + w[8] * gz, 0.0),
        ),
        (
            grad_m[0] + tl.where(seen, a[0] * u0 + a[3] * v0, 0.0),
            grad_m[1] + tl.where(seen, a[0] * u1 + a[3] * v1, 0.0),
            grad_m[2] + tl.where(seen, a[0] * u2 + a[3] * v2, 0.0),
            grad_m[3] + tl.where(seen, a[1] * u0 + a[4] * v0, 0.0),
            grad_m[4] + tl.where(seen, a[1] * u1 + a[4] * v1, 0.0),
            grad_m[5] + tl.where(seen, a[1] * u2 + a[4] * v2, 0.0),
            grad_m[6] + tl.where(seen, a[2] * u0 + a[5] * v0, 0.0),
            grad_m[7] + tl.where(seen, a[2] * u1 + a[5] * v1, 0.0),
            grad_m[8] + tl.where(seen, a[2] * u2 + a[5] * v2, 0.0),
        ),
    )


@triton.jit
def _store3(values, rows, triple, mask):
    """Write three columns of [.., 3] float32 rows."""
    tl.store(values + rows * 3, triple[0], mask=mask)
    tl.store(values + rows * 3 + 1, triple[1], mask=mask)
    tl.store(values + rows * 3 + 2, triple[2], mask=mask)


@triton.jit
def _store_quat_grads(grad_quats, rows, quat, h, mask):
    """From h, the gradient of R, those of the quaternions, of any length."""
    inverse = tl.sqrt(quat[4])
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    skew_x, skew_y, skew_z = h[7] - h[5], h[2] - h[6], h[3] - h[1]
    even_x, even_y, even_z = h[5] + h[7], h[2] + h[6], h[1] + h[3]
    grad_w = x * skew_x + y * skew_y + z * skew_z
    grad_x = y * even_z + z * even_y + w * skew_x - 2.0 * x * (h[4] + h[8])
    grad_y = x * even_z + z * even_x + w * skew_y - 2.0 * y * (h[0] + h[8])
    grad_z = x * even_y + y * even_x + w * skew_z - 2.0 * z * (h[0] + h[4])
    # The length does not matter, so the gradient has no part along the quaternion.
    along = grad_w * w + grad_x * x + grad_y * y + grad_z * z
    twice = 2.0 * inverse
    out = grad_quats + rows * 4
    tl.store(out, ((grad_w - along * w) * twice), mask=mask)
    tl.store(out + 1, ((grad_x - along * x) * twice), mask=mask)
    tl.store(out + 2, ((grad_y - along * y) * twice), mask=mask)
    tl.store(out + 3, ((grad_z - along * z) * twice), mask=mask)


@triton.jit(do_not_specialize=["num_gaussians", "num_views"])
def project_backward(
    means, quats, scales, opacities,  # [B, N, 3 | 4 | 3 | none] float32
    cameras,  # [P, CAMERA_SIZE] float32
    starts, totals,  # as above
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors,  # out, float32
    num_gaussians, num_views,
    block: tl.constexpr,
):  # fmt: skip
    """Program: a block of Gaussians of one frame, over all its views."""
    blocks = tl.cdiv(num_gaussians, block)
    frame = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks) * block + tl.arange(0, block)
    mask = i < num_gaussians
    row = frame * num_gaussians + i
    mean = load_triple(means, row, mask, tl.float32)
    scale = load_triple(scales, row, mask, tl.float32)
    quat = load_quat(quats, row, mask, tl.float32)
    r = rotation_matrix(quat)
    m = scale_columns(r, scale)
    zero = tl.zeros([block], tl.float32)
    grad_mean = (zero, zero, zero)
    g = (zero, zero, zero, zero, zero, zero, zero, zero, zero)
    red, green, blue, sum_s = zero, zero, zero, zero
    for view in range(num_views):
        pair = frame * num_views + view
        place = pair * num_gaussians + i
        start = tl.load(starts + place, mask=mask, other=0)
        seen = tl.load(starts + place + 1, mask=mask, other=0) > start
        total = totals + place * SLOT_SIZE
        red += tl.load(total + SUM_RED, mask=seen, other=0.0)
        green += tl.load(total + SUM_GREEN, mask=seen, other=0.0)
        blue += tl.load(total + SUM_BLUE, mask=seen, other=0.0)
        sum_s += tl.load(total + SUM_S, mask=seen, other=0.0)
        shape_sums = (
            tl.load(total + SUM_S_DX, mask=seen, other=0.0),
            tl.load(total + SUM_S_DX2, mask=seen, other=0.0),
            tl.load(total + SUM_S_E, mask=seen, other=0.0),
            tl.load(total + SUM_S_E_DX, mask=seen, other=0.0),
            tl.load(total + SUM_S_E2, mask=seen, other=0.0),
        )
        grad_mean, g = _add_view(cameras, pair, mean, m, shape_sums, seen, grad_mean, g)
    _store3(grad_means, row, grad_mean, mask)
    _store3(grad_colors, row, (red, green, blue), mask)
    grad_scale = (
        g[0] * r[0] + g[3] * r[3] + g[6] * r[6],
        g[1] * r[1] + g[4] * r[4] + g[7] * r[7],
        g[2] * r[2] + g[5] * r[5] + g[8] * r[8],
    )
    _store3(grad_scales, row, grad_scale, mask)
    _store_quat_grads(grad_quats, row, quat, scale_columns(g, scale), mask)
    # s carries a factor alpha, which is the opacity times the Gaussian.
    opacity = tl.load(opacities + row, mask=mask, other=1.0)
    grad_opacity = tl.where(sum_s == 0.0, 0.0, sum_s / tl.where(sum_s == 0.0, 1.0, opacity))
    tl.store(grad_opacities + row, grad_opacity, mask=mask)
