"""The asymmetric U-Net with cross-view and temporal attention, without any optimisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.model.config import L4GMConfig

SCALE = 0.5**0.5


class Attention(nn.Module):
    """Multi-head self-attention; the scores of all pairs of tokens are laid out."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, tokens, C] -> [batch, tokens, C]."""
        batch, tokens, channels = x.shape
        width = channels // self.heads
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0] * width**-0.5, qkv[1], qkv[2]
        scores = (query @ key.transpose(-2, -1)).softmax(-1)
        mixed = (scores @ value).transpose(1, 2).reshape(batch, tokens, channels)
        return self.proj(mixed)


class AttentionLayer(nn.Module):
    """Group norm, attention over (V h w) tokens or over (T h w) tokens, residual."""

    def __init__(self, channels: int, config: L4GMConfig, over_time: bool) -> None:
        super().__init__()
        self.over_time = over_time
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.attn = Attention(channels, config.attention_head_count)

    def forward(self, x: Tensor, frames: int, views: int) -> Tensor:
        """[B T V, C, h, w] -> the same."""
        maps, channels, height, width = x.shape
        batch = maps // (frames * views)
        tokens = self.norm(x).reshape(batch, frames, views, channels, height, width)
        order = (0, 2, 1, 4, 5, 3) if self.over_time else (0, 1, 2, 4, 5, 3)
        tokens = tokens.permute(*order)
        shape = tokens.shape
        mixed = self.attn(tokens.reshape(shape[0] * shape[1], -1, channels)).reshape(shape)
        back = (0, 2, 1, 5, 3, 4) if self.over_time else (0, 1, 2, 5, 3, 4)
        return (x + mixed.permute(*back).reshape(x.shape)) * SCALE


class Residual(nn.Module):
    """Group norm, SiLU, convolution, twice; shortcut."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=1e-5)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=1e-5)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return (y + self.shortcut(x)) * SCALE


class Block(nn.Module):
    """Some residual blocks, each followed by its attention layers."""

    def __init__(self, config: L4GMConfig, widths: list[tuple[int, int]], attends: int) -> None:
        super().__init__()
        groups, channels = config.norm_groups, widths[0][1]
        self.nets = nn.ModuleList(Residual(i, o, groups) for i, o in widths)
        self.attns = nn.ModuleList(AttentionLayer(channels, config, False) for _ in range(attends))
        count = attends if config.temporal_attention else 0
        self.t_attns = nn.ModuleList(AttentionLayer(channels, config, True) for _ in range(count))

    def attend(self, index: int, x: Tensor, frames: int, views: int) -> Tensor:
        if len(self.attns):
            x = self.attns[index](x, frames, views)
        if len(self.t_attns):
            x = self.t_attns[index](x, frames, views)
        return x


class PlainUNet(nn.Module):
    """[B T V, 9, H, W] -> [B T V, 14, h, w]; for configs without the options of small models."""

    def __init__(self, config: L4GMConfig, out_channels: int = 14) -> None:
        super().__init__()
        down, up, layers = config.down_channels, config.up_channels, config.layers_per_block
        channels = down[0]
        self.conv_in = nn.Conv2d(9, channels, 3, padding=1)
        skips = [channels]
        self.down_blocks = nn.ModuleList()
        for level, width in enumerate(down):
            widths = [(channels, width)] + [(width, width)] * (layers - 1)
            block = Block(config, widths, layers if config.down_attention[level] else 0)
            last = level == len(down) - 1
            block.downsample = None if last else nn.Conv2d(width, width, 3, stride=2, padding=1)
            self.down_blocks.append(block)
            skips += [width] * (layers + (not last))
            channels = width
        self.mid_block = Block(config, [(channels, channels)] * 2, int(config.mid_attention))
        self.up_blocks = nn.ModuleList()
        for level, width in enumerate(up):
            widths = []
            for _ in range(layers + 1):
                widths.append((channels + skips.pop(), width))
                channels = width
            block = Block(config, widths, layers + 1 if config.up_attention[level] else 0)
            block.upsample = None if level == len(up) - 1 else nn.Conv2d(width, width, 3, padding=1)
            self.up_blocks.append(block)
        self.norm_out = nn.GroupNorm(config.norm_groups, channels, eps=1e-5)
        self.conv_out = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor, frames: int, views: int) -> Tensor:
        x = self.conv_in(x)
        skips = [x]
        for block in self.down_blocks:
            for index, net in enumerate(block.nets):
                x = block.attend(index, net(x), frames, views)
                skips.append(x)
            if block.downsample is not None:
                x = block.downsample(x)
                skips.append(x)
        middle = self.mid_block
        x = middle.nets[1](middle.attend(0, middle.nets[0](x), frames, views))
        for block in self.up_blocks:
            for index, net in enumerate(block.nets):
                x = block.attend(index, net(torch.cat([x, skips.pop()], 1)), frames, views)
            if block.upsample is not None:
                x = block.upsample(F.interpolate(x, scale_factor=2, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(x)))


class PlainNetwork(nn.Module):
    """U-Net and the 1x1 convolution after it: the features before activation."""

    def __init__(self, config: L4GMConfig) -> None:
        super().__init__()
        self.unet = PlainUNet(config)
        self.conv = nn.Conv2d(14, 14, 1)

    def forward(self, channels: Tensor, frames: int, views: int) -> Tensor:
        """[B T V, 9, H, W] -> [B T V, 14, h, w]."""
        return self.conv(self.unet(channels, frames, views))
