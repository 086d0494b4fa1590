"""The layout of what the stages hand each other, and the image's division into strips.

A *pair* is one frame's Gaussians seen by one camera; pairs are numbered frame-major.
A *strip* is 8 pixels wide and up to 64 rows high: one vector per row, and its running colors
stay in the first-level cache. A *record* is a projected Gaussian, one cache line.
An *entry* says that a record touches a strip, on which rows; a strip's entries are in depth order.
Each entry owns a *slot* for its gradient sums. The slots of one Gaussian lie side by side, so that
adding them needs no atomics and never changes its order, and follow the order of the Gaussians, so
that memory is read front to back.

The exponent of a Gaussian at a pixel offset (dx, dy) from its mean is kept in base 2 and in
conditional form, which does not cancel for long thin Gaussians:

    log2(alpha) = LOG_OPACITY + ALONG_X dx^2 + ALONG_Y (dy - SLANT dx)^2
    ALONG_X = -log2(e) / (2 var_x),  SLANT = cov_xy / var_x,
    ALONG_Y = -log2(e) / (2 (var_y - SLANT cov_xy))
"""

from __future__ import annotations

import math

from l4gm.splat.constants import ALPHA_MIN

STRIP_WIDTH_LOG2 = 3
STRIP_WIDTH = 1 << STRIP_WIDTH_LOG2
STRIP_ROWS_LOG2 = 6
STRIP_ROWS = 1 << STRIP_ROWS_LOG2

# Neighbours share cache lines of the image, so one thread takes several.
STRIPS_PER_TASK = 4

# Columns of a record (float32). The mean is split so that its fraction keeps full precision.
MEAN_X, MEAN_Y = 0, 1
FRACTION_X, FRACTION_Y = 2, 3
ALONG_X, SLANT, ALONG_Y = 4, 5, 6
LOG_OPACITY = 7
RED, GREEN, BLUE = 8, 9, 10
EXTENT_X, EXTENT_Y, EXTENT_CENTRE = 11, 12, 13
FIRST_SLOT = 14  # an int32: read and written through the same memory seen as integers
RECORD_SIZE = 16

CHUNK = 512  # Gaussians in a task of the stages that go over Gaussians

# Columns of a camera row (float64): rotation (row-major) and translation of camera_from_world, ...
TRANSLATION = 9
FOCAL_X, FOCAL_Y, CENTRE_X, CENTRE_Y = 12, 13, 14, 15
SLOPE_X_MIN, SLOPE_X_MAX, SLOPE_Y_MIN, SLOPE_Y_MAX = 16, 17, 18, 19
CAMERA_SIZE = 20

# An entry is id << 30 | number among the Gaussian's entries << 14 | first row << 7 | row after the
# last, rows within the strip.
ENTRY_ID_SHIFT = 30
ENTRY_NUMBER_SHIFT = 14
ENTRY_NUMBER_MASK = 0xFFFF
ENTRY_FIRST_SHIFT = 7
ENTRY_ROW_MASK = 0x7F

# The nine gradient sums of an entry; s is alpha dL/dalpha, e is dy - SLANT dx.
SUM_RED, SUM_GREEN, SUM_BLUE = 0, 1, 2
SUM_S, SUM_S_DX, SUM_S_DX2, SUM_S_E, SUM_S_E_DX = 3, 4, 5, 6, 7
SLOT_SIZE = 8  # the ninth, the sum of s e^2, lies in an array of its own

LOG2_E = math.log2(math.e)
LOG2_ALPHA_MIN = math.log2(ALPHA_MIN)


def strip_grid(width: int, height: int) -> tuple[int, int]:
    """Number of strips across and down an image."""
    return -(-width // STRIP_WIDTH), -(-height // STRIP_ROWS)
