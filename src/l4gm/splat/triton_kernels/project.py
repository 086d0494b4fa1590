"""Stage 1: project the Gaussians of each pair, and count the tiles that each touches."""

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
    ALONG_X,
    ALONG_Y,
    ALPHA_MIN,
    BLUE,
    CENTRE_X,
    CENTRE_Y,
    FAR,
    FOCAL_X,
    FOCAL_Y,
    FRACTION_X,
    FRACTION_Y,
    GREEN,
    LOG2_E,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    NEAR,
    RECORD_SIZE,
    RED,
    SLANT,
)
from l4gm.splat.triton_kernels.tiles import columns_of_row, ellipse, rows_of_ellipse

# Beyond this the float32 arithmetic of the later stages would overflow (px^2).
_MAX_VARIANCE = tl.constexpr(1e18)


@triton.jit(
    do_not_specialize=[
        "num_gaussians", "num_views", "width", "height", "depth_origin", "depth_shift",
    ]
)  # fmt: skip
def project(
    means, quats, scales, opacities, colors,  # [B, N, 3 | 4 | 3 | none | 3] float32
    cameras,  # [P, CAMERA_SIZE] float64
    records,  # out: [P, N, RECORD_SIZE] float32
    depths,  # out: [P, N] int64
    counts,  # out: [P, N] int32, how many tiles a Gaussian touches; 0 where it is not seen
    num_gaussians, num_views, width, height,
    depth_origin, depth_shift,  # a depth as an integer is (its bits - origin) >> shift
    block: tl.constexpr,
):  # fmt: skip
    """Program: a block of Gaussians of one pair."""
    blocks = tl.cdiv(num_gaussians, block)
    pair = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks) * block + tl.arange(0, block)
    mask = i < num_gaussians
    row = (pair // num_views) * num_gaussians + i
    out = pair * num_gaussians + i
    near, far = camera_number(cameras, pair, NEAR), camera_number(cameras, pair, FAR)
    w = camera_rotation(cameras, pair)
    x, y, z = to_camera(cameras, pair, w, load_triple(means, row, mask, tl.float64))
    opacity = tl.load(opacities + row, mask=mask, other=0.0)
    seen = mask & (opacity >= ALPHA_MIN) & (z >= near) & (z <= far)
    opacity = tl.where(seen, opacity, 1.0)
    z = tl.where(seen, z, near)
    inverse_z = 1.0 / z
    slope_x, slope_y = x * inverse_z, y * inverse_z
    mean_x = camera_number(cameras, pair, FOCAL_X) * slope_x
    mean_y = camera_number(cameras, pair, FOCAL_Y) * slope_y
    mean_x += camera_number(cameras, pair, CENTRE_X)
    mean_y += camera_number(cameras, pair, CENTRE_Y)
    clamped_x, clamped_y = clamped_slopes(cameras, pair, slope_x, slope_y)
    r = rotation_matrix(load_quat(quats, row, mask, tl.float64))
    m = scale_columns(r, load_triple(scales, row, mask, tl.float64))
    a = image_from_world(cameras, pair, w, clamped_x, clamped_y, inverse_z)
    var_x, cov, var_y, determinant = covariance_image(half_axes_image(a, m))
    seen &= (var_x <= _MAX_VARIANCE) & (var_y <= _MAX_VARIANCE)
    whole_x, whole_y = tl.floor(mean_x), tl.floor(mean_y)
    # From here on in float32, as the later stages read it.
    fraction_x, fraction_y = (mean_x - whole_x).to(tl.float32), (mean_y - whole_y).to(tl.float32)
    whole_x, whole_y = whole_x.to(tl.float32), whole_y.to(tl.float32)
    var_x = var_x.to(tl.float32)
    along_x = (-0.5 / var_x) * LOG2_E
    along_y = along_x * (var_x * (var_x / determinant.to(tl.float32)))
    slant = cov.to(tl.float32) / var_x
    log_opacity = tl.log2(opacity)

    shape = ellipse(along_x, slant, along_y, log_opacity)
    first_row, last_row = rows_of_ellipse(shape, whole_y, fraction_y, height)
    last_row = tl.where(seen, last_row, first_row - 1)
    count = tl.zeros_like(i)
    for step in range(tl.max(last_row - first_row, 0) + 1):
        _, columns = columns_of_row(shape, whole_x, fraction_x, whole_y, fraction_y,
                                    first_row + step, width)  # fmt: skip
        count += tl.where(first_row + step <= last_row, columns, 0)
    tl.store(counts + out, count, mask=mask)

    mask = count > 0
    depth = (z.to(tl.int64, bitcast=True) - depth_origin) >> depth_shift
    tl.store(depths + out, depth, mask=mask)
    record = records + out * RECORD_SIZE
    tl.store(record + MEAN_X, whole_x, mask=mask)
    tl.store(record + MEAN_Y, whole_y, mask=mask)
    tl.store(record + FRACTION_X, fraction_x, mask=mask)
    tl.store(record + FRACTION_Y, fraction_y, mask=mask)
    tl.store(record + ALONG_X, along_x, mask=mask)
    tl.store(record + SLANT, slant, mask=mask)
    tl.store(record + ALONG_Y, along_y, mask=mask)
    tl.store(record + LOG_OPACITY, log_opacity, mask=mask)
    tl.store(record + RED, tl.load(colors + row * 3, mask=mask), mask=mask)
    tl.store(record + GREEN, tl.load(colors + row * 3 + 1, mask=mask), mask=mask)
    tl.store(record + BLUE, tl.load(colors + row * 3 + 2, mask=mask), mask=mask)
