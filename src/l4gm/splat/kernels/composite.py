"""Stage 4: composite the entries of a strip front to back.

A strip's row holds [transmittance, red, green, blue, last] x 8 lanes; `last` is the number of the
last entry that was drawn there. A pixel that is finished has the sign bit of its transmittance set.
A word has one bit for each row with an unfinished pixel; it is renewed now and then, so that an
entry costs nothing where it is hidden and the loop over its rows has no branch to mispredict.
(A finished pixel may be drawn again: nothing changes.)
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.constants import ALPHA_MAX, TRANSMITTANCE_MIN
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import VECTOR_MATH, kernel
from l4gm.splat.kernels.simd import (
    LANES,
    absolute,
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

ROW_FLOATS = 5 * LANES
STRIP_FLOATS = rec.STRIP_ROWS * ROW_FLOATS
AHEAD = 6  # records asked for before they are needed
RENEW_EVERY = 16  # entries between two looks at which rows are finished
ROW_NUMBERS = np.repeat(np.arange(rec.STRIP_ROWS, dtype=np.float32), LANES)

_f32 = np.float32
_NOTHING = _f32(-1)
_ALL_ROWS = np.uint64(0xFFFFFFFFFFFFFFFF)
_THRESHOLD = _f32(rec.LOG2_ALPHA_MIN)
_ALPHA_MAX = _f32(ALPHA_MAX)
_TRANSMITTANCE_MIN = _f32(TRANSMITTANCE_MIN)


@kernel(fastmath=VECTOR_MATH)
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
        store(rows, at + 4 * LANES, splat(_NOTHING))


@kernel
def _unfinished_rows(rows, num_rows):
    """The word of rows whose pixels are not all finished."""
    word = np.uint64(0)
    for row in range(num_rows):
        if not all_signs_set(load(rows, row * ROW_FLOATS)):
            word |= np.uint64(1) << np.uint64(row)
    return word


@kernel
def entry_rows(entry):
    """The word of the rows of an entry."""
    first = np.uint64((entry >> rec.ENTRY_FIRST_SHIFT) & rec.ENTRY_ROW_MASK)
    beyond = np.uint64(rec.STRIP_ROWS - (entry & rec.ENTRY_ROW_MASK))
    return (_ALL_ROWS << first) & (_ALL_ROWS >> beyond)


@kernel(fastmath=VECTOR_MATH)
def entry_geometry(records, i, centres, top):
    """What the exponent of record i needs in a strip: dx, peak, along_y, shift, offset_y.

    In row y of the strip it is peak + along_y e^2 with e = (y + offset_y) - shift.
    """
    dx = centres - splat(records[i, rec.MEAN_X]) - splat(records[i, rec.FRACTION_X])
    peak = multiply_add(splat(records[i, rec.ALONG_X]) * dx, dx, splat(records[i, rec.LOG_OPACITY]))
    shift = multiply_add(
        splat(records[i, rec.SLANT]), dx, splat(records[i, rec.FRACTION_Y] - _f32(0.5))
    )
    # An integer, so that e is rounded only once.
    offset_y = splat(_f32(top) - records[i, rec.MEAN_Y])
    return dx, peak, splat(records[i, rec.ALONG_Y]), shift, offset_y


@kernel
def entry_color(records, i):
    """Red, green and blue of record i."""
    return (
        splat(records[i, rec.RED]),
        splat(records[i, rec.GREEN]),
        splat(records[i, rec.BLUE]),
    )


@kernel(fastmath=VECTOR_MATH)
def _composite_strip(records, entries, first, last, left, top, num_rows, rows):
    """Draw entries [first, last) until all pixels are finished; returns where it stopped."""
    zero = splat(_f32(0))
    threshold, alpha_max = splat(_THRESHOLD), splat(_ALPHA_MAX)
    transmittance_min = splat(_TRANSMITTANCE_MIN)
    centres = lane_numbers() + splat(_f32(left) + _f32(0.5))
    unfinished = _unfinished_rows(rows, num_rows)
    for place in range(first, last):
        if (place - first) % RENEW_EVERY == RENEW_EVERY - 1:
            unfinished = _unfinished_rows(rows, num_rows)
            if unfinished == 0:
                return place
        if place + AHEAD < last:
            prefetch_row(records, entries[place + AHEAD] >> rec.ENTRY_ID_SHIFT)
        entry = entries[place]
        todo = entry_rows(entry) & unfinished
        if todo == 0:
            continue
        i = np.uint64(entry >> rec.ENTRY_ID_SHIFT)
        _, peak, along_y, shift, offset_y = entry_geometry(records, i, centres, top)
        red, green, blue = entry_color(records, i)
        number = splat(_f32(place - first))
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
            drawn = both(seen, room)
            weight = where(drawn, weight, zero)
            store(rows, at, set_sign(before - weight, without(seen, room)))
            store(rows, at + LANES, multiply_add(weight, red, load(rows, at + LANES)))
            store(rows, at + 2 * LANES, multiply_add(weight, green, load(rows, at + 2 * LANES)))
            store(rows, at + 3 * LANES, multiply_add(weight, blue, load(rows, at + 3 * LANES)))
            store(rows, at + 4 * LANES, where(drawn, number, load(rows, at + 4 * LANES)))
    return last


@kernel(fastmath=VECTOR_MATH)
def _write_row(rows, at, num_columns, background, views, plane, place):
    """Put one row of a strip into the flat views."""
    images, alphas, transmittances, last_drawn = views
    if num_columns == LANES:
        transmittance = absolute(load(rows, at))
        store(transmittances, place[0], transmittance)
        store(alphas, place[0], splat(_f32(1)) - transmittance)
        store(last_drawn, place[0], load(rows, at + 4 * LANES))
        for channel in range(3):
            color = load(rows, at + (channel + 1) * LANES)
            color = multiply_add(transmittance, splat(background[channel]), color)
            store(images, place[1] + channel * plane, color)
        return
    for lane in range(num_columns):
        remaining = abs(rows[at + lane])
        transmittances[place[0] + lane] = remaining
        alphas[place[0] + lane] = _f32(1) - remaining
        last_drawn[place[0] + lane] = rows[at + 4 * LANES + lane]
        for channel in range(3):
            images[place[1] + channel * plane + lane] = (
                rows[at + (channel + 1) * LANES + lane] + remaining * background[channel]
            )


@kernel
def composite_strips(
    counter, last_strip, size, grid, background,
    records, strip_starts, entries, bases,  # of stages 1 and 3
    rows,  # scratch of this thread: [STRIP_FLOATS]
    views,  # out, flat: images [P * 3 * H * W]; alphas, transmittances, last_drawn [P * H * W]
    strip_ends,  # out: [P, strips], the entry before which a strip was finished, from the base
):  # fmt: skip
    """Worker: take strips of all pairs off the counter and draw them."""
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
                pixel = (top + row) * size[0] + left
                place = pair * plane + pixel, 3 * pair * plane + pixel
                _write_row(rows, row * ROW_FLOATS, num_columns, background, views, plane, place)
