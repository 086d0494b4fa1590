"""Convolutions that do less work than the general one, under the same parameter names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.model import winograd

# Where Winograd's way is the faster one on a CPU (measured on AVX-512, oneDNN's direct convolution
# beside it): enough channels to make its transforms small, enough pixels to make the kernel's so.
MIN_CHANNELS_FOR_WINOGRAD = 256
MIN_PIXELS_FOR_WINOGRAD = 1024
# With fewer low-resolution positions than this, building the combined kernel costs more than the
# arithmetic it saves (measured on AVX2, 64 to 1024 channels).
MIN_POSITIONS_FOR_TRANSPOSED = 512


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution that keeps the size; by Winograd's algorithm where that pays.

    That is on a CPU, without gradients, in float32, at many channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h, w]."""
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        if (
            x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and min(self.in_channels, self.out_channels) >= MIN_CHANNELS_FOR_WINOGRAD
            and pixels >= MIN_PIXELS_FOR_WINOGRAD
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
        ):
            return winograd.conv3x3(x, self.weight, self.bias)
        return super().forward(x)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution as one matrix product over the pixels, which channels_last memory allows.

    PyTorch's CPU convolution takes a slow path for kernels of one pixel.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C', h, w] in channels_last memory."""
        pixels = x.permute(0, 2, 3, 1)
        return F.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class UpsampleConv2d(nn.Conv2d):
    """Nearest x2, then a 3x3 convolution.

    Each output pixel's 3x3 window covers only 2x2 different inputs. So both steps together are a
    transposed convolution with stride 2 and a 4x4 kernel, the 3x3 kernel convolved with a 2x2 box,
    at 16 instead of 36 multiplications per input pixel and pair of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] -> [B, C, 2h, 2w]."""
        positions = x.shape[0] * x.shape[2] * x.shape[3]
        # Only where it was measured; a GPU's transposed convolutions are another matter.
        if x.device.type == "cpu" and positions >= MIN_POSITIONS_FOR_TRANSPOSED:
            return F.conv_transpose2d(x, box_kernel(self.weight), self.bias, stride=2, padding=1)
        return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"))


def box_kernel(weight: Tensor) -> Tensor:
    """The transposed convolution's [in, out, 4, 4] kernel of a convolution's [out, in, 3, 3]."""
    out_channels, in_channels = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, in_channels * out_channels)
    spread = _spread().to(weight)
    return (spread @ taps).view(4, 4, in_channels, out_channels).permute(2, 3, 0, 1)


def _spread() -> Tensor:
    """[16, 9]: which taps of the 3x3 kernel each tap of the transposed 4x4 kernel adds up.

    In one dimension tap k of the convolution lands on taps 3 - k and 2 - k of the transposed
    kernel, which runs the other way.
    """
    line = torch.zeros(4, 3)
    for tap in range(3):
        line[3 - tap, tap] = line[2 - tap, tap] = 1
    return torch.kron(line, line)
