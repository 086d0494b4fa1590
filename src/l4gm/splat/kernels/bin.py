"""Stage 3: the list of entries of each strip of a pair, nearest first."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.project import pixel_range
from l4gm.splat.kernels.simd import fetch_add, prefetch_row
from l4gm.splat.kernels.sort import sort_by_depth

_AHEAD = 8  # records asked for before they are needed
_LOW_WORD = np.uint64(0xFFFFFFFF)


@njit(cache=True, error_model="numpy", nogil=True)
def _column_rows(record, mean_x, mean_y, column, height):
    """Image rows on which a record can reach the least alpha within a column of strips.

    The edge of the ellipse at offset dx is SLANT dx +- h(dx), with h = EXTENT_CENTRE
    sqrt(1 - (dx / EXTENT_X)^2). The upper edge is concave, so over an interval it is highest at an
    end, or at the ellipse's topmost point if that lies inside; the lower edge is its mirror image.
    """
    extent_x, extent_y = np.float64(record[rec.EXTENT_X]), np.float64(record[rec.EXTENT_Y])
    left = max(column * rec.STRIP_WIDTH + 0.5 - mean_x, -extent_x)
    right = min(column * rec.STRIP_WIDTH + rec.STRIP_WIDTH - 0.5 - mean_x, extent_x)
    if left > right:
        return 0, -1
    slant, centre = np.float64(record[rec.SLANT]), np.float64(record[rec.EXTENT_CENTRE])
    inverse = 1.0 / extent_x if extent_x > 0.0 else 0.0
    height_left = centre * math.sqrt(max(1.0 - (left * inverse) ** 2, 0.0))
    height_right = centre * math.sqrt(max(1.0 - (right * inverse) ** 2, 0.0))
    top = max(slant * left + height_left, slant * right + height_right)
    bottom = min(slant * left - height_left, slant * right - height_right)
    at_top = slant * extent_x * extent_x / extent_y if extent_y > 0.0 else 0.0
    if left <= at_top <= right:
        top = extent_y
    if left <= -at_top <= right:
        bottom = -extent_y
    middle = 0.5 * (top + bottom)
    return pixel_range(mean_y + middle, top - middle, height)


@njit(cache=True, error_model="numpy", nogil=True)
def _emit_entries(
    records, record_ints, order, count, chunk_slots, size, grid, strips, entries, starts, num_slots
):
    """All entries of a pair in depth order, with their strips; counts them by strip and Gaussian."""
    num = 0
    for place in range(count):
        if place + _AHEAD < count:
            prefetch_row(records, np.int64(order[place + _AHEAD] & _LOW_WORD))
        i = np.int64(order[place] & _LOW_WORD)
        record = records[i]
        record_ints[i, rec.FIRST_SLOT] += chunk_slots[i // rec.CHUNK]
        mean_x = np.float64(record[rec.MEAN_X]) + np.float64(record[rec.FRACTION_X])
        mean_y = np.float64(record[rec.MEAN_Y]) + np.float64(record[rec.FRACTION_Y])
        x0, x1 = pixel_range(mean_x, np.float64(record[rec.EXTENT_X]), size[0])
        first = num
        for column in range(x0 >> rec.STRIP_WIDTH_LOG2, (x1 >> rec.STRIP_WIDTH_LOG2) + 1):
            y0, y1 = _column_rows(record, mean_x, mean_y, column, size[1])
            if y1 < y0:
                continue
            for row in range(y0 >> rec.STRIP_ROWS_LOG2, (y1 >> rec.STRIP_ROWS_LOG2) + 1):
                top = row << rec.STRIP_ROWS_LOG2
                strip = row * grid[0] + column
                strips[num] = strip
                entries[num] = (
                    (i << rec.ENTRY_ID_SHIFT)
                    | ((num - first) << rec.ENTRY_NUMBER_SHIFT)
                    | (max(y0 - top, 0) << rec.ENTRY_FIRST_SHIFT)
                    | min(y1 + 1 - top, rec.STRIP_ROWS)
                )
                starts[strip + 1] += 1
                num += 1
        num_slots[i] = num - first
    return num


@njit(cache=True, error_model="numpy", nogil=True)
def bin_pairs(
    counter, last_pair, size, grid,
    records, record_ints, depths,  # of stage 1
    chunk_slots,  # [P, chunks], where a chunk's slots start in its pair's
    bases,  # [P], where a pair's entries start in the list
    keys, histogram, strips, unsorted, cursors,  # scratch of this thread
    strip_starts,  # out: [P, strips + 1], from the pair's base
    entries,  # out: [all entries], by pair, strip and depth
    num_slots,  # out: [P, N], how many entries a Gaussian has
):  # fmt: skip
    """Worker: take pairs off the counter; sort each by depth, and its entries by strip."""
    while True:
        pair = fetch_add(counter, 0)
        if pair >= last_pair:
            return
        starts = strip_starts[pair]
        starts[:] = 0
        num_slots[pair, :] = 0
        order, count = sort_by_depth(depths[pair], keys, histogram)
        num = _emit_entries(
            records[pair], record_ints[pair], order, count, chunk_slots[pair], size, grid,
            strips, unsorted, starts, num_slots[pair],
        )  # fmt: skip
        for strip in range(grid[0] * grid[1]):
            starts[strip + 1] += starts[strip]
            cursors[strip] = starts[strip] + bases[pair]
        for k in range(num):
            place = cursors[strips[k]]
            cursors[strips[k]] = place + 1
            entries[place] = unsorted[k]
