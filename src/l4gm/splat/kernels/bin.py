"""Stage 3 of a pair: the list of entries of each strip, nearest first."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.project import pixel_range
from l4gm.splat.kernels.simd import fetch_add


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
def _emit_entries(records, ids, count, size, grid, strips, entries, strip_starts, slots):
    """All entries of a pair in depth order, with their strips; counts them per strip and per id."""
    num = 0
    for rank in range(count):
        record = records[rank]
        mean_x = np.float64(record[rec.MEAN_X]) + np.float64(record[rec.FRACTION_X])
        mean_y = np.float64(record[rec.MEAN_Y]) + np.float64(record[rec.FRACTION_Y])
        x0, x1 = pixel_range(mean_x, np.float64(record[rec.EXTENT_X]), size[0])
        first_slot = num
        for column in range(x0 >> rec.STRIP_WIDTH_LOG2, (x1 >> rec.STRIP_WIDTH_LOG2) + 1):
            y0, y1 = _column_rows(record, mean_x, mean_y, column, size[1])
            if y1 < y0:
                continue
            for row in range(y0 >> rec.STRIP_ROWS_LOG2, (y1 >> rec.STRIP_ROWS_LOG2) + 1):
                top = row << rec.STRIP_ROWS_LOG2
                first = max(y0 - top, 0)
                after = min(y1 + 1 - top, rec.STRIP_ROWS)
                strip = row * grid[0] + column
                strips[num] = strip
                entries[num] = (
                    (rank << rec.ENTRY_RANK_SHIFT) | (first << rec.ENTRY_FIRST_SHIFT) | after
                )
                strip_starts[strip + 1] += 1
                num += 1
        slots[ids[rank], 0] = first_slot
        slots[ids[rank], 1] = num - first_slot
    return num


@njit(cache=True, error_model="numpy", nogil=True)
def bin_pairs(
    counter, last_pair, size, grid,
    records, ids, counts,  # of stages 1 and 2
    bases,  # [P], where a pair's entries start in the lists
    strips, unsorted, cursors,  # scratch of this thread: [most entries] twice, [strips]
    strip_starts,  # out: [P, strips + 1], from the pair's base
    entries, entry_slots,  # out: [all entries], by pair, strip and depth
    id_slots,  # out: [P, N, 2], each Gaussian's first slot from the pair's base, and their number
):  # fmt: skip
    """Worker: take pairs off the counter; sort each pair's entries by strip."""
    while True:
        pair = fetch_add(counter, 0)
        if pair >= last_pair:
            return
        starts = strip_starts[pair]
        starts[:] = 0
        id_slots[pair, :, :] = 0
        num = _emit_entries(
            records[pair], ids[pair], counts[pair, 0], size, grid,
            strips, unsorted, starts, id_slots[pair],
        )  # fmt: skip
        for strip in range(grid[0] * grid[1]):
            starts[strip + 1] += starts[strip]
            cursors[strip] = starts[strip] + bases[pair]
        for slot in range(num):
            place = cursors[strips[slot]]
            cursors[strips[slot]] = place + 1
            entries[place] = unsorted[slot]
            entry_slots[place] = slot
