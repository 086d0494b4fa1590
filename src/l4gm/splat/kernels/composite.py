"""Stage 4: composite the entries of a strip front to back.

A strip's row holds [transmittance, red, green, blue] x 8 lanes. A pixel that is finished has the
sign bit of its transmittance set; a row whose eight pixels are finished is skipped.
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
_CHECK_EVERY = 16  # entries between two looks whether the whole strip is finished

_f32 = np.float32
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
def _finished(rows, num_rows):
    for at in range(0, num_rows * ROW_FLOATS, ROW_FLOATS):  # noqa: SIM110 (Numba has no all())
        if not all_signs_set(load(rows, at)):
            return False
    return True


@njit(cache=True, error_model="numpy", nogil=True, fastmath={"contract", "nsz"})
def _composite_strip(records, entries, first, last, left, top, num_rows, rows):
    """Draw entries [first, last) until all pixels are finished; returns where it stopped."""
    zero, one = splat(_f32(0)), splat(_f32(1))
    threshold, alpha_max = splat(_THRESHOLD), splat(_ALPHA_MAX)
    transmittance_min = splat(_TRANSMITTANCE_MIN)
    lanes = lane_numbers()
    for place in range(first, last):
        if place + AHEAD < last:
            prefetch_row(records, entries[place + AHEAD] >> rec.ENTRY_RANK_SHIFT)
        entry = entries[place]
        rank = np.uint64(entry >> rec.ENTRY_RANK_SHIFT)
        row0 = (entry >> rec.ENTRY_FIRST_SHIFT) & rec.ENTRY_ROW_MASK
        row1 = entry & rec.ENTRY_ROW_MASK
        offset_x = _f32(left) + _f32(0.5) - records[rank, rec.MEAN_X]
        offset_y = _f32(top + row0) + _f32(0.5) - records[rank, rec.MEAN_Y]
        dx = lanes + splat(offset_x) - splat(records[rank, rec.FRACTION_X])
        peak = multiply_add(
            splat(records[rank, rec.ALONG_X]) * dx, dx, splat(records[rank, rec.LOG_OPACITY])
        )
        along_y = splat(records[rank, rec.ALONG_Y])
        shift = multiply_add(
            splat(records[rank, rec.SLANT]), dx, splat(records[rank, rec.FRACTION_Y])
        )
        e = splat(offset_y) - shift
        red, green, blue = (
            splat(records[rank, rec.RED]),
            splat(records[rank, rec.GREEN]),
            splat(records[rank, rec.BLUE]),
        )
        for at in range(row0 * ROW_FLOATS, row1 * ROW_FLOATS, ROW_FLOATS):
            before = load(rows, at)
            if not all_signs_set(before):
                exponent = multiply_add(along_y * e, e, peak)
                weight = minimum(exp2(exponent), alpha_max) * before
                seen = less_equal(threshold, exponent)
                room = greater(before - weight, transmittance_min)
                weight = where(both(seen, room), weight, zero)
                store(rows, at, set_sign(before - weight, without(seen, room)))
                store(rows, at + LANES, multiply_add(weight, red, load(rows, at + LANES)))
                store(rows, at + 2 * LANES, multiply_add(weight, green, load(rows, at + 2 * LANES)))
                store(rows, at + 3 * LANES, multiply_add(weight, blue, load(rows, at + 3 * LANES)))
            e = e + one
        if (place - first) % _CHECK_EVERY == _CHECK_EVERY - 1 and _finished(rows, num_rows):
            return place + 1
    return last


@njit(cache=True, error_model="numpy", nogil=True)
def composite_strips(
    counter, last_task, size, grid, background,
    records, strip_starts, entries, bases,  # of stages 2 and 3
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
