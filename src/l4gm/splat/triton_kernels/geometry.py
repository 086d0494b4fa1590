"""The projection that the forward and the backward stage share, in float64.

Float64 costs little beside compositing, and in float32 the mean alone would be off by more than the
image may be.

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
    CENTRE_X,
    CENTRE_Y,
    FOCAL_X,
    FOCAL_Y,
    JACOBIAN_MARGIN,
    TRANSLATION,
)


@triton.jit
def load_wide(values, rows, size: tl.constexpr, column: tl.constexpr, mask):
    """One column of [.., size] float32 rows, as float64; 0 where masked."""
    return tl.load(values + rows * size + column, mask=mask, other=0.0).to(tl.float64)


@triton.jit
def load_quat(quats, rows, mask):
    """The quaternions, normalised, and 1 / their length; all zero for length zero."""
    w = load_wide(quats, rows, 4, 0, mask)
    x = load_wide(quats, rows, 4, 1, mask)
    y = load_wide(quats, rows, 4, 2, mask)
    z = load_wide(quats, rows, 4, 3, mask)
    square = w * w + x * x + y * y + z * z
    inverse = tl.where(square > 0.0, 1.0 / tl.sqrt(tl.where(square > 0.0, square, 1.0)), 0.0)
    return w * inverse, x * inverse, y * inverse, z * inverse, inverse


@triton.jit
def rotation_matrix(w, x, y, z):
    """R of unit quaternions; the identity for zeros."""
    return (
        1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y),
        2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x),
        2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y),
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
def clamped_slopes(cameras, pair, slope_x, slope_y, width, height):
    """x/z and y/z as the Jacobian takes them."""
    fx, fy = camera_number(cameras, pair, FOCAL_X), camera_number(cameras, pair, FOCAL_Y)
    cx, cy = camera_number(cameras, pair, CENTRE_X), camera_number(cameras, pair, CENTRE_Y)
    wide, high = width.to(tl.float64), height.to(tl.float64)
    margin_x, margin_y = wide * (0.5 * JACOBIAN_MARGIN), high * (0.5 * JACOBIAN_MARGIN)
    clamped_x = tl.minimum(tl.maximum(slope_x, -(cx + margin_x) / fx), (wide - cx + margin_x) / fx)
    clamped_y = tl.minimum(
        tl.maximum(slope_y, -(cy + margin_y) / fy), (high - cy + margin_y) / fy
    )
    return clamped_x, clamped_y


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
    """var_x, cov_xy, var_y of V V^T with the blur added."""
    return (
        v[0] * v[0] + v[1] * v[1] + v[2] * v[2] + BLUR_VARIANCE_PX2,
        v[0] * v[3] + v[1] * v[4] + v[2] * v[5],
        v[3] * v[3] + v[4] * v[4] + v[5] * v[5] + BLUR_VARIANCE_PX2,
    )
