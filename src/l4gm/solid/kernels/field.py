"""The field whose zero is the surface: the network's level, fine and calm, cut by the outline.

Stored by columns along the rays, level [L, L, D] and rim [L, L]: a cell is inside where both its
level and its column's rim are positive, so the field is min(level, rim) there. All arrays end
where the image ends; beyond is outside, so objects that touch the border are closed there.
"""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

LIMIT = np.float32(4.0)  # levels are squashed to +- this: certainty says nothing about distance
LIFT = np.float32(0.4)  # every ray of the object reaches this level somewhere
RIM_GAIN = np.float32(16.0)  # of the rim, per unit of alpha: +-8 from cell to cell of an outline
_OUTLINE = np.float32(0.25)  # of a coarse column's alpha, below which it counts little
_LITTLE = np.float32(0.2)
_f32 = np.float32


@kernel
def calm_columns(logits, cover, columns, trust):
    """Lift, squash and smooth the network's logits where the object is.

    A column that nowhere reaches the surface is lifted until its most likely cell does, so that
    the object ends there, thinning out. The more that takes, the less it counts beside its
    neighbours: where the network knows little, the surface goes on as it does further inside.

    Args:
        logits: [D, h, w].
        cover: [h, w] mean alpha of each column.
        columns: out, [h, w, D].
        trust: out, [h, w], how much each column counts.
    """
    depth, height, width = logits.shape
    raw = np.empty(depth, np.float32)
    squashed = np.empty((height, width, depth), np.float32)
    for y in range(height):
        for x in range(width):
            highest = logits[0, y, x]
            for d in range(depth):
                highest = max(highest, logits[d, y, x])
            lift = max(-highest, _f32(0)) if cover[y, x] > 0 else _f32(0)
            doubt = lift / LIMIT
            trust[y, x] = max(cover[y, x] - _OUTLINE, _LITTLE) / (_f32(1) + doubt * doubt)
            for d in range(depth):
                raw[d] = LIMIT * np.tanh((logits[d, y, x] + lift) / LIMIT)
            for d in range(depth):
                before, after = raw[max(d - 1, 0)], raw[min(d + 1, depth - 1)]
                squashed[y, x, d] = _f32(0.25) * (before + after) + _f32(0.5) * raw[d]
    for y in range(height):
        for x in range(width):
            total = _f32(0)
            columns[y, x, :] = 0
            for j in range(max(y - 1, 0), min(y + 2, height)):
                for i in range(max(x - 1, 0), min(x + 2, width)):
                    weight = trust[j, i] * _f32(2 - abs(j - y)) * _f32(2 - abs(i - x))
                    total += weight
                    for d in range(depth):
                        columns[y, x, d] += weight * squashed[j, i, d]
            for d in range(depth):
                columns[y, x, d] /= total


@kernel
def refine_columns(coarse, trust, cover, level):
    """Interpolate columns to the fine lateral grid, and lift those that nowhere reach the surface.

    Args:
        coarse, trust: [h, w, D] and [h, w] of `calm_columns`.
        cover: [L, L] mean alpha; columns without any are left at -LIMIT.
        level: out, [L, L, D].
    """
    height, width, depth = coarse.shape
    size = cover.shape[0]
    for y in range(size):
        v = (y + 0.5) * height / size - 0.5
        y0 = int(np.floor(v))
        for x in range(size):
            level[y, x, :] = -LIMIT
            if cover[y, x] <= 0:
                continue
            u = (x + 0.5) * width / size - 0.5
            x0 = int(np.floor(u))
            level[y, x, :] = 0
            total = np.float32(0)
            for j in range(y0, y0 + 2):
                for i in range(x0, x0 + 2):
                    row, column = min(max(j, 0), height - 1), min(max(i, 0), width - 1)
                    share = np.float32((1 - abs(v - j)) * (1 - abs(u - i)))
                    share *= trust[row, column]
                    total += share
                    for d in range(depth):
                        level[y, x, d] += share * coarse[row, column, d]
            for d in range(depth):
                level[y, x, d] /= total
            _lift_column(level[y, x], _outline_distance(cover, y, x))


@kernel
def _outline_distance(cover, y, x):
    """Fine cells to the nearest column outside the outline, at most three."""
    size = cover.shape[0]
    least = _f32(10)
    for j in range(y - 2, y + 3):
        for i in range(x - 2, x + 3):
            if j < 0 or i < 0 or j >= size or i >= size or cover[j, i] <= _f32(0.5):
                least = min(least, _f32((j - y) ** 2 + (i - x) ** 2))
    return min(np.sqrt(least), _f32(3))


@kernel
def _lift_column(column, distance):
    """Lift a column until its likeliest cell is inside, as a part about as thick as it is wide.

    Where the network is unsure its levels are flat along the ray: lifting alone would make a wall.
    """
    peak = column.argmax()
    highest = column[peak]
    if highest >= LIFT:
        return
    centre = _f32(peak)
    if 0 < peak < column.size - 1:
        before, after = column[peak - 1], column[peak + 1]
        bend = _f32(2) * highest - before - after
        centre += _f32(0.5) * (after - before) / max(bend, _f32(1e-3)) if bend > 0 else _f32(0)
    half = min(max(_f32(0.6) * distance, _f32(0.6)), _f32(2))
    for d in range(column.size):
        tube = half - abs(_f32(d) - centre)
        column[d] = max(min(column[d] + LIFT - highest, _f32(2) * tube), -LIMIT)


@kernel
def rim_of_outline(cover, strongest, edge, rim):
    """The outline as a field [L, L], zero where the mean alpha of the cells passes `edge`.

    A part thinner than a cell reaches it nowhere: its crest is raised to just above.

    Args:
        cover: [L, L] mean alpha of each cell.
        strongest: [L, L] highest alpha of each cell's pixels.
        edge: the alpha at the outline.
        rim: out.
    """
    size = cover.shape[0]
    for y in range(size):
        for x in range(size):
            here = cover[y, x]
            if strongest[y, x] > _f32(0.5) and _is_crest(cover, y, x, edge):
                here = edge + _f32(0.05)
            rim[y, x] = RIM_GAIN * (here - edge)


@kernel
def _is_crest(cover, y, x, edge):
    """Whether a cell is the highest across a thin part, with nothing at the edge around it."""
    size = cover.shape[0]
    here = cover[y, x]
    for j in range(max(y - 1, 0), min(y + 2, size)):
        for i in range(max(x - 1, 0), min(x + 2, size)):
            if cover[j, i] > edge:
                return False
    left = cover[y, x - 1] if x > 0 else _f32(0)
    right = cover[y, x + 1] if x + 1 < size else _f32(0)
    above = cover[y - 1, x] if y > 0 else _f32(0)
    below = cover[y + 1, x] if y + 1 < size else _f32(0)
    return (left < here >= right) or (above < here >= below)
