"""Backward of stage 3: take a tile apart back to front, with the gradient sums of each entry.

With g the gradient of a pixel's color, c_i and alpha_i color and alpha of its i-th Gaussian and
T_i the transmittance before it:

    dL/dalpha_i = T_i (g . c_i) - D_i / (1 - alpha_i)
    D_i = the part of L that comes from behind i = T_end dL/dT_end + sum over j > i of w_j (g . c_j)

From the back, both T_i = T_{i + 1} / (1 - alpha_i) and D_i keep their relative precision, so the
forward leaves only T_end and the number of the last Gaussian for each pixel.
"""

from __future__ import annotations

import triton
import triton.language as tl

from l4gm.splat.triton_kernels.composite import entry_geometry, load_record, tile_place
from l4gm.splat.triton_kernels.layout import (
    ALPHA_MAX,
    BLUE,
    GREEN,
    LOG2_ALPHA_MIN,
    RED,
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
    TILE,
)


@triton.jit(do_not_specialize=["width", "height"])
def differentiate(
    records, ids, tile_starts, background,  # as in the forward
    slots,  # [entries] int64, by tile and depth
    transmittances, last_drawn,  # of the forward
    grad_images, grad_alphas,  # [P, 3, H, W] and [P, H, W] float32
    sums,  # out: [entries, SLOT_SIZE] float32, by slot; zero before
    width, height,
):  # fmt: skip
    """Program: one tile."""
    tile = tl.program_id(0)
    pair, left, top = tile_place(tile, width, height)
    columns, rows = tl.arange(0, TILE), tl.arange(0, TILE)
    x, y = columns.to(tl.float32)[None, :] + 0.5, rows.to(tl.float32)[:, None]
    inside = ((left + columns) < width)[None, :] & ((top + rows) < height)[:, None]
    plane = width.to(tl.int64) * height
    pixel = (top + rows)[:, None] * width + (left + columns)[None, :]
    last = tl.load(last_drawn + pair * plane + pixel, mask=inside, other=-1)
    transmittance = tl.load(transmittances + pair * plane + pixel, mask=inside, other=1.0)
    grad_image = grad_images + pair * 3 * plane + pixel
    grad_red = tl.load(grad_image, mask=inside, other=0.0)
    grad_green = tl.load(grad_image + plane, mask=inside, other=0.0)
    grad_blue = tl.load(grad_image + 2 * plane, mask=inside, other=0.0)
    grad_end = -tl.load(grad_alphas + pair * plane + pixel, mask=inside, other=0.0)
    grad_end += grad_red * tl.load(background)
    grad_end += grad_green * tl.load(background + 1)
    grad_end += grad_blue * tl.load(background + 2)
    behind = transmittance * grad_end

    start = tl.load(tile_starts + tile)
    k = tl.max(last)
    ids += start
    slots += start
    record = load_record(records, tl.load(ids + k, mask=k >= 0, other=0))
    following = tl.load(ids + k - 1, mask=k > 0, other=0)
    while k >= 0:
        next_record = load_record(records, following)
        following = tl.load(ids + k - 2, mask=k > 1, other=0)
        dx, peak, along_y, base = entry_geometry(record, x, left, top)
        e = y + base
        exponent = along_y * e * e + peak
        unclamped = tl.exp2(exponent)
        drawn = (exponent >= LOG2_ALPHA_MIN) & (k <= last)
        alpha = tl.where(drawn, tl.minimum(unclamped, ALPHA_MAX), 0.0)
        root = tl.rsqrt(1.0 - alpha)  # a division would take four times the instructions
        remainder = root * root
        transmittance = tl.where(drawn, transmittance * remainder, transmittance)
        along_color = grad_red * record[RED] + grad_green * record[GREEN] + grad_blue * record[BLUE]
        grad_alpha = transmittance * along_color - behind * remainder
        weight = alpha * transmittance
        behind += weight * along_color
        s = tl.where(unclamped <= ALPHA_MAX, alpha * grad_alpha, 0.0)
        s_e = s * e
        sum_s = tl.sum(s, 0)[None, :]
        sum_s_e = tl.sum(s_e, 0)[None, :]
        slot = sums + tl.load(slots + k) * SLOT_SIZE
        tl.store(slot + SUM_RED, tl.sum(weight * grad_red))
        tl.store(slot + SUM_GREEN, tl.sum(weight * grad_green))
        tl.store(slot + SUM_BLUE, tl.sum(weight * grad_blue))
        tl.store(slot + SUM_S, tl.sum(sum_s))
        tl.store(slot + SUM_S_DX, tl.sum(sum_s * dx))
        tl.store(slot + SUM_S_DX2, tl.sum(sum_s * dx * dx))
        tl.store(slot + SUM_S_E, tl.sum(sum_s_e))
        tl.store(slot + SUM_S_E_DX, tl.sum(sum_s_e * dx))
        tl.store(slot + SUM_S_E2, tl.sum(s_e * e))
        record = next_record
        k -= 1
