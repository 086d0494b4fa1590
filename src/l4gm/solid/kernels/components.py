"""Connected parts of the object, and which of them stay."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

_LEAST_CELLS = 12
_LEAST_SHARE = 0.003  # of the largest part


@kernel
def _root(parents, i):
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


@kernel
def _join(parents, i, j):
    a, b = _root(parents, i), _root(parents, j)
    if a != b:
        parents[max(a, b)] = min(a, b)


@kernel
def _find_runs(level, rim, firsts, starts, ends):
    """Stretches of inside cells of each column; counts only where `starts` is empty."""
    size, _, depth = level.shape
    count = 0
    for y in range(size):
        for x in range(size):
            firsts[y * size + x] = count
            if rim[y, x] <= 0:
                continue
            inside = False
            for d in range(depth):
                if (level[y, x, d] > 0) != inside:
                    inside = not inside
                    if starts.size > 0:
                        if inside:
                            starts[count] = d
                        else:
                            ends[count - 1] = d
                    if inside:
                        count += 1
            if inside and starts.size > 0:
                ends[count - 1] = depth
    firsts[size * size] = count
    return count


@kernel
def _join_columns(firsts, starts, ends, parents, here, there):
    """Join the runs of two neighbouring columns that touch."""
    i, j = firsts[here], firsts[there]
    while i < firsts[here + 1] and j < firsts[there + 1]:
        if starts[i] < ends[j] and starts[j] < ends[i]:
            _join(parents, i, j)
        if ends[i] < ends[j]:
            i += 1
        else:
            j += 1


@kernel
def drop_loose_parts(level, rim):
    """Empty the parts that are specks, and those of which the video's camera sees nothing.

    The largest part always stays. Emptied cells change their sign, so that what remains of the
    field is as smooth as before.

    Args:
        level: [L, L, D], changed in place.
        rim: [L, L].
    """
    size = level.shape[0]
    firsts = np.empty(size * size + 1, np.int64)
    none = np.empty(0, np.int64)
    count = _find_runs(level, rim, firsts, none, none)
    if count == 0:
        return
    starts, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    _find_runs(level, rim, firsts, starts, ends)
    parents = np.arange(count)
    for column in range(size * size):
        if column % size + 1 < size:
            _join_columns(firsts, starts, ends, parents, column, column + 1)
        if column + size < size * size:
            _join_columns(firsts, starts, ends, parents, column, column + size)
    cells = np.zeros(count, np.int64)
    for i in range(count):
        parents[i] = _root(parents, i)
        cells[parents[i]] += ends[i] - starts[i]
    largest = cells.argmax()
    least = min(max(_LEAST_CELLS, _LEAST_SHARE * cells[largest]), cells[largest])
    seen = np.zeros(count, np.bool_)
    for column in range(size * size):
        for i in range(firsts[column], firsts[column + 1]):
            if cells[parents[i]] >= least:
                seen[parents[i]] = True
                break
    for y in range(size):
        for x in range(size):
            column = y * size + x
            for i in range(firsts[column], firsts[column + 1]):
                if cells[parents[i]] < least or not seen[parents[i]]:
                    for d in range(starts[i], ends[i]):
                        level[y, x, d] = -level[y, x, d]
