"""Backward of stage 4: take a strip apart back to front, with the gradient sums of each entry.

With g the gradient of a pixel's color, c_i and alpha_i color and alpha of its i-th Gaussian and
T_i the transmittance before it:

    dL/dalpha_i = T_i (g . c_i) - D_i / (1 - alpha_i)
    D_i = the part of L that comes from behind i = T_end dL/dT_end + sum over j > i of w_j (g . c_j)

From the back, both T_i = T_{i + 1} / (1 - alpha_i) and D_i keep their relative precision; from the
front, D_i would be a small difference, divided by a small number where a Gaussian is opaque.
A strip's row holds [transmittance, D, g red, g green, g blue, last] x 8 lanes.
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.constants import ALPHA_MAX
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.composite import (
    AHEAD,
    RENEW_EVERY,
    ROW_NUMBERS,
    entry_color,
    entry_geometry,
    entry_rows,
)
from l4gm.splat.kernels.jit import VECTOR_MATH, kernel
from l4gm.splat.kernels.simd import (
    LANES,
    both,
    count_trailing_zeros,
    exp2,
    fetch_add,
    lane_numbers,
    less_equal,
    load,
    mask_bits,
    minimum,
    multiply_add,
    prefetch_row,
    splat,
    store,
    sum_lanes,
    sum_lanes_of_eight,
    where,
)

ROW_FLOATS = 6 * LANES
STRIP_FLOATS = rec.STRIP_ROWS * ROW_FLOATS

_f32 = np.float32
_THRESHOLD = _f32(rec.LOG2_ALPHA_MIN)
_ALPHA_MAX = _f32(ALPHA_MAX)


@kernel(fastmath=VECTOR_MATH)
def _load_row(rows, at, num_columns, background, views, plane, place):
    """Fill one row of a strip from the flat views and their gradients."""
    transmittances, last_drawn, grad_images, grad_alphas = views
    if num_columns == LANES:
        transmittance = load(transmittances, place[0])
        grad_transmittance = splat(_f32(0)) - load(grad_alphas, place[0])
        for channel in range(3):
            gradient = load(grad_images, place[1] + channel * plane)
            store(rows, at + (channel + 2) * LANES, gradient)
            grad_transmittance = multiply_add(
                gradient, splat(background[channel]), grad_transmittance
            )
        store(rows, at, transmittance)
        store(rows, at + LANES, transmittance * grad_transmittance)
        store(rows, at + 5 * LANES, load(last_drawn, place[0]))
        return
    for plane_in_row in range(6):
        store(rows, at + plane_in_row * LANES, splat(_f32(0 if plane_in_row < 5 else -1)))
    for lane in range(num_columns):
        total = -grad_alphas[place[0] + lane]
        for channel in range(3):
            gradient = grad_images[place[1] + channel * plane + lane]
            total += gradient * background[channel]
            rows[at + (channel + 2) * LANES + lane] = gradient
        rows[at + lane] = transmittances[place[0] + lane]
        rows[at + LANES + lane] = transmittances[place[0] + lane] * total
        rows[at + 5 * LANES + lane] = last_drawn[place[0] + lane]


@kernel
def _reached_rows(rows, num_rows, number):
    """The word of rows with a pixel where the entry of this number was drawn, or one behind it."""
    word = np.uint64(0)
    for row in range(num_rows):
        if mask_bits(less_equal(splat(_f32(number)), load(rows, row * ROW_FLOATS + 5 * LANES))):
            word |= np.uint64(1) << np.uint64(row)
    return word


@kernel
def _slot(entry, record_ints):
    """The place of an entry's sums among its pair's."""
    number = (entry >> rec.ENTRY_NUMBER_SHIFT) & rec.ENTRY_NUMBER_MASK
    return number + record_ints[np.uint64(entry >> rec.ENTRY_ID_SHIFT), rec.FIRST_SLOT]


@kernel(fastmath=VECTOR_MATH)
def _differentiate_strip(
    records, record_ints, entries, first, last, left, top, num_rows, rows, sums, last_sums
):
    """Gradient sums of entries [first, last), from the last on, into their slots."""
    zero, one = splat(_f32(0)), splat(_f32(1))
    threshold, alpha_max = splat(_THRESHOLD), splat(_ALPHA_MAX)
    centres = lane_numbers() + splat(_f32(left) + _f32(0.5))
    reached = np.uint64(0)
    for number in range(last - first - 1, -1, -1):
        place = first + number
        if number % RENEW_EVERY == RENEW_EVERY - 1 or place == last - 1:
            reached = _reached_rows(rows, num_rows, number - number % RENEW_EVERY)
        if number >= AHEAD:
            prefetch_row(records, entries[place - AHEAD] >> rec.ENTRY_ID_SHIFT)
        entry = entries[place]
        slot = np.uint64(_slot(entry, record_ints))
        todo = entry_rows(entry) & reached
        if todo == 0:
            store(sums, np.int64(slot * np.uint64(rec.SLOT_SIZE)), zero)
            last_sums[slot] = _f32(0)
            continue
        i = np.uint64(entry >> rec.ENTRY_ID_SHIFT)
        dx, peak, along_y, shift, offset_y = entry_geometry(records, i, centres, top)
        red, green, blue = entry_color(records, i)
        sum_red, sum_green, sum_blue = zero, zero, zero
        sum_s, sum_se, sum_see = zero, zero, zero
        now = splat(_f32(number))
        while todo != 0:
            row = count_trailing_zeros(todo)
            todo &= todo - np.uint64(1)
            at = np.int64(row * np.uint64(ROW_FLOATS))
            e = load(ROW_NUMBERS, np.int64(row * np.uint64(LANES))) + offset_y - shift
            exponent = multiply_add(along_y * e, e, peak)
            unclamped = exp2(exponent)
            alpha = minimum(unclamped, alpha_max)
            drawn = both(
                less_equal(threshold, exponent), less_equal(now, load(rows, at + 5 * LANES))
            )
            alpha = where(drawn, alpha, zero)
            remainder = one / (one - alpha)
            before = load(rows, at) * remainder
            store(rows, at, before)
            grad_red = load(rows, at + 2 * LANES)
            grad_green = load(rows, at + 3 * LANES)
            grad_blue = load(rows, at + 4 * LANES)
            along_color = multiply_add(
                red, grad_red, multiply_add(green, grad_green, blue * grad_blue)
            )
            behind = load(rows, at + LANES)
            weight = alpha * before
            store(rows, at + LANES, multiply_add(weight, along_color, behind))
            sum_red = multiply_add(weight, grad_red, sum_red)
            sum_green = multiply_add(weight, grad_green, sum_green)
            sum_blue = multiply_add(weight, grad_blue, sum_blue)
            grad_alpha = before * along_color - behind * remainder
            s = where(less_equal(unclamped, alpha_max), alpha * grad_alpha, zero)
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


@kernel
def differentiate_strips(
    counter, last_strip, size, grid, background,
    records, record_ints, strip_starts, strip_ends, entries, bases,  # of the forward stages
    views,  # flat: transmittances, last drawn, gradients of images and of alphas
    rows,  # scratch of this thread: [STRIP_FLOATS]
    sums, last_sums,  # out: [slots * SLOT_SIZE], [slots]
):  # fmt: skip
    """Worker: take strips of all pairs off the counter and fill the slots of their entries."""
    num_strips = grid[0] * grid[1]
    plane = size[0] * size[1]
    while True:
        first_strip = fetch_add(counter, 0) * rec.STRIPS_PER_TASK
        if first_strip >= last_strip:
            return
        for number in range(first_strip, min(first_strip + rec.STRIPS_PER_TASK, last_strip)):
            pair, strip = number // num_strips, number % num_strips
            left = (strip % grid[0]) << rec.STRIP_WIDTH_LOG2
            top = (strip // grid[0]) << rec.STRIP_ROWS_LOG2
            base = bases[pair]
            first = base + strip_starts[pair, strip]
            finished = base + strip_ends[pair, strip]
            last = base + strip_starts[pair, strip + 1]
            own_sums, own_last = sums[base * rec.SLOT_SIZE :], last_sums[base:]
            if finished > first:
                num_rows = min(rec.STRIP_ROWS, size[1] - top)
                num_columns = min(rec.STRIP_WIDTH, size[0] - left)
                for row in range(num_rows):
                    pixel = (top + row) * size[0] + left
                    place = pair * plane + pixel, 3 * pair * plane + pixel
                    _load_row(rows, row * ROW_FLOATS, num_columns, background, views, plane, place)
                _differentiate_strip(
                    records[pair], record_ints[pair], entries, first, finished, left, top, num_rows,
                    rows, own_sums, own_last,
                )  # fmt: skip
            for k in range(finished, last):
                slot = _slot(entries[k], record_ints[pair])
                own_sums[slot * rec.SLOT_SIZE : (slot + 1) * rec.SLOT_SIZE] = _f32(0)
                own_last[slot] = _f32(0)
