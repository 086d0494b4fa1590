"""Stage 3: the list of entries of each strip of a pair, nearest first."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.jit import VECTOR_MATH, kernel
from l4gm.splat.kernels.project import strip_box
from l4gm.splat.kernels.simd import (
    LANES,
    both,
    fetch_add,
    greater,
    lane_numbers,
    less_equal,
    maximum,
    minimum,
    prefetch_row,
    splat,
    square_root,
    store_rounded,
    where,
)
from l4gm.splat.kernels.sort import sort_by_depth

_AHEAD = 8  # records asked for before they are needed
_f32 = np.float32
_ROW_MARGIN = _f32(1e-3)  # px, more than the rounding errors of a row range
_FARTHEST_ROW = _f32(2e6)  # rows are cut here before they become integers
_SMALLEST_EXTENT = _f32(1e-9)
_LOW_WORD = np.uint64(0xFFFFFFFF)


@kernel(fastmath=VECTOR_MATH)
def _rows_of_columns(record, column, ranges):
    """Rows on which a record can reach the least alpha, for eight columns of strips from `column`.

    The edge of the ellipse at offset dx is SLANT dx +- h(dx), with h = EXTENT_CENTRE
    sqrt(1 - (dx / EXTENT_X)^2). The upper edge is concave, so over an interval it is highest at an
    end, or at the ellipse's topmost point if that lies inside; the lower edge is its mirror image.

    Writes to `ranges` [16], relative to the integer part of the mean, first the eight first rows,
    then the eight rows after the last; a column without rows has them in the wrong order.
    """
    extent_x, extent_y = record[rec.EXTENT_X], record[rec.EXTENT_Y]
    slant, centre = splat(record[rec.SLANT]), splat(record[rec.EXTENT_CENTRE])
    # Offsets of the first and last pixel centres of a column from the mean, cut to the ellipse.
    origin = _f32(column * rec.STRIP_WIDTH) - record[rec.MEAN_X]
    edge = lane_numbers() * splat(_f32(rec.STRIP_WIDTH)) + splat(origin)
    edge = edge + splat(_f32(0.5) - record[rec.FRACTION_X])
    left = maximum(edge, splat(-extent_x))
    right = minimum(edge + splat(_f32(rec.STRIP_WIDTH - 1)), splat(extent_x))
    one, zero = splat(_f32(1)), splat(_f32(0))
    inverse = splat(_f32(1) / max(extent_x, _SMALLEST_EXTENT))
    ratio_left, ratio_right = left * inverse, right * inverse
    half_left = centre * square_root(maximum(one - ratio_left * ratio_left, zero))
    half_right = centre * square_root(maximum(one - ratio_right * ratio_right, zero))
    slope_left, slope_right = slant * left, slant * right
    above = maximum(slope_left + half_left, slope_right + half_right)
    below = minimum(slope_left - half_left, slope_right - half_right)
    at_top = splat(record[rec.SLANT] * extent_x * (extent_x / max(extent_y, _SMALLEST_EXTENT)))
    at_bottom = zero - at_top
    top_inside = both(less_equal(left, at_top), less_equal(at_top, right))
    bottom_inside = both(less_equal(left, at_bottom), less_equal(at_bottom, right))
    above = where(top_inside, splat(extent_y), above)
    below = where(bottom_inside, splat(-extent_y), below)
    # The pixel centre of row y lies at y + 1/2: the first row is `below` rounded, and so on.
    margin, fraction = splat(_ROW_MARGIN), splat(record[rec.FRACTION_Y])
    none = greater(left, right)
    above = where(none, splat(-_FARTHEST_ROW), above + margin + fraction)
    below = where(none, splat(_FARTHEST_ROW), below - margin + fraction)
    store_rounded(ranges, 0, maximum(below, splat(-_FARTHEST_ROW)))
    store_rounded(ranges, LANES, minimum(above, splat(_FARTHEST_ROW)))


@kernel
def _emit_entries(
    records, record_ints, order, count, chunk_slots, size, grid,
    ranges, strips, entries, starts, slots,
):  # fmt: skip
    """All entries of a pair in depth order, and their strips; counts both ways."""
    num = 0
    for place in range(count):
        if place + _AHEAD < count:
            prefetch_row(records, np.int64(order[place + _AHEAD] & _LOW_WORD))
        i = np.int64(order[place] & _LOW_WORD)
        record_ints[i, rec.FIRST_SLOT] += chunk_slots[i // rec.CHUNK]
        column0, column1, least_y, most_y = strip_box(records[i], size)
        mean_row = np.int64(records[i, rec.MEAN_Y])
        number = 0
        for column in range(column0, column1 + 1):
            lane = (column - column0) % LANES
            if lane == 0:
                _rows_of_columns(records[i], column, ranges)
            y0 = max(mean_row + ranges[lane], least_y)
            y1 = min(mean_row + ranges[LANES + lane], most_y + 1)
            if y1 <= y0:
                continue
            for row in range(y0 >> rec.STRIP_ROWS_LOG2, ((y1 - 1) >> rec.STRIP_ROWS_LOG2) + 1):
                top = row << rec.STRIP_ROWS_LOG2
                strip = row * grid[0] + column
                strips[num] = strip
                entries[num] = (
                    (i << rec.ENTRY_ID_SHIFT)
                    | (number << rec.ENTRY_NUMBER_SHIFT)
                    | (max(y0 - top, 0) << rec.ENTRY_FIRST_SHIFT)
                    | min(y1 - top, rec.STRIP_ROWS)
                )
                starts[strip + 1] += 1
                num += 1
                number += 1
        slots[i, 0] = record_ints[i, rec.FIRST_SLOT]
        slots[i, 1] = number
    return num


@kernel
def bin_pairs(
    counter, last_pair, size, grid,
    records, record_ints, depths,  # of stage 1
    chunk_slots,  # [P, chunks], where a chunk's slots start in its pair's
    bases,  # [P], where a pair's entries start in the list
    keys, histogram, strips, unsorted, cursors,  # scratch of this thread
    strip_starts,  # out: [P, strips + 1], from the pair's base
    entries,  # out: [all entries], by pair, strip and depth
    slots,  # out: [P, N, 2], the first slot of a Gaussian, from the base, and their number
):  # fmt: skip
    """Worker: take pairs off the counter; sort each by depth, and its entries by strip."""
    ranges = np.empty(2 * LANES, np.int32)
    while True:
        pair = fetch_add(counter, 0)
        if pair >= last_pair:
            return
        starts = strip_starts[pair]
        starts[:] = 0
        slots[pair, :, :] = 0
        order, count = sort_by_depth(depths[pair], keys, histogram)
        num = _emit_entries(
            records[pair], record_ints[pair], order, count, chunk_slots[pair], size, grid,
            ranges, strips, unsorted, starts, slots[pair],
        )  # fmt: skip
        for strip in range(grid[0] * grid[1]):
            starts[strip + 1] += starts[strip]
            cursors[strip] = starts[strip] + bases[pair]
        for k in range(num):
            place = cursors[strips[k]]
            cursors[strips[k]] = place + 1
            entries[place] = unsorted[k]
