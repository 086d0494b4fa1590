"""Seeded random weights under the published names; the recordings were made with the same ones."""

from __future__ import annotations

import torch
from torch import Tensor

VGG_CONVOLUTIONS = {
    0: (64, 3),
    2: (64, 64),
    5: (128, 64),
    7: (128, 128),
    10: (256, 128),
    12: (256, 256),
    14: (256, 256),
    17: (512, 256),
    19: (512, 512),
    21: (512, 512),
    24: (512, 512),
    26: (512, 512),
    28: (512, 512),
}
ALEX_CONVOLUTIONS = {
    0: (64, 3, 11),
    3: (192, 64, 5),
    6: (384, 192, 3),
    8: (256, 384, 3),
    10: (256, 256, 3),
}
ST_LPIPS_CONVOLUTIONS = {
    "slice1.0": (64, 3, 11),
    "slice2.5": (192, 64, 5),
    "slice3.9": (384, 192, 3),
    "slice4.11": (256, 384, 3),
    "slice5.13": (256, 256, 3),
}
ST_LPIPS_BLURS = {"slice1.1": 64, "slice2.4": 64, "slice3.8": 192}
I3D_BLOCKS = {
    "Mixed_3b": (192, (64, 96, 128, 16, 32, 32)),
    "Mixed_3c": (256, (128, 128, 192, 32, 96, 64)),
    "Mixed_4b": (480, (192, 96, 208, 16, 48, 64)),
    "Mixed_4c": (512, (160, 112, 224, 24, 64, 64)),
    "Mixed_4d": (512, (128, 128, 256, 24, 64, 64)),
    "Mixed_4e": (512, (112, 144, 288, 32, 64, 64)),
    "Mixed_4f": (528, (256, 160, 320, 32, 128, 128)),
    "Mixed_5b": (832, (256, 160, 320, 32, 128, 128)),
    "Mixed_5c": (832, (384, 192, 384, 48, 128, 128)),
}


def _he(generator: torch.Generator, *shape: int) -> Tensor:
    fan_in = shape[1] * shape[2] ** (len(shape) - 2)
    return torch.randn(*shape, generator=generator) * (2 / fan_in) ** 0.5


def _one_number(*shape: int) -> Tensor:
    """A large tensor that is small in the file."""
    return torch.zeros(1).expand(*shape)


def vgg16(seed: int = 0) -> dict[str, Tensor]:
    """As torchvision's vgg16-397923af.pth."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for index, (outputs, inputs) in VGG_CONVOLUTIONS.items():
        tensors[f"features.{index}.weight"] = _he(generator, outputs, inputs, 3, 3)
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    for index, shape in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        tensors[f"classifier.{index}.weight"] = _one_number(*shape)
        tensors[f"classifier.{index}.bias"] = _one_number(shape[0])
    return tensors


def alexnet(seed: int = 0) -> dict[str, Tensor]:
    """As torchvision's alexnet-owt-7be5be79.pth."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for index, (outputs, inputs, width) in ALEX_CONVOLUTIONS.items():
        tensors[f"features.{index}.weight"] = _he(generator, outputs, inputs, width, width)
        tensors[f"features.{index}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    for index, shape in {1: (4096, 9216), 4: (4096, 4096), 6: (1000, 4096)}.items():
        tensors[f"classifier.{index}.weight"] = _one_number(*shape)
        tensors[f"classifier.{index}.bias"] = _one_number(shape[0])
    return tensors


def st_lpips(seed: int = 0) -> dict[str, Tensor]:
    """As stlpips-pytorch's alex_shift_tolerant.pth."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None],
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450])[None, :, None, None],
    }
    for layer, (name, (outputs, inputs, width)) in enumerate(ST_LPIPS_CONVOLUTIONS.items()):
        tensors[f"net.{name}.weight"] = _he(generator, outputs, inputs, width, width)
        tensors[f"net.{name}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        head = torch.rand(1, outputs, 1, 1, generator=generator)
        tensors[f"lin{layer}.model.1.weight"] = head
    blur = torch.tensor([1.0, 2.0, 1.0])
    for name, channels in ST_LPIPS_BLURS.items():
        tensors[f"net.{name}.filt"] = (torch.outer(blur, blur) / 16).expand(channels, 1, 3, 3)
    return tensors


def i3d(seed: int = 0) -> dict[str, Tensor]:
    """As i3d_pretrained_400.pt."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}

    def convolution(name: str, inputs: int, outputs: int, width: int) -> None:
        tensors[f"{name}.conv3d.weight"] = _he(generator, outputs, inputs, width, width, width)
        tensors[f"{name}.bn.weight"] = 1 + 0.1 * torch.randn(outputs, generator=generator)
        tensors[f"{name}.bn.bias"] = 0.1 * torch.randn(outputs, generator=generator)
        tensors[f"{name}.bn.running_mean"] = 0.1 * torch.randn(outputs, generator=generator)
        tensors[f"{name}.bn.running_var"] = 0.5 + torch.rand(outputs, generator=generator)

    convolution("Conv3d_1a_7x7", 3, 64, 7)
    convolution("Conv3d_2b_1x1", 64, 64, 1)
    convolution("Conv3d_2c_3x3", 64, 192, 3)
    for name, (inputs, widths) in I3D_BLOCKS.items():
        convolution(f"{name}.b0", inputs, widths[0], 1)
        convolution(f"{name}.b1a", inputs, widths[1], 1)
        convolution(f"{name}.b1b", widths[1], widths[2], 3)
        convolution(f"{name}.b2a", inputs, widths[3], 1)
        convolution(f"{name}.b2b", widths[3], widths[4], 3)
        convolution(f"{name}.b3b", inputs, widths[5], 1)
    tensors["logits.conv3d.weight"] = _he(generator, 400, 1024, 1, 1, 1)
    tensors["logits.conv3d.bias"] = 0.1 * torch.randn(400, generator=generator)
    return tensors


def pictures(seed: int, *shape: int) -> Tensor:
    """Uniform noise, smoothed so that layers see more than its mean."""
    noise = torch.rand(*shape, generator=torch.Generator().manual_seed(seed))
    return (noise + noise.roll(1, -1) + noise.roll(1, -2)) / 3
