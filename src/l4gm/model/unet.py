"""The asymmetric U-Net of LGM with temporal attention (paper section 4.2).

Module names are those of the released checkpoints.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.model.attention import RESIDUAL_SCALE, Grid, GridAttention
from l4gm.model.config import L4GMConfig
from l4gm.model.convolution import Conv3x3, PointwiseConv2d, UpsampleConv2d

NUM_INPUT_CHANNELS = 9

# Size of an outer block's feature map, over all maps that are worked on together: 16 maps of the
# released network, 256 MB in float32.
MAX_OUTER_NUMBERS = 1 << 26


class ResidualBlock(nn.Module):
    """(norm, SiLU, 3x3 convolution) twice, plus a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, num_groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(num_groups, in_channels, eps=1e-5)
        self.conv1 = Conv3x3(in_channels, out_channels)
        self.norm2 = nn.GroupNorm(num_groups, out_channels, eps=1e-5)
        self.conv2 = Conv3x3(out_channels, out_channels)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else PointwiseConv2d(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(norm_silu(self.norm1, x))
        hidden = self.conv2(norm_silu(self.norm2, hidden))
        # In place: no gradient needs a convolution's output.
        return hidden.add_(self.shortcut(x)).mul_(RESIDUAL_SCALE)


def norm_silu(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """SiLU of the group norm."""
    normalised = norm(x)
    return F.silu(normalised, inplace=not normalised.requires_grad)


class Level(nn.Module):
    """Shared by the blocks below: builds their attention layers and applies them."""

    attns: nn.ModuleList
    t_attns: nn.ModuleList

    def _add_attention(self, config: L4GMConfig, channels: int, count: int) -> None:
        heads, groups = config.attention_head_count, config.norm_groups
        self.attns = nn.ModuleList(
            GridAttention(channels, heads, groups, over="views") for _ in range(count)
        )
        self.t_attns = nn.ModuleList(
            GridAttention(channels, heads, groups, over="time")
            for _ in range(count if config.temporal_attention else 0)
        )

    def _attend(self, index: int, x: Tensor, grid: Grid) -> Tensor:
        if len(self.attns):
            x = self.attns[index](x, grid)
        if len(self.t_attns):
            x = self.t_attns[index](x, grid)
        return x


class DownBlock(Level):
    """Residual and attention layers, then a strided convolution except at the lowest level."""

    def __init__(
        self, config: L4GMConfig, level: int, in_channels: int, channels: int, *, attention: bool
    ) -> None:
        super().__init__()
        layers = config.layers_per_block
        inputs = [in_channels] + [channels] * (layers - 1)
        self.nets = nn.ModuleList(ResidualBlock(i, channels, config.norm_groups) for i in inputs)
        self._add_attention(config, channels, layers if attention else 0)
        last = level == len(config.down_channels) - 1
        self.downsample = None if last else nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor, grid: Grid) -> list[Tensor]:
        """Every layer's output and the down-sampled one; the last goes on, all are skips."""
        outputs = []
        for index, net in enumerate(self.nets):
            x = self._attend(index, net(x), grid)
            outputs.append(x)
        if self.downsample is not None:
            outputs.append(self.downsample(x))
        return outputs


class MiddleBlock(Level):
    """Two residual blocks around one attention layer."""

    def __init__(self, config: L4GMConfig, channels: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(
            ResidualBlock(channels, channels, config.norm_groups) for _ in range(2)
        )
        self._add_attention(config, channels, 1 if config.mid_attention else 0)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        return self.nets[1](self._attend(0, self.nets[0](x), grid))


class UpBlock(Level):
    """Residual and attention layers, each fed a skip, then nearest x2 and a convolution."""

    def __init__(
        self,
        config: L4GMConfig,
        level: int,
        in_channels: int,
        skip_channels: list[int],
        channels: int,
        *,
        attention: bool,
    ) -> None:
        super().__init__()
        inputs = [in_channels] + [channels] * (len(skip_channels) - 1)
        self.nets = nn.ModuleList(
            ResidualBlock(i + skip, channels, config.norm_groups)
            for i, skip in zip(inputs, skip_channels, strict=True)
        )
        self._add_attention(config, channels, len(skip_channels) if attention else 0)
        last = level == len(config.down_channels) - len(config.up_channels)
        self.upsample = None if last else UpsampleConv2d(channels)

    def forward(self, x: Tensor, skips: list[Tensor], grid: Grid) -> Tensor:
        """Takes its skips from the end of `skips`."""
        for index, net in enumerate(self.nets):
            x = self._attend(index, net(torch.cat([x, skips.pop()], 1)), grid)
        if self.upsample is not None:
            x = self.upsample(x)
        return x


class UNet(nn.Module):
    """Feature maps from the input of 9 channels.

    The grid of the output is `config.pixels_per_splat` times coarser than the input.
    """

    def __init__(self, config: L4GMConfig, out_channels: int) -> None:
        super().__init__()
        channels = config.down_channels[0]
        self.conv_in = nn.Conv2d(NUM_INPUT_CHANNELS, channels, 3, padding=1)
        skips = [channels]
        self.down_blocks = nn.ModuleList()
        down = zip(config.down_channels, config.down_attention, strict=True)
        for level, (width, attention) in enumerate(down):
            block = DownBlock(config, level, channels, width, attention=attention)
            self.down_blocks.append(block)
            channels = width
            skips += [width] * (config.layers_per_block + (block.downsample is not None))
        self.mid_block = MiddleBlock(config, channels)
        self.up_blocks = nn.ModuleList()
        up = zip(config.up_channels, config.up_attention, strict=True)
        for risen, (width, attention) in enumerate(up):
            level = len(config.down_channels) - 1 - risen
            taken = [skips.pop() for _ in range(config.layers_per_block + 1)]
            self.up_blocks.append(
                UpBlock(config, level, channels, taken, width, attention=attention)
            )
            channels = width
        self._num_untaken = len(skips)
        self._num_outer_down = _num_without(config.down_attention)
        self._num_outer_up = _num_without(reversed(config.up_attention))
        self.norm_out = nn.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.conv_out = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, grid: Grid) -> Tensor:
        """[B T V, 9, H, W] -> [B T V, out_channels, h, w].

        The outer blocks, whose maps are the largest, do not attend: without gradients a long clip
        goes through them in groups of maps, so that memory is what the inner blocks need.
        """
        x = x.contiguous(memory_format=torch.channels_last)
        at_once = self._maps_at_once(x)
        entered = [self._enter(part, grid) for part in x.split(at_once)]
        skips = [_joined(parts) for parts in zip(*entered, strict=True)]
        del entered
        for block in self.down_blocks[self._num_outer_down :]:
            skips += block(skips[-1], grid)
        x = self.mid_block(skips[-1], grid)
        inner_up = len(self.up_blocks) - self._num_outer_up
        for block in self.up_blocks[:inner_up]:
            x = block(x, skips, grid)
        groups = zip(x.split(at_once), *(skip.split(at_once) for skip in skips), strict=True)
        return _joined([self._leave(part, list(taken), grid) for part, *taken in groups])

    def _maps_at_once(self, x: Tensor) -> int:
        """How many maps go through the outer blocks together."""
        if torch.is_grad_enabled():
            return len(x)
        numbers = self.conv_in.out_channels * x.shape[2] * x.shape[3]
        return max(1, MAX_OUTER_NUMBERS // numbers)

    def _enter(self, x: Tensor, grid: Grid) -> list[Tensor]:
        """The first blocks going down; of their outputs those that are taken up again."""
        skips = [self.conv_in(x)]
        for block in self.down_blocks[: self._num_outer_down]:
            skips += block(skips[-1], grid)
        # Fewer levels up than down: nothing takes the first ones.
        return skips[min(self._num_untaken, len(skips) - 1) :]

    def _leave(self, x: Tensor, skips: list[Tensor], grid: Grid) -> Tensor:
        """The last blocks going up."""
        for block in self.up_blocks[len(self.up_blocks) - self._num_outer_up :]:
            x = block(x, skips, grid)
        return self.conv_out(norm_silu(self.norm_out, x))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _num_without(attention: Iterable[bool]) -> int:
    """How many levels come before the first that attends."""
    return len(list(takewhile(operator.not_, attention)))
