"""Stage 3: draw the entries of each tile, front to back."""

from __future__ import annotations

import triton
import triton.language as tl

from l4gm.splat.triton_kernels.layout import (
    ALONG_X,
    ALONG_Y,
    ALPHA_MAX,
    BLUE,
    FRACTION_X,
    FRACTION_Y,
    GREEN,
    LOG2_ALPHA_MIN,
    LOG_OPACITY,
    MEAN_X,
    MEAN_Y,
    RECORD_SIZE,
    RED,
    SLANT,
    TILE,
    TRANSMITTANCE_MIN,
)

# Entries between two looks whether the whole tile is finished.
_LOOK_EVERY = tl.constexpr(16)


@triton.jit
def tile_place(tile, width, height):
    """Pair, and left and top pixel, of a tile."""
    columns = tl.cdiv(width, TILE)
    tiles = columns * tl.cdiv(height, TILE)
    in_pair = tile % tiles
    return (tile // tiles).to(tl.int64), (in_pair % columns) * TILE, (in_pair // columns) * TILE


@triton.jit
def load_record(records, i):
    """The eleven numbers of a record."""
    record = records + i.to(tl.int64) * RECORD_SIZE
    return (
        tl.load(record + MEAN_X), tl.load(record + MEAN_Y),
        tl.load(record + FRACTION_X), tl.load(record + FRACTION_Y),
        tl.load(record + ALONG_X), tl.load(record + SLANT), tl.load(record + ALONG_Y),
        tl.load(record + LOG_OPACITY),
        tl.load(record + RED), tl.load(record + GREEN), tl.load(record + BLUE),
    )  # fmt: skip


@triton.jit
def entry_geometry(record, x, left, top):
    """What a record needs in a tile: dx and peak, along x; along_y; and base.

    In row y of the tile log2(alpha) is peak + along_y e^2 with e = y + base.
    """
    dx = (x + (left - record[MEAN_X])) - record[FRACTION_X]
    peak = record[ALONG_X] * dx * dx + record[LOG_OPACITY]
    shift = record[SLANT] * dx + (record[FRACTION_Y] - 0.5)
    base = (top - record[MEAN_Y]) - shift
    return dx, peak, record[ALONG_Y], base


@triton.jit(do_not_specialize=["width", "height"])
def composite(
    records,  # of stage 1
    ids,  # [entries] int32, the records by tile and depth
    tile_starts,  # [tiles of all pairs + 1] int64
    background,  # [3] float32
    images, alphas,  # out: [P, 3, H, W] and [P, H, W] float32
    transmittances,  # out: [P, H, W] float32; 1 - alpha would not keep its precision
    last_drawn,  # out: [P, H, W] int32, number in the tile of the last entry drawn, or -1
    width, height,
):  # fmt: skip
    """Program: one tile. A finished pixel's transmittance is kept with a minus sign."""
    tile = tl.program_id(0)
    pair, left, top = tile_place(tile, width, height)
    columns, rows = tl.arange(0, TILE), tl.arange(0, TILE)
    x, y = columns.to(tl.float32)[None, :] + 0.5, rows.to(tl.float32)[:, None]
    inside = ((left + columns) < width)[None, :] & ((top + rows) < height)[:, None]
    transmittance = tl.where(inside, 1.0, -1.0)
    red = tl.zeros([TILE, TILE], tl.float32)
    green = tl.zeros([TILE, TILE], tl.float32)
    blue = tl.zeros([TILE, TILE], tl.float32)
    last = tl.full([TILE, TILE], -1, tl.int32)

    start = tl.load(tile_starts + tile)
    number = (tl.load(tile_starts + tile + 1) - start).to(tl.int32)
    ids += start
    # The next record and the id after it are on their way while one is drawn.
    record = load_record(records, tl.load(ids, mask=number > 0, other=0))
    following = tl.load(ids + 1, mask=number > 1, other=0)
    first = 0
    while first < number:
        stop = tl.minimum(first + _LOOK_EVERY, number)
        for k in range(first, stop):
            next_record = load_record(records, following)
            following = tl.load(ids + k + 2, mask=k + 2 < number, other=0)
            _, peak, along_y, base = entry_geometry(record, x, left, top)
            e = y + base
            exponent = along_y * e * e + peak
            weight = tl.minimum(tl.exp2(exponent), ALPHA_MAX) * transmittance
            after = transmittance - weight
            seen = exponent >= LOG2_ALPHA_MIN
            drawn = seen & (after > TRANSMITTANCE_MIN)
            weight = tl.where(drawn, weight, 0.0)
            stopped = tl.where(seen, -tl.abs(transmittance), transmittance)
            transmittance = tl.where(drawn, after, stopped)
            red += weight * record[RED]
            green += weight * record[GREEN]
            blue += weight * record[BLUE]
            last = tl.where(drawn, k, last)
            record = next_record
        unfinished = tl.max(transmittance) > 0.0
        first = tl.where(unfinished, stop, number)

    transmittance = tl.abs(transmittance)
    plane = width.to(tl.int64) * height
    pixel = (top + rows)[:, None] * width + (left + columns)[None, :]
    image = images + pair * 3 * plane + pixel
    tl.store(image, red + transmittance * tl.load(background), mask=inside)
    tl.store(image + plane, green + transmittance * tl.load(background + 1), mask=inside)
    tl.store(image + 2 * plane, blue + transmittance * tl.load(background + 2), mask=inside)
    tl.store(alphas + pair * plane + pixel, 1.0 - transmittance, mask=inside)
    tl.store(transmittances + pair * plane + pixel, transmittance, mask=inside)
    tl.store(last_drawn + pair * plane + pixel, last, mask=inside)
