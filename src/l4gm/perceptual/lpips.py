"""LPIPS, the learned perceptual distance of pictures (Zhang et al., CVPR 2018, version 0.1).

Features of an ImageNet network are normalised along their channels at each place, the squared
differences are weighted by a trained head, averaged over the picture and summed over five layers.
The heads (1,472 and 1,152 numbers) come with the package; the networks are torchvision's files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from l4gm.perceptual.published import ALEXNET, VGG16, WeightFile, load_frozen, read_tensors

Backbone = Literal["vgg", "alex"]

# Channel statistics for pictures in [-1, 1], as published with the heads.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
# Under the root of the norm, as torchmetrics has it: where all features are zero, the gradient
# stays finite.
_NORM_EPSILON = 1e-8
# The smallest pictures whose last layer still has a place.
_SMALLEST_PX = {"vgg": 16, "alex": 31}
_HEADS = Path(__file__).parent / "lpips_heads"


def _vgg_features() -> tuple[nn.Sequential, tuple[int, ...]]:
    """VGG-16 up to relu5_3 and the places of the five layers, numbered as torchvision does."""
    layers: list[nn.Module] = []
    ends = []
    channels = 3
    for block, (width, convolutions) in enumerate(
        [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
    ):
        if block:
            layers.append(nn.MaxPool2d(2))
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        ends.append(len(layers))
    return nn.Sequential(*layers), tuple(ends)


def _alex_features() -> tuple[nn.Sequential, tuple[int, ...]]:
    """AlexNet up to its fifth activation, numbered as torchvision does."""
    layers = [
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]
    return nn.Sequential(*layers), (2, 5, 8, 10, 12)


class Lpips(nn.Module):
    """LPIPS; build it with `load_lpips`.

    Args:
        backbone: "vgg" (papers on reconstruction, training losses) or "alex" (the authors' advice
            for judging).
    """

    def __init__(self, backbone: Backbone = "vgg") -> None:
        super().__init__()
        self.backbone = backbone
        self.features, self.ends = _vgg_features() if backbone == "vgg" else _alex_features()
        heads = load_file(_HEADS / f"{backbone}.safetensors")
        for layer in range(len(self.ends)):
            head = heads[f"lin{layer}.model.1.weight"]
            self.register_buffer(f"head{layer}", head.flatten(), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of each pair of pictures; gradients flow to the pictures.

        Args:
            prediction, target: [..., 3, H, W] in [0, 1].

        Returns:
            [...], 0 for equal pictures.

        Raises:
            ValueError: shapes differ, or pictures too small for the network.
        """
        if prediction.shape != target.shape or prediction.shape[-3] != 3:
            raise ValueError(
                f"expected two of [..., 3, H, W], got {list(prediction.shape)} and "
                f"{list(target.shape)}"
            )
        smallest = _SMALLEST_PX[self.backbone]
        if min(prediction.shape[-2:]) < smallest:
            raise ValueError(
                f"LPIPS-{self.backbone} needs pictures of at least {smallest} px, got "
                f"{list(prediction.shape[-2:])}"
            )
        x = normalized(prediction.reshape(-1, *prediction.shape[-3:]))
        y = normalized(target.reshape(-1, *target.shape[-3:]))
        distance = x.new_zeros(len(x))
        begin = 0
        for layer, end in enumerate(self.ends):
            part = self.features[begin:end]
            x, y, begin = part(x), part(y), end
            difference = (_unit(x) - _unit(y)).square()
            head = getattr(self, f"head{layer}")
            distance = distance + torch.einsum("bchw,c->bhw", difference, head).mean((-2, -1))
        return distance.reshape(prediction.shape[:-3])


def normalized(images: Tensor) -> Tensor:
    """[..., 3, H, W] in [0, 1] by the channel statistics that all versions of LPIPS share."""
    shift, scale = images.new_tensor(_SHIFT), images.new_tensor(_SCALE)
    return (2 * images - 1 - shift[:, None, None]) / scale[:, None, None]


def _unit(features: Tensor) -> Tensor:
    """[B, C, H, W] of length 1 along the channels."""
    return features / (features.square().sum(1, keepdim=True) + _NORM_EPSILON).sqrt()


def load_lpips(backbone: Backbone = "vgg", device: str | torch.device = "cpu") -> Lpips:
    """LPIPS with the published weights, frozen.

    Raises:
        MissingWeightsError: the network's file is not on this machine.
        InputError: the file is damaged or another one.
    """
    file = weight_file(backbone)
    model = Lpips(backbone)
    tensors = read_tensors(file, wanted=("features.",), ignored=("classifier.",))
    load_frozen(model, tensors, file)
    return model.to(device)


def weight_file(backbone: Backbone) -> WeightFile:
    """The published file behind a backbone."""
    return {"vgg": VGG16, "alex": ALEXNET}[backbone]
