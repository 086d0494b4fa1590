"""Backward of stages 1 and 2: from the slots of a Gaussian, in all views, to its own parameters.

Symbols as in the forward: V = A M with A = J W and M = R S; r = var_y - SLANT cov_xy.
Everything here is float64 until it is written.
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import kernel
from l4gm.splat.kernels.project import (
    clamped_slopes,
    covariance_image,
    half_axes_image,
    half_axes_world,
    image_from_world,
    rotation_matrix,
    to_camera,
)
from l4gm.splat.kernels.simd import add_to_doubles, fetch_add


@kernel
def _add_slots(sums, last_sums, first, count, total):
    """total[0..8] = the nine sums over a Gaussian's slots of one view."""
    total[:] = 0.0
    last = 0.0
    for slot in range(first, first + count):
        add_to_doubles(total, sums, slot * rec.SLOT_SIZE)
        last += np.float64(last_sums[slot])
    total[rec.SLOT_SIZE] = last


@kernel
def _grad_image_space(total, covariance):
    """From the sums: gradients of mean x, mean y, var_x, cov_xy, var_y.

    sigma = dx^2 / (2 var_x) + e^2 / (2 r), e = dy - slant dx, and s = -dL/dsigma.
    """
    var_x, cov, var_y = covariance
    inverse_x = 1.0 / var_x
    slant = cov * inverse_x
    inverse_r = 1.0 / (var_y - slant * cov)
    s_e = total[rec.SUM_S_E] * inverse_r
    grad_slant = total[rec.SUM_S_E_DX] * inverse_r * inverse_x
    grad_r = 0.5 * total[rec.SLOT_SIZE] * inverse_r * inverse_r
    s_dx = total[rec.SUM_S_DX] * inverse_x
    grad_var_x = 0.5 * total[rec.SUM_S_DX2] * inverse_x * inverse_x
    return (
        s_dx - slant * s_e,
        s_e,
        grad_var_x - grad_slant * slant + grad_r * slant * slant,
        grad_slant - 2.0 * slant * grad_r,
        grad_r,
    )


@kernel
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
    grad_slope_x, grad_slope_y = fx * grad_mean_x, fy * grad_mean_y
    if clamped_x == slope_x:
        grad_slope_x -= fx * inverse * along_zx
    if clamped_y == slope_y:
        grad_slope_y -= fy * inverse * along_zy
    grad_inverse += grad_slope_x * point[0] + grad_slope_y * point[1]
    return grad_slope_x * inverse, grad_slope_y * inverse, -grad_inverse * inverse * inverse


@kernel
def _add_view(camera, means, frame, i, m, total, grad_mean, grad_m):
    """One view's part added to the gradients of the world mean (3) and of M (9), both tuples."""
    point = to_camera(camera, means, frame, i)
    inverse_z = 1.0 / point[2]
    slopes = point[0] * inverse_z, point[1] * inverse_z, inverse_z
    clamped_x, clamped_y = clamped_slopes(camera, slopes[0], slopes[1])
    a = image_from_world(camera, clamped_x, clamped_y, inverse_z)
    v = half_axes_image(a, m)
    grad_mean_x, grad_mean_y, grad_var_x, grad_cov, grad_var_y = _grad_image_space(
        total, covariance_image(v)
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


@kernel
def _write_shape_grads(quats, scales, frame, i, grad_m, grad_quats, grad_scales):
    """Gradients of the quaternion (of any length) and the scales from that of M = R S."""
    w, x, y, z = (
        np.float64(quats[frame, i, 0]),
        np.float64(quats[frame, i, 1]),
        np.float64(quats[frame, i, 2]),
        np.float64(quats[frame, i, 3]),
    )
    sx = np.float64(scales[frame, i, 0])
    sy = np.float64(scales[frame, i, 1])
    sz = np.float64(scales[frame, i, 2])
    r, g = rotation_matrix(w, x, y, z), grad_m
    grad_scales[frame, i, 0] = g[0] * r[0] + g[3] * r[3] + g[6] * r[6]
    grad_scales[frame, i, 1] = g[1] * r[1] + g[4] * r[4] + g[7] * r[7]
    grad_scales[frame, i, 2] = g[2] * r[2] + g[5] * r[5] + g[8] * r[8]
    # The gradient of R.
    h = (
        g[0] * sx, g[1] * sy, g[2] * sz,
        g[3] * sx, g[4] * sy, g[5] * sz,
        g[6] * sx, g[7] * sy, g[8] * sz,
    )  # fmt: skip
    square = w * w + x * x + y * y + z * z
    inverse = 1.0 / np.sqrt(square) if square > 0.0 else 0.0
    w, x, y, z = w * inverse, x * inverse, y * inverse, z * inverse
    grad_w = 2.0 * (x * (h[7] - h[5]) + y * (h[2] - h[6]) + z * (h[3] - h[1]))
    grad_x = 2.0 * (
        y * (h[1] + h[3]) + z * (h[2] + h[6]) + w * (h[7] - h[5]) - 2.0 * x * (h[4] + h[8])
    )
    grad_y = 2.0 * (
        x * (h[1] + h[3]) + z * (h[5] + h[7]) + w * (h[2] - h[6]) - 2.0 * y * (h[0] + h[8])
    )
    grad_z = 2.0 * (
        x * (h[2] + h[6]) + y * (h[5] + h[7]) + w * (h[3] - h[1]) - 2.0 * z * (h[0] + h[4])
    )
    # The length does not matter, so the gradient has no part along the quaternion.
    along = grad_w * w + grad_x * x + grad_y * y + grad_z * z
    grad_quats[frame, i, 0] = (grad_w - along * w) * inverse
    grad_quats[frame, i, 1] = (grad_x - along * x) * inverse
    grad_quats[frame, i, 2] = (grad_y - along * y) * inverse
    grad_quats[frame, i, 3] = (grad_z - along * z) * inverse


@kernel
def project_backward(
    counter, last_task, num_views, num_chunks,
    means, quats, scales, opacities,  # [B, N, 3 | 4 | 3 | none]
    cameras,  # [P, CAMERA_SIZE]
    slots, bases, sums, last_sums,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors,  # out, zero where unseen
):  # fmt: skip
    """Worker: take (frame, chunk of Gaussians) tasks off the counter; write their gradients."""
    total = np.empty(rec.SLOT_SIZE + 1)
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        frame, chunk = task // num_chunks, task % num_chunks
        for i in range(chunk * rec.CHUNK, min((chunk + 1) * rec.CHUNK, means.shape[1])):
            grad_mean = (0.0, 0.0, 0.0)
            grad_m = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            red, green, blue, sum_s = 0.0, 0.0, 0.0, 0.0
            seen = False
            for pair in range(frame * num_views, (frame + 1) * num_views):
                count = slots[pair, i, 1]
                if count == 0:
                    continue
                if not seen:
                    m = half_axes_world(quats, scales, frame, i)
                    seen = True
                _add_slots(sums, last_sums, bases[pair] + slots[pair, i, 0], count, total)
                sum_s += total[rec.SUM_S]
                red += total[rec.SUM_RED]
                green += total[rec.SUM_GREEN]
                blue += total[rec.SUM_BLUE]
                grad_mean, grad_m = _add_view(
                    cameras[pair], means, frame, i, m, total, grad_mean, grad_m
                )
            if not seen:
                continue
            _write_shape_grads(quats, scales, frame, i, grad_m, grad_quats, grad_scales)
            # s carries a factor alpha, which is the opacity times the Gaussian.
            grad_opacities[frame, i] = sum_s / np.float64(opacities[frame, i])
            grad_colors[frame, i, 0] = red
            grad_colors[frame, i, 1] = green
            grad_colors[frame, i, 2] = blue
            for axis in range(3):
                grad_means[frame, i, axis] = grad_mean[axis]
