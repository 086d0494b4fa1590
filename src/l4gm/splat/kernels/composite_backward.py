"""Backward of stage 4: replay a strip front to back, with the gradient sums of each entry.

With g the gradient of a pixel's color, c_i and w_i color and weight of its i-th Gaussian and T_i
the transmittance before it:

    dL/dalpha_i = T_i (g . c_i) - D_i / (1 - alpha_i)
    D_i = the part of L that comes from behind i = sum over j > i of w_j (g . c_j) + T_end dL/dT_end

D before the first Gaussian follows from the finished image, then each Gaussian's own part is taken
away from it, so that nothing has to be stored per pixel and Gaussian, nor divided by T.
A strip's row holds [transmittance, D, g red, g green, g blue] x 8 lanes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from l4gm.splat.constants import ALPHA_MAX, TRANSMITTANCE_MIN
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.composite import (
    AHEAD,
    RENEW_EVERY,
    ROW_NUMBERS,
    entry_rows,
    unfinished_rows,
)
from l4gm.splat.kernels.simd import (
    LANES,
    both,
    count_trailing_zeros,
    exp2,
    fetch_add,
    greater,
    lane_numbers,
    less_equal,
    load,
    minimum,
    multiply_add,
    prefetch_row,
    set_sign,
    splat,
    store,
    sum_lanes,
    sum_lanes_of_eight,
    where,
    without,
)

ROW_FLOATS = 5 * LANES

_f32 = np.float32
_THRESHOLD = _f32(rec.LOG2_ALPHA_MIN)
_ALPHA_MAX = _f32(ALPHA_MAX)
_TRANSMITTANCE_MIN = _f32(TRANSMITTANCE_MIN)


@njit(cache=True, error_model="numpy", nogil=True)
def _load_strip(
    rows, left, top, num_columns, num_rows, image, transmittance, grad_image, grad_transmittance
):
    """Fill the strip's rows from one view's image and gradients."""
    for row in range(num_rows):
        for lane in range(LANES):
            at = row * ROW_FLOATS + lane
            if lane >= num_columns:
                rows[at] = _f32(-1)
                for plane in range(1, 5):
                    rows[at + plane * LANES] = _f32(0)
                continue
            y, x = top + row, left + lane
            rows[at] = _f32(1)
            total = np.float64(grad_transmittance[y, x]) * np.float64(transmittance[y, x])
            for channel in range(3):
                gradient = grad_image[channel, y, x]
                rows[at + (channel + 2) * LANES] = gradient
                total += np.float64(gradient) * np.float64(image[channel, y, x])
            rows[at + LANES] = total


@njit(cache=True, error_model="numpy", nogil=True)
def _slot(entry, record_ints):
    """The place of an entry's sums among its pair's."""
    number = (entry >> rec.ENTRY_NUMBER_SHIFT) & rec.ENTRY_NUMBER_MASK
    return number + record_ints[np.uint64(entry >> rec.ENTRY_ID_SHIFT), rec.FIRST_SLOT]


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "nsz"})
def _differentiate_strip(
    records, record_ints, entries, first, last, left, top, num_rows, rows, sums, last_sums
):
    """Gradient sums of entries [first, last) into their slots."""
    zero, one = splat(_f32(0)), splat(_f32(1))
    threshold, alpha_max = splat(_THRESHOLD), splat(_ALPHA_MAX)
    transmittance_min = splat(_TRANSMITTANCE_MIN)
    centres = lane_numbers() + splat(_f32(left) + _f32(0.5))
    unfinished = unfinished_rows(rows, num_rows, ROW_FLOATS)
    for place in range(first, last):
        if (place - first) % RENEW_EVERY == RENEW_EVERY - 1:
            unfinished = unfinished_rows(rows, num_rows, ROW_FLOATS)
        if place + AHEAD < last:
            prefetch_row(records, entries[place + AHEAD] >> rec.ENTRY_ID_SHIFT)
        entry = entries[place]
        slot = np.uint64(_slot(entry, record_ints))
        todo = entry_rows(entry) & unfinished
        i = np.uint64(entry >> rec.ENTRY_ID_SHIFT)
        dx = centres - splat(records[i, rec.MEAN_X]) - splat(records[i, rec.FRACTION_X])
        peak = multiply_add(
            splat(records[i, rec.ALONG_X]) * dx, dx, splat(records[i, rec.LOG_OPACITY])
        )
        along_y = splat(records[i, rec.ALONG_Y])
        shift = multiply_add(
            splat(records[i, rec.SLANT]), dx, splat(records[i, rec.FRACTION_Y] - _f32(0.5))
        )
        offset_y = splat(_f32(top) - records[i, rec.MEAN_Y])
        red, green, blue = (
            splat(records[i, rec.RED]),
            splat(records[i, rec.GREEN]),
            splat(records[i, rec.BLUE]),
        )
        sum_red, sum_green, sum_blue = zero, zero, zero
        sum_s, sum_se, sum_see = zero, zero, zero
        while todo != 0:
            row = count_trailing_zeros(todo)
            todo &= todo - np.uint64(1)
            at = np.int64(row * np.uint64(ROW_FLOATS))
            e = load(ROW_NUMBERS, np.int64(row * np.uint64(LANES))) + offset_y - shift
            before = load(rows, at)
            exponent = multiply_add(along_y * e, e, peak)
            unclamped = exp2(exponent)
            alpha = minimum(unclamped, alpha_max)
            weight = alpha * before
            seen = less_equal(threshold, exponent)
            room = greater(before - weight, transmittance_min)
            drawn = both(seen, room)
            weight = where(drawn, weight, zero)
            store(rows, at, set_sign(before - weight, without(seen, room)))
            grad_red = load(rows, at + 2 * LANES)
            grad_green = load(rows, at + 3 * LANES)
            grad_blue = load(rows, at + 4 * LANES)
            along_color = multiply_add(
                red, grad_red, multiply_add(green, grad_green, blue * grad_blue)
            )
            behind = load(rows, at + LANES) - weight * along_color
            store(rows, at + LANES, behind)
            sum_red = multiply_add(weight, grad_red, sum_red)
            sum_green = multiply_add(weight, grad_green, sum_green)
            sum_blue = multiply_add(weight, grad_blue, sum_blue)
            grad_alpha = before * along_color - behind / (one - alpha)
            free = both(drawn, less_equal(unclamped, alpha_max))
            s = where(free, alpha * grad_alpha, zero)
            se = s * e
            sum_s = sum_s + s
            sum_se = sum_se + se
            sum_see = multiply_add(se, e, sum_see)
        s_dx = sum_s * dx
        totals = sum_lanes_of_eight(
            sum_red, sum_green, sum_blue, sum_s, s_dx, s_dx * dx, sum_se, sum_se * dx
        )
        store(sums, np.int64(slot * np.uint64(rec.SLOT_SIZE)), totals)
        last_sums[slot] = sum_lanes(sum_see)


@njit(cache=True, error_model="numpy", nogil=True)
def differentiate_strips(
    counter, last_task, size, grid,
    records, record_ints, strip_starts, strip_ends, entries, bases,  # of the forward stages
    images, transmittances, grad_images, grad_transmittances,  # [P, 3, H, W], [P, H, W], twice
    rows,  # scratch of this thread: [STRIP_ROWS * ROW_FLOATS]
    sums, last_sums,  # out: [slots * SLOT_SIZE], [slots]
):  # fmt: skip
    """Worker: take (pair, strip) tasks off the counter and fill the slots of their entries."""
    num_strips = grid[0] * grid[1]
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        pair, strip = task // num_strips, task % num_strips
        left = (strip % grid[0]) << rec.STRIP_WIDTH_LOG2
        top = (strip // grid[0]) << rec.STRIP_ROWS_LOG2
        base = bases[pair]
        first = base + strip_starts[pair, strip]
        finished = base + strip_ends[pair, strip]
        last = base + strip_starts[pair, strip + 1]
        own_sums, own_last = sums[base * rec.SLOT_SIZE :], last_sums[base:]
        if finished > first:
            num_rows = min(rec.STRIP_ROWS, size[1] - top)
            _load_strip(
                rows, left, top, min(rec.STRIP_WIDTH, size[0] - left), num_rows,
                images[pair], transmittances[pair], grad_images[pair], grad_transmittances[pair],
            )  # fmt: skip
            _differentiate_strip(
                records[pair], record_ints[pair], entries, first, finished, left, top, num_rows,
                rows, own_sums, own_last,
            )  # fmt: skip
        for place in range(finished, last):
            slot = _slot(entries[place], record_ints[pair])
            own_sums[slot * rec.SLOT_SIZE : (slot + 1) * rec.SLOT_SIZE] = _f32(0)
            own_last[slot] = _f32(0)
