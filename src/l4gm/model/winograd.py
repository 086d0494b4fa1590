"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3), as batched matrix products.

A tile of 4 x 4 output pixels depends on 6 x 6 input pixels. Both are taken to another basis, in
which the convolution is a product for each of the 36 coefficients: 36 multiplications a tile and
pair of channels where the definition has 144 (Lavin and Gray, "Fast algorithms for convolutional
neural networks", arXiv 1509.09308, section 4). The products over the channels are ordinary matrix
products, which every CPU library does near the machine's peak.

    V = (B' (x) B') d      d: 6 x 6 input pixels of each tile and channel
    U = (G (x) G) g        g: the 3 x 3 kernel
    M = V U                one matrix product for each of the 36 coefficients
    y = (A' (x) A') M      4 x 4 output pixels

In float32 the result is within about 3e-6 (relative L2) of the exact sum. The kernel is transformed
at each call: that costs a few percent from some hundred tiles on, and keeps no second, four times
larger copy of the weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 4  # output pixels of a tile along each axis
WINDOW = TILE + 2
# Tiles of one batched product: bounds the workspace, and keeps it nearer to the caches.
MAX_WORKSPACE_NUMBERS = 1 << 25

_INPUT = (  # B'
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
_KERNEL = (  # G
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
_OUTPUT = (  # A'
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)


def _both_axes(rows: tuple[tuple[float, ...], ...], like: Tensor) -> Tensor:
    """The transform of a square of pixels, from that of a line."""
    line = torch.tensor(rows, dtype=torch.float64)
    return torch.kron(line, line).to(like)


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What `conv2d(x, weight, bias, padding=1)` computes, in channels_last memory.

    Args:
        x: [B, C, H, W] float.
        weight: [C', C, 3, 3].
        bias: [C'] or None.

    Returns:
        [B, C', H, W]
    """
    batch, channels, height, width = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    kernel = transformed_kernel(weight)
    bottom, right = down * TILE - height + 1, across * TILE - width + 1
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, bottom))
    numbers = WINDOW**2 * down * across * max(channels, len(weight))
    at_once = max(1, MAX_WORKSPACE_NUMBERS // numbers)
    out = x.new_empty(batch, height, width, len(weight))
    for start in range(0, batch, at_once):
        tiles = _convolved(padded[start : start + at_once], kernel, (down, across), bias)
        out[start : start + at_once] = tiles[:, :height, :width]
    return out.permute(0, 3, 1, 2)


def transformed_kernel(weight: Tensor) -> Tensor:
    """U [36, C, C'] of a kernel [C', C, 3, 3]; a transposed view, which matrix products take."""
    out_channels, in_channels = weight.shape[:2]
    # Runs of input channels stay together, as they lie in channels_last memory.
    taps = weight.permute(2, 3, 0, 1).reshape(9, out_channels * in_channels)
    return (_both_axes(_KERNEL, weight) @ taps).view(-1, out_channels, in_channels).mT


def _convolved(
    padded: Tensor, kernel: Tensor, grid: tuple[int, int], bias: Tensor | None
) -> Tensor:
    """[b, 4 down + 2, 4 across + 2, C] -> [b, 4 down, 4 across, C']."""
    batch, _, _, channels = padded.shape
    (down, across), out_channels = grid, kernel.shape[2]
    tiles = padded.unfold(1, WINDOW, TILE).unfold(2, WINDOW, TILE)  # [b, down, across, C, 6, 6]
    pixels = tiles.permute(4, 5, 0, 1, 2, 3).reshape(WINDOW**2, -1)
    spectrum = (_both_axes(_INPUT, padded) @ pixels).view(WINDOW**2, -1, channels)
    products = torch.bmm(spectrum, kernel).view(WINDOW**2, -1)
    result = (_both_axes(_OUTPUT, padded) @ products).view(
        TILE, TILE, batch, down, across, out_channels
    )
    if bias is not None:
        result += bias
    return result.permute(2, 3, 0, 4, 1, 5).reshape(batch, down * TILE, across * TILE, out_channels)
