"""Stage 4: composite the entries of a strip front to back.

A strip's row holds [transmittance, red, green, blue] x 8 lanes. A pixel that is finished has the
sign bit of its transmittance set. A word has one bit for each row with an unfinished pixel; it is
renewed now and then, so that an entry costs nothing where it is hidden and the loop over its rows
has no branch to mispredict. (A finished pixel may be drawn again: nothing changes.)
"""

from __future__ import annotations

import numpy as np
from numba import njit

from l4gm.splat.constants import ALPHA_MAX, TRANSMITTANCE_MIN
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.simd import (
    LANES,
    all_signs_set,
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
    where,
    without,
)

ROW_FLOATS = 4 * LANES
AHEAD = 6  # records asked for before they are needed
RENEW_EVERY = 16  # entries between two looks at which rows are finished
ROW_NUMBERS = np.repeat(np.arange(rec.STRIP_ROWS, dtype=np.float32), LANES)

_f32 = np.float32
_ALL_ROWS = np.uint64(0xFFFFFFFFFFFFFFFF)
_THRESHOLD = _f32(rec.LOG2_ALPHA_MIN)
_ALPHA_MAX = _f32(ALPHA_MAX)
_TRANSMITTANCE_MIN = _f32(TRANSMITTANCE_MIN)


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "nsz"})
def _clear_strip(rows, num_rows, num_columns):
    """Nothing drawn yet; pixels right of the image count as finished."""
    transmittance = where(
        greater(splat(_f32(num_columns)), lane_numbers()), splat(_f32(1)), splat(_f32(-1))
    )
    zero = splat(_f32(0))
    for at in range(0, num_rows * ROW_FLOATS, ROW_FLOATS):
        store(rows, at, transmittance)
        store(rows, at + LANES, zero)
        store(rows, at + 2 * LANES, zero)
        store(rows, at + 3 * LANES, zero)


@njit(cache=True, error_model="numpy", nogil=True)
def unfinished_rows(rows, num_rows, row_floats):
    """The word of rows whose pixels are not all finished."""
    word = np.uint64(0)
    for row in range(num_rows):
        if not all_signs_set(load(rows, row * row_floats)):
            word |= np.uint64(1) << np.uint64(row)
    return word


@njit(cache=True, error_model="numpy", nogil=True)
def entry_rows(entry):
    """The word of the rows of an entry."""
    first = np.uint64((entry >> rec.ENTRY_FIRST_SHIFT) & rec.ENTRY_ROW_MASK)
    beyond = np.uint64(rec.STRIP_ROWS - (entry & rec.ENTRY_ROW_MASK))
    return (_ALL_ROWS << first) & (_ALL_ROWS >> beyond)


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "nsz"})
def _composite_strip(records, entries, first, last, left, top, num_rows, rows):
    """Draw entries [first, last) until all pixels are finished; returns where it stopped."""
    zero = splat(_f32(0))
    threshold, alpha_max = splat(_THRESHOLD), splat(_ALPHA_MAX)
    transmittance_min = splat(_TRANSMITTANCE_MIN)
    centres = lane_numbers() + splat(_f32(left) + _f32(0.5))
    unfinished = unfinished_rows(rows, num_rows, ROW_FLOATS)
    for place in range(first, last):
        if (place - first) % RENEW_EVERY == RENEW_EVERY - 1:
            unfinished = unfinished_rows(rows, num_rows, ROW_FLOATS)
            if unfinished == 0:
                return place
        if place + AHEAD < last:
            prefetch_row(records, entries[place + AHEAD] >> rec.ENTRY_ID_SHIFT)
        entry = entries[place]
        todo = entry_rows(entry) & unfinished
        if todo == 0:
            continue
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
        while todo != 0:
            row = count_trailing_zeros(todo)
            todo &= todo - np.uint64(1)
            at = np.int64(row * np.uint64(ROW_FLOATS))
            e = load(ROW_NUMBERS, np.int64(row * np.uint64(LANES))) + offset_y - shift
            before = load(rows, at)
            exponent = multiply_add(along_y * e, e, peak)
            weight = minimum(exp2(exponent), alpha_max) * before
            seen = less_equal(threshold, exponent)
            room = greater(before - weight, transmittance_min)
            weight = where(both(seen, room), weight, zero)
            store(rows, at, set_sign(before - weight, without(seen, room)))
            store(rows, at + LANES, multiply_add(weight, red, load(rows, at + LANES)))
            store(rows, at + 2 * LANES, multiply_add(weight, green, load(rows, at + 2 * LANES)))
            store(rows, at + 3 * LANES, multiply_add(weight, blue, load(rows, at + 3 * LANES)))
    return last


@njit(cache=True, error_model="numpy", nogil=True)
def composite_strips(
    counter, last_task, size, grid, background,
    records, strip_starts, entries, bases,  # of stages 1 and 3
    rows,  # scratch of this thread: [STRIP_ROWS * ROW_FLOATS]
    images, transmittances,  # out: [P, 3, H, W], [P, H, W]
    strip_ends,  # out: [P, strips], the entry before which a strip was finished, from the base
):  # fmt: skip
    """Worker: take (pair, strip) tasks off the counter and draw them."""
    num_strips = grid[0] * grid[1]
    while True:
        task = fetch_add(counter, 0)
        if task >= last_task:
            return
        pair, strip = task // num_strips, task % num_strips
        left = (strip % grid[0]) << rec.STRIP_WIDTH_LOG2
        top = (strip // grid[0]) << rec.STRIP_ROWS_LOG2
        num_columns = min(rec.STRIP_WIDTH, size[0] - left)
        num_rows = min(rec.STRIP_ROWS, size[1] - top)
        base = bases[pair]
        _clear_strip(rows, num_rows, num_columns)
        strip_ends[pair, strip] = (
            _composite_strip(
                records[pair], entries, base + strip_starts[pair, strip],
                base + strip_starts[pair, strip + 1], left, top, num_rows, rows,
            ) - base
        )  # fmt: skip
        for row in range(num_rows):
            for column in range(num_columns):
                at = row * ROW_FLOATS + column
                transmittance = abs(rows[at])
                y, x = top + row, left + column
                transmittances[pair, y, x] = transmittance
                for channel in range(3):
                    images[pair, channel, y, x] = (
                        rows[at + (channel + 1) * LANES] + transmittance * background[channel]
                    )
