"""Backward of stages 1 and 2: from the slots of a Gaussian, in all views, to its own parameters.

Symbols as in the forward: V = A M with A = J W and M = R S; r = var_y - SLANT cov_xy.
Everything here is float64 until it is written.
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import kernel
from l4gm.splat.kernels.project import (
    covariance_image,
    half_axes_image,
    half_axes_world,
    image_from_world,
    rotation_matrix,
    to_camera,
)
from l4gm.splat.kernels.simd import fetch_add


@kernel
def _add_slots(sums, last_sums, first, count, total):
    """total[0..8] = the nine sums over a Gaussian's slots of one view."""
    total[:] = 0.0
    for slot in range(first, first + count):
        for k in range(rec.SLOT_SIZE):
            total[k] += np.float64(sums[slot * rec.SLOT_SIZE + k])
        total[rec.SLOT_SIZE] += np.float64(last_sums[slot])


@kernel
def _grad_image_space(total, covariance):
    """From the sums: gradients of mean x, mean y, var_x, cov_xy, var_y.

    sigma = dx^2 / (2 var_x) + e^2 / (2 r), e = dy - slant dx, and s = -dL/dsigma.
    """
    var_x, cov, var_y = covariance
    slant = cov / var_x
    conditional = var_y - slant * cov
    s_e = total[rec.SUM_S_E] / conditional
    grad_slant = total[rec.SUM_S_E_DX] / conditional
    grad_conditional = 0.5 * total[rec.SLOT_SIZE] / (conditional * conditional)
    grad_var_x = (
        0.5 * total[rec.SUM_S_DX2] / (var_x * var_x)
        - grad_slant * slant / var_x
        + grad_conditional * slant * slant
    )
    return (
        total[rec.SUM_S_DX] / var_x - slant * s_e,
        s_e,
        grad_var_x,
        grad_slant / var_x - 2.0 * slant * grad_conditional,
        grad_conditional,
    )


@kernel
def _grad_camera_point(camera, x, y, z, grad_a, grad_mean_x, grad_mean_y):
    """Gradient of the camera-space mean, from the image mean and from A (six numbers)."""
    fx, fy = camera[rec.FOCAL_X], camera[rec.FOCAL_Y]
    raw_x, raw_y = x / z, y / z
    slope_x = min(max(raw_x, camera[rec.SLOPE_X_MIN]), camera[rec.SLOPE_X_MAX])
    slope_y = min(max(raw_y, camera[rec.SLOPE_Y_MIN]), camera[rec.SLOPE_Y_MAX])
    # A's rows are (f / z) (W_0 - slope W_2).
    along_x = grad_a[0] * camera[0] + grad_a[1] * camera[1] + grad_a[2] * camera[2]
    along_y = grad_a[3] * camera[3] + grad_a[4] * camera[4] + grad_a[5] * camera[5]
    along_zx = grad_a[0] * camera[6] + grad_a[1] * camera[7] + grad_a[2] * camera[8]
    along_zy = grad_a[3] * camera[6] + grad_a[4] * camera[7] + grad_a[5] * camera[8]
    inverse = 1.0 / z
    grad_inverse = fx * (along_x - slope_x * along_zx) + fy * (along_y - slope_y * along_zy)
    grad_slope_x, grad_slope_y = fx * grad_mean_x, fy * grad_mean_y
    if slope_x == raw_x:
        grad_slope_x -= fx * inverse * along_zx
    if slope_y == raw_y:
        grad_slope_y -= fy * inverse * along_zy
    grad_inverse += grad_slope_x * x + grad_slope_y * y
    return grad_slope_x * inverse, grad_slope_y * inverse, -grad_inverse * inverse * inverse


@kernel
def _add_view(camera, means, frame, i, m, total, grad_mean, grad_m):
    """Add one view's part to the gradients of the world mean [3] and of M [9]."""
    x, y, z = to_camera(camera, means, frame, i)
    a = image_from_world(camera, x, y, z)
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
    for row in range(3):
        for column in range(3):
            grad_m[3 * row + column] += a[row] * grad_u[column] + a[3 + row] * grad_v[column]
    grad_a = (
        grad_u[0] * m[0] + grad_u[1] * m[1] + grad_u[2] * m[2],
        grad_u[0] * m[3] + grad_u[1] * m[4] + grad_u[2] * m[5],
        grad_u[0] * m[6] + grad_u[1] * m[7] + grad_u[2] * m[8],
        grad_v[0] * m[0] + grad_v[1] * m[1] + grad_v[2] * m[2],
        grad_v[0] * m[3] + grad_v[1] * m[4] + grad_v[2] * m[5],
        grad_v[0] * m[6] + grad_v[1] * m[7] + grad_v[2] * m[8],
    )
    grad_x, grad_y, grad_z = _grad_camera_point(camera, x, y, z, grad_a, grad_mean_x, grad_mean_y)
    for k in range(3):
        grad_mean[k] += camera[k] * grad_x + camera[3 + k] * grad_y + camera[6 + k] * grad_z


@kernel
def _write_shape_grads(quats, scales, i, grad_m, grad_quats, grad_scales):
    """Gradients of the quaternion (of any length) and the scales from that of M = R S."""
    w, x, y, z = (
        np.float64(quats[i, 0]),
        np.float64(quats[i, 1]),
        np.float64(quats[i, 2]),
        np.float64(quats[i, 3]),
    )
    r = rotation_matrix(w, x, y, z)
    for axis in range(3):
        grad_scales[i, axis] = (
            grad_m[axis] * r[axis] + grad_m[3 + axis] * r[3 + axis] + grad_m[6 + axis] * r[6 + axis]
        )
        for row in range(3):
            grad_m[3 * row + axis] *= np.float64(scales[i, axis])
    h = grad_m  # now the gradient of R
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
    grad_quats[i, 0] = (grad_w - along * w) * inverse
    grad_quats[i, 1] = (grad_x - along * x) * inverse
    grad_quats[i, 2] = (grad_y - along * y) * inverse
    grad_quats[i, 3] = (grad_z - along * z) * inverse


@kernel
def project_backward(
    counter, last_task, num_views, num_chunks,
    means, quats, scales, opacities,  # [B, N, 3 | 4 | 3 | none]
    cameras,  # [P, CAMERA_SIZE]
    record_ints, num_slots, bases, sums, last_sums,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors,  # out, as the parameters
):  # fmt: skip
    """Worker: take (frame, chunk of Gaussians) tasks off the counter; write all their gradients."""
    total, grad_mean, grad_m, grad_color = np.empty(9), np.empty(3), np.empty(9), np.empty(3)
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        frame, chunk = task // num_chunks, task % num_chunks
        for i in range(chunk * rec.CHUNK, min((chunk + 1) * rec.CHUNK, means.shape[1])):
            grad_mean[:] = 0.0
            grad_m[:] = 0.0
            grad_color[:] = 0.0
            sum_s = 0.0
            m = half_axes_world(quats, scales, frame, i)
            for pair in range(frame * num_views, (frame + 1) * num_views):
                count = num_slots[pair, i]
                if count == 0:
                    continue
                first = bases[pair] + record_ints[pair, i, rec.FIRST_SLOT]
                _add_slots(sums, last_sums, first, count, total)
                sum_s += total[rec.SUM_S]
                for channel in range(3):
                    grad_color[channel] += total[channel]
                _add_view(cameras[pair], means, frame, i, m, total, grad_mean, grad_m)
            _write_shape_grads(
                quats[frame], scales[frame], i, grad_m, grad_quats[frame], grad_scales[frame]
            )
            # s carries a factor alpha, which is the opacity times the Gaussian.
            grad_opacities[frame, i] = sum_s / opacities[frame, i] if sum_s != 0.0 else 0.0
            for axis in range(3):
                grad_means[frame, i, axis] = grad_mean[axis]
                grad_colors[frame, i, axis] = grad_color[axis]
