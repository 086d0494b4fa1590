"""Connected regions of a mask, in plain NumPy.

Works on runs (maximal stretches of True in a row) instead of pixels: there are a few thousand of
them in a picture, and joining them takes a few vectorised passes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number the 4-connected regions of a mask.

    Args:
        mask: [H, W].

    Returns:
        labels [H, W] int32, 0 outside the mask, regions from 1 in the order of their first pixel
        (row by row); and areas [regions + 1] in pixels, of which areas[0] counts the outside.
    """
    height, width = mask.shape
    starts, stops = _runs(mask)
    roots = _join(starts, stops, width)
    numbers = np.unique(roots, return_inverse=True)[1].astype(np.int32) + 1
    # Differences along the flat picture: add the number where a run starts, take it off after.
    steps = np.zeros(height * width + 1, np.int32)
    steps[starts] += numbers
    steps[stops] -= numbers
    labels = np.cumsum(steps[:-1], dtype=np.int32).reshape(height, width)
    areas = np.bincount(numbers, stops - starts, minlength=1).astype(np.int64)
    areas[0] = mask.size - areas[1:].sum()
    return labels, areas


def connected_to(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The regions of `mask` that hold a pixel of `seeds`, both [H, W]."""
    labels, areas = label_components(mask)
    keep = np.zeros(len(areas), bool)
    keep[labels[seeds & mask]] = True
    keep[0] = False
    return keep[labels]


def border(height: int, width: int) -> NDArray[np.bool_]:
    """[H, W], True in the outermost rows and columns."""
    mask = np.zeros((height, width), bool)
    mask[[0, -1]] = True
    mask[:, [0, -1]] = True
    return mask


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and past-the-last flat index of each run, row by row."""
    height, width = mask.shape
    padded = np.zeros((height, width + 1), np.int8)
    padded[:, :width] = mask
    edges = np.diff(padded.reshape(-1), prepend=np.int8(0))
    # A row of the padded picture has one column more.
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return starts - starts // (width + 1), stops - (stops - 1) // (width + 1)


def _join(starts: NDArray[np.int64], stops: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """For each run the smallest index of a run that it is connected to."""
    # Runs of the row above that overlap [start, stop): those that stop after start - width and
    # start before stop - width. Both arrays are sorted, so these are a contiguous range.
    first = np.searchsorted(stops, starts - width, side="right")
    last = np.searchsorted(starts, stops - width, side="left")
    counts = np.maximum(last - first, 0)
    below = np.repeat(np.arange(len(starts)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    above = np.repeat(first, counts) + offsets
    roots = np.arange(len(starts))
    while True:
        previous = roots.copy()
        smallest = np.minimum(roots[below], roots[above])
        # Hook both ends' roots onto the smaller root, then shorten all paths.
        np.minimum.at(roots, roots[below], smallest)
        np.minimum.at(roots, roots[above], smallest)
        while True:
            shorter = roots[roots]
            if np.array_equal(shorter, roots):
                break
            roots = shorter
        if np.array_equal(previous, roots):
            return roots
