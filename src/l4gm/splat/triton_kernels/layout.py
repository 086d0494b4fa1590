"""The layout of what the stages of the triton backend hand each other.

A *pair* is one frame's Gaussians seen by one camera; pairs are numbered frame-major.
A *tile* is a square of 16 x 16 pixels, drawn by one program; the tiles of all pairs are numbered
through. A *record* is a projected Gaussian. An *entry* says that a record touches a tile. Entries
are made Gaussian after Gaussian, then sorted by tile and depth; an entry's place before sorting is
its *slot*, where its gradient sums go, so that those of one Gaussian lie side by side: adding them
needs no atomics and never changes its order.

The exponent of a Gaussian at a pixel offset (dx, dy) from its mean is kept in base 2 and in
conditional form, which does not cancel for long thin Gaussians:

    log2(alpha) = LOG_OPACITY + ALONG_X dx^2 + ALONG_Y e^2,  e = dy - SLANT dx
    ALONG_X = -log2(e) / (2 var_x),  SLANT = cov_xy / var_x,
    ALONG_Y = -log2(e) / (2 (var_y - SLANT cov_xy))

Triton's kernels see globals only as `tl.constexpr`; Python reads them with `.value`.
"""

from __future__ import annotations

import math

import triton.language as tl

from l4gm.splat import constants

TILE = tl.constexpr(16)

# Columns of a record (float32). The mean is split so that its fraction keeps full precision.
MEAN_X = tl.constexpr(0)
MEAN_Y = tl.constexpr(1)
FRACTION_X = tl.constexpr(2)
FRACTION_Y = tl.constexpr(3)
ALONG_X = tl.constexpr(4)
SLANT = tl.constexpr(5)
ALONG_Y = tl.constexpr(6)
LOG_OPACITY = tl.constexpr(7)
RED = tl.constexpr(8)
GREEN = tl.constexpr(9)
BLUE = tl.constexpr(10)
RECORD_SIZE = tl.constexpr(12)  # three transactions of 16 bytes

# Columns of a camera row: rotation (row-major) and translation of camera_from_world, ...
TRANSLATION = tl.constexpr(9)
FOCAL_X = tl.constexpr(12)
FOCAL_Y = tl.constexpr(13)
CENTRE_X = tl.constexpr(14)
CENTRE_Y = tl.constexpr(15)
NEAR = tl.constexpr(16)
FAR = tl.constexpr(17)
SLOPE_X_MIN = tl.constexpr(18)
SLOPE_X_MAX = tl.constexpr(19)
SLOPE_Y_MIN = tl.constexpr(20)
SLOPE_Y_MAX = tl.constexpr(21)
CAMERA_SIZE = tl.constexpr(22)

# A sort key is number of the tile << DEPTH_BITS | depth. That leaves 23 bits for the tiles, and
# gives depths that lie within a factor of 16 of `near` a step of 4e-12 of themselves.
DEPTH_BITS = tl.constexpr(40)
MAX_TILES = 1 << (63 - DEPTH_BITS.value)

# The gradient sums of an entry; s is alpha dL/dalpha.
SUM_RED = tl.constexpr(0)
SUM_GREEN = tl.constexpr(1)
SUM_BLUE = tl.constexpr(2)
SUM_S = tl.constexpr(3)
SUM_S_DX = tl.constexpr(4)
SUM_S_DX2 = tl.constexpr(5)
SUM_S_E = tl.constexpr(6)
SUM_S_E_DX = tl.constexpr(7)
SUM_S_E2 = tl.constexpr(8)
SLOT_SIZE = tl.constexpr(9)

ALPHA_MIN = tl.constexpr(constants.ALPHA_MIN)
ALPHA_MAX = tl.constexpr(constants.ALPHA_MAX)
TRANSMITTANCE_MIN = tl.constexpr(constants.TRANSMITTANCE_MIN)
BLUR_VARIANCE_PX2 = tl.constexpr(constants.BLUR_VARIANCE_PX2)
LOG2_E = tl.constexpr(math.log2(math.e))
LOG2_ALPHA_MIN = tl.constexpr(math.log2(constants.ALPHA_MIN))


def tile_grid(width: int, height: int) -> tuple[int, int]:
    """Number of tiles across and down an image."""
    return -(-width // TILE.value), -(-height // TILE.value)
