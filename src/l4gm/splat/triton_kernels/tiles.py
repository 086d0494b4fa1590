"""Stage 2: which tiles a Gaussian touches, and the list of entries.

Where alpha reaches the threshold is an ellipse, L + ALONG_X dx^2 + ALONG_Y e^2 >= 0. It is found
from the record as it is written, in float32 and a little too large: an entry too many costs only
time. In one row of tiles an ellipse touches neighbouring columns, from its leftmost to its
rightmost point within the row.
"""

from __future__ import annotations

import triton
import triton.language as tl

from l4gm.splat.triton_kernels.layout import (
    ALONG_X,
    ALONG_Y,
    DEPTH_BITS,
    FRACTION_X,
    FRACTION_Y,
    LOG2_ALPHA_MIN,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    RECORD_SIZE,
    SLANT,
    TILE,
)

# More than the rounding errors of an ellipse: relative and absolute in the exponent, and in px.
_EXPONENT_MARGIN = tl.constexpr(1e-5)
_MARGIN_PX = tl.constexpr(2e-3)


@triton.jit
def ellipse(along_x, slant, along_y, log_opacity):
    """L and the (positive) factors of the ellipse, and its extents along x and y in px."""
    level = (log_opacity - LOG2_ALPHA_MIN) * (1.0 + _EXPONENT_MARGIN) + _EXPONENT_MARGIN
    extent_x = tl.sqrt(level / -along_x)
    extent_y = tl.sqrt(level / -along_y + (slant * extent_x) * (slant * extent_x))
    return level, -along_x, slant, -along_y, extent_x, extent_y


@triton.jit
def _pixel_range(low, high, whole, fraction, size):
    """First and last pixel whose centres lie between two offsets from the mean, cut to the image.

    As floating-point numbers, which may lie in the wrong order: then there are none.
    """
    first = whole + tl.ceil(low + fraction - (0.5 + _MARGIN_PX))
    last = whole + tl.floor(high + fraction - (0.5 - _MARGIN_PX))
    return tl.maximum(first, 0.0), tl.minimum(last, size - 1.0)


@triton.jit
def rows_of_ellipse(shape, whole_y, fraction_y, height):
    """First and last row of tiles that an ellipse can touch; last < first if there is none."""
    first, last = _pixel_range(-shape[5], shape[5], whole_y, fraction_y, height)
    found = first <= last
    first = tl.where(found, first, 0.0).to(tl.int32) // TILE
    last = tl.where(found, last, 0.0).to(tl.int32) // TILE
    return first, tl.where(found, last, first - 1)


@triton.jit
def columns_of_row(shape, whole_x, fraction_x, whole_y, fraction_y, row, width):
    """First column and number of columns of tiles that an ellipse touches in a row of tiles.

    At height d the ellipse reaches from (k - h) / q to (k + h) / q, with q = ax + ay slant^2,
    k = ay slant d and h^2 = q L - ax ay d^2. The right end is concave in d: over the row it is
    farthest at the height of the ellipse's rightmost point, or as near to it as the row comes.
    """
    level, ax, slant, ay, extent_x, _ = shape
    top = (row * TILE).to(tl.float32) - whole_y - fraction_y + 0.5
    bottom = top + (TILE - 1.0)
    farthest = slant * extent_x
    to_right = tl.minimum(tl.maximum(farthest, top), bottom)
    to_left = tl.minimum(tl.maximum(-farthest, top), bottom)
    q = ax + ay * slant * slant
    square_right = q * level - ax * to_right * (ay * to_right)
    square_left = q * level - ax * to_left * (ay * to_left)
    right = (ay * slant * to_right + tl.sqrt(tl.maximum(square_right, 0.0))) / q
    left = (ay * slant * to_left - tl.sqrt(tl.maximum(square_left, 0.0))) / q
    first, last = _pixel_range(left, right, whole_x, fraction_x, width)
    found = (first <= last) & (square_right >= 0.0) & (square_left >= 0.0)
    first_column = tl.where(found, first, 0.0).to(tl.int32) // TILE
    last_column = tl.where(found, last, 0.0).to(tl.int32) // TILE
    return first_column, tl.where(found, last_column - first_column + 1, 0)


@triton.jit(do_not_specialize=["num_entries", "num_gaussians", "num_pairs", "width", "height"])
def list_entries(
    records, depths,  # of stage 1
    starts,  # [P N + 1] int64, where each Gaussian's entries start
    owners,  # [entries] int64, the record of each
    keys,  # out: [entries] int64, number of the tile << DEPTH_BITS | depth
    num_entries, num_gaussians, num_pairs, width, height,
    block: tl.constexpr,
):  # fmt: skip
    """Program: a block of entries, each of which looks up its own tile."""
    entry = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    mask = entry < num_entries
    owner = tl.load(owners + entry, mask=mask, other=0)
    rank = (entry - tl.load(starts + owner)).to(tl.int32)
    record = records + owner * RECORD_SIZE
    whole_x, fraction_x = tl.load(record + MEAN_X), tl.load(record + FRACTION_X)
    whole_y, fraction_y = tl.load(record + MEAN_Y), tl.load(record + FRACTION_Y)
    shape = ellipse(
        tl.load(record + ALONG_X), tl.load(record + SLANT), tl.load(record + ALONG_Y),
        tl.load(record + LOG_OPACITY),
    )  # fmt: skip
    first_row, last_row = rows_of_ellipse(shape, whole_y, fraction_y, height)
    row, column = first_row, tl.zeros_like(first_row) - 1
    step = tl.max(tl.where(mask, last_row - first_row, -1), 0)
    while step >= 0:
        first, number = columns_of_row(shape, whole_x, fraction_x, whole_y, fraction_y, row, width)
        searching = column < 0
        column = tl.where(searching & (rank < number), first + rank, column)
        rank = tl.where(searching, rank - number, rank)
        row = tl.where(column < 0, row + 1, row)
        step -= 1
    # Should two compilations of the same arithmetic ever round apart, an entry without a tile goes
    # behind all tiles, where nothing reads it.
    columns, rows = tl.cdiv(width, TILE), tl.cdiv(height, TILE)
    tiles = columns * rows
    tile = (owner // num_gaussians) * tiles + row * columns + column
    tile = tl.where(column >= 0, tile, num_pairs.to(tl.int64) * tiles)
    key = (tile << DEPTH_BITS) | tl.load(depths + owner)
    tl.store(keys + entry, key, mask=mask)
