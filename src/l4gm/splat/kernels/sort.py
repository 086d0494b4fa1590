"""Stage 2: depth order of the Gaussians of a pair, a radix sort of (depth, index) words."""

from __future__ import annotations

import numpy as np

from l4gm.splat.kernels.jit import kernel

_DIGIT_BITS = 11
SORT_BINS = 1 << _DIGIT_BITS
_KEY_BITS = 32


@kernel
def sort_by_depth(depths, keys, histogram):
    """Indices of the Gaussians that are seen, nearest first; equal depths in index order.

    Args:
        depths: [N], negative where a Gaussian is not seen.
        keys: [2, N] uint64 scratch.
        histogram: [SORT_BINS] int64 scratch.

    Returns:
        [N] uint64 with the index in the low 32 bits (one of the scratch rows), and their number.
    """
    current, other = keys[0], keys[1]
    count = 0
    least, most = np.int64(0x7FFFFFFFFFFFFFFF), np.int64(0)
    for i in range(depths.shape[0]):
        # The bits of positive floats are ordered as the numbers are.
        bits = np.float64(depths[i]).view(np.int64)
        seen = bits >= 0
        least = min(least, bits if seen else least)
        most = max(most, bits)
        # Written in any case and kept only if seen: cheaper than a branch nobody can predict.
        other[count] = np.uint64(bits)
        current[count] = np.uint64(i)
        count += np.int64(seen)
    if count == 0:
        return current, 0
    shift = 0
    while ((most - least) >> shift) >> _KEY_BITS > 0:
        shift += 1
    for k in range(count):
        key = (other[k] - np.uint64(least)) >> np.uint64(shift)
        current[k] |= key << np.uint64(_KEY_BITS)
    digit = 0
    while ((most - least) >> shift) >> digit > 0:
        _scatter_by_digit(current, other, count, np.uint64(_KEY_BITS + digit), histogram)
        current, other = other, current
        digit += _DIGIT_BITS
    return current, count


@kernel
def _scatter_by_digit(source, target, count, shift, histogram):
    """One stable counting pass over the digit that starts at a bit."""
    mask = np.uint64(SORT_BINS - 1)
    histogram[:] = 0
    for k in range(count):
        histogram[(source[k] >> shift) & mask] += 1
    start = 0
    for d in range(SORT_BINS):
        size = histogram[d]
        histogram[d] = start
        start += size
    for k in range(count):
        d = (source[k] >> shift) & mask
        target[histogram[d]] = source[k]
        histogram[d] += 1
