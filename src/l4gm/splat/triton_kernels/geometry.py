"""The projection that the forward and the backward stage share.

Everything is in the dtype of what comes in: float64 in the forward, since in float32 the mean alone
would be off by more than the image may be, and float32 in the backward.

Symbols: M = R S, rotation times scales; A = J W, Jacobian times rotation of the camera, so the
derivative of the pixel by the world point; V = A M, so that V V^T is the covariance in the image.
Each is a tuple of vectors, row after row; a vector holds one number of a block of Gaussians.
"""

from __future__ import annotations

import triton
import triton.language as tl

from l4gm.splat.triton_kernels.layout import (
    BLUR_VARIANCE_PX2,
    CAMERA_SIZE,
    FOCAL_X,
    FOCAL_Y,
    SLOPE_X_MAX,
    SLOPE_X_MIN,
    SLOPE_Y_MAX,
    SLOPE_Y_MIN,
    TRANSLATION,
)


@triton.jit
def load_column(values, rows, size: tl.constexpr, column: tl.constexpr, mask, dtype: tl.constexpr):
    """One column of [.., size] float32 rows; 0 where masked."""
    return tl.load(values + rows * size + column, mask=mask, other=0.0).to(dtype)


@triton.jit
def load_triple(values, rows, mask, dtype: tl.constexpr):
    """The columns of [.., 3] float32 rows."""
    return (
        load_column(values, rows, 3, 0, mask, dtype),
        load_column(values, rows, 3, 1, mask, dtype),
        load_column(values, rows, 3, 2, mask, dtype),
    )


@triton.jit
def load_quat(quats, rows, mask, dtype: tl.constexpr):
    """The columns of [.., 4] float32 rows, and 1 / the square of their length, or 0."""
    w = load_column(quats, rows, 4, 0, mask, dtype)
    x = load_column(quats, rows, 4, 1, mask, dtype)
    y = load_column(quats, rows, 4, 2, mask, dtype)
    z = load_column(quats, rows, 4, 3, mask, dtype)
    square = w * w + x * x + y * y + z * z
    present = square > 0.0
    return w, x, y, z, tl.where(present, 1.0 / tl.where(present, square, 1.0), 0.0)


@triton.jit
def rotation_matrix(quat):
    """R of quaternions of any length, from `load_quat`; the identity for length zero."""
    w, x, y, z, inverse_square = quat
    a, b, c = x * (2.0 * inverse_square), y * (2.0 * inverse_square), z * (2.0 * inverse_square)
    return (
        1.0 - (b * y + c * z), a * y - c * w, a * z + b * w,
        a * y + c * w, 1.0 - (a * x + c * z), b * z - a * w,
        a * z - b * w, b * z + a * w, 1.0 - (a * x + b * y),
    )  # fmt: skip


@triton.jit
def scale_columns(r, s):
    """R S from R and the three scales."""
    return (
        r[0] * s[0], r[1] * s[1], r[2] * s[2],
        r[3] * s[0], r[4] * s[1], r[5] * s[2],
        r[6] * s[0], r[7] * s[1], r[8] * s[2],
    )  # fmt: skip


@triton.jit
def camera_number(cameras, pair, column: tl.constexpr):
    """One number of a camera row."""
    return tl.load(cameras + pair * CAMERA_SIZE + column)


@triton.jit
def camera_rotation(cameras, pair):
    """W."""
    return (
        camera_number(cameras, pair, 0), camera_number(cameras, pair, 1),
        camera_number(cameras, pair, 2), camera_number(cameras, pair, 3),
        camera_number(cameras, pair, 4), camera_number(cameras, pair, 5),
        camera_number(cameras, pair, 6), camera_number(cameras, pair, 7),
        camera_number(cameras, pair, 8),
    )  # fmt: skip


@triton.jit
def to_camera(cameras, pair, w, point):
    """World points in camera axes."""
    tx = camera_number(cameras, pair, TRANSLATION)
    ty = camera_number(cameras, pair, TRANSLATION + 1)
    tz = camera_number(cameras, pair, TRANSLATION + 2)
    return (
        w[0] * point[0] + w[1] * point[1] + w[2] * point[2] + tx,
        w[3] * point[0] + w[4] * point[1] + w[5] * point[2] + ty,
        w[6] * point[0] + w[7] * point[1] + w[8] * point[2] + tz,
    )


@triton.jit
def clamped_slopes(cameras, pair, slope_x, slope_y):
    """x/z and y/z as the Jacobian takes them."""
    least_x, most_x = (
        camera_number(cameras, pair, SLOPE_X_MIN),
        camera_number(cameras, pair, SLOPE_X_MAX),
    )
    least_y, most_y = (
        camera_number(cameras, pair, SLOPE_Y_MIN),
        camera_number(cameras, pair, SLOPE_Y_MAX),
    )
    return (
        tl.minimum(tl.maximum(slope_x, least_x), most_x),
        tl.minimum(tl.maximum(slope_y, least_y), most_y),
    )


@triton.jit
def image_from_world(cameras, pair, w, slope_x, slope_y, inverse_z):
    """A = J W; the slopes are clamped."""
    jx = camera_number(cameras, pair, FOCAL_X) * inverse_z
    jy = camera_number(cameras, pair, FOCAL_Y) * inverse_z
    return (
        jx * (w[0] - slope_x * w[6]), jx * (w[1] - slope_x * w[7]), jx * (w[2] - slope_x * w[8]),
        jy * (w[3] - slope_y * w[6]), jy * (w[4] - slope_y * w[7]), jy * (w[5] - slope_y * w[8]),
    )  # fmt: skip


@triton.jit
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


@triton.jit
def covariance_image(v):
    """var_x, cov_xy, var_y of V V^T with the blur added, and their determinant.

    The determinant as a sum of squares, with V V^T's by its minors, which does not cancel.
    """
    square_x = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    square_y = v[3] * v[3] + v[4] * v[4] + v[5] * v[5]
    minor_0 = v[1] * v[5] - v[2] * v[4]
    minor_1 = v[2] * v[3] - v[0] * v[5]
    minor_2 = v[0] * v[4] - v[1] * v[3]
    determinant = (
        minor_0 * minor_0 + minor_1 * minor_1 + minor_2 * minor_2
        + (square_x + square_y) * BLUR_VARIANCE_PX2 + BLUR_VARIANCE_PX2 * BLUR_VARIANCE_PX2
    )  # fmt: skip
    cov = v[0] * v[3] + v[1] * v[4] + v[2] * v[5]
    return square_x + BLUR_VARIANCE_PX2, cov, square_y + BLUR_VARIANCE_PX2, determinant
