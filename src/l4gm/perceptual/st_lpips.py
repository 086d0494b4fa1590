"""ST-LPIPS, a perceptual distance that forgives a shift of a pixel (Ghildyal and Liu, ECCV 2022).

LPIPS over AlexNet, trained anew with a first convolution of stride 1 and with a blur before every
sub-sampling, so that a feature does not depend on which pixels happen to be kept. Where an unseen
side is reconstructed a little off, it tells a crisp result from a smeared one; PSNR prefers the
smear. The weights are the authors'; the code is our own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.perceptual.lpips import normalized
from l4gm.perceptual.published import ST_LPIPS, load_frozen, read_tensors

SMALLEST_PX = 21  # below it the last blur cannot mirror the border
_NORM_EPSILON = 1e-10
# Name in the published file, inputs, outputs, kernel width and padding of each convolution.
_CONVOLUTIONS = (
    ("slice1.0", 3, 64, 11, 2),
    ("slice2.5", 64, 192, 5, 2),
    ("slice3.9", 192, 384, 3, 1),
    ("slice4.11", 384, 256, 3, 1),
    ("slice5.13", 256, 256, 3, 1),
)


class StLpips(nn.Module):
    """ST-LPIPS; build it with `load_st_lpips`."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, width, padding=padding)
            for _, inputs, outputs, width, padding in _CONVOLUTIONS
        )
        self.heads = nn.ParameterList(torch.empty(outputs) for _, _, outputs, _, _ in _CONVOLUTIONS)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of each pair of images; gradients flow to the images.

        Args:
            prediction, target: [..., 3, H, W] in [0, 1].

        Returns:
            [...], 0 for equal images.

        Raises:
            ValueError: shapes differ, or images smaller than `SMALLEST_PX`.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"expected two of [..., 3, H, W], got {list(prediction.shape)} and "
                f"{list(target.shape)}"
            )
        return self.distance(self.features(prediction), self.features(target))

    def features(self, images: Tensor) -> list[Tensor]:
        """The five layers' features [..., C, h, w], of unit length along the channels.

        For images that are compared with several others; see `distance`.

        Raises:
            ValueError: not [..., 3, H, W], or smaller than `SMALLEST_PX`.
        """
        if images.ndim < 3 or images.shape[-3] != 3 or min(images.shape[-2:]) < SMALLEST_PX:
            raise ValueError(
                f"ST-LPIPS needs images [..., 3, H, W] of at least {SMALLEST_PX} px, got "
                f"{list(images.shape)}"
            )
        x = normalized(images.reshape(-1, *images.shape[-3:]))
        # Pooling with stride 1 is five times as fast with the channels last.
        x = x.contiguous(memory_format=torch.channels_last)
        first, second, third, fourth, fifth = self.convolutions
        layers = [F.relu(_halved(first(x)))]
        for convolution in (second, third):
            pooled = F.max_pool2d(layers[-1], 3, stride=1)
            layers.append(F.relu(convolution(_halved(pooled))))
        for convolution in (fourth, fifth):
            layers.append(F.relu(convolution(layers[-1])))
        return [_unit(layer).reshape(*images.shape[:-3], *layer.shape[1:]) for layer in layers]

    def distance(self, prediction: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """Distance [...] of images whose `features` are given; leading dimensions broadcast."""
        parts = [
            (x - y).square().mean((-2, -1)) @ head
            for x, y, head in zip(prediction, target, self.heads, strict=True)
        ]
        return torch.stack(parts).sum(0)


def _unit(features: Tensor) -> Tensor:
    """[B, C, h, w] of length 1 along the channels; zeros stay zeros."""
    return features / (features.norm(dim=1, keepdim=True) + _NORM_EPSILON)


def _halved(x: Tensor) -> Tensor:
    """[B, C, H, W] blurred by (1, 2, 1) / 4 both ways over a mirrored border, every other kept."""
    weights = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(weights, weights).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def load_st_lpips(device: str | torch.device = "cpu") -> StLpips:
    """ST-LPIPS with the published weights, frozen.

    Raises:
        MissingWeightsError: the file is not on this machine.
        InputError: the file is damaged or another one.
    """
    # The file's blurs and scaling are constants, which the code has.
    tensors = read_tensors(ST_LPIPS, wanted=("net.", "lin"), ignored=("scaling_layer.",))
    ours = {}
    for name, tensor in tensors.items():
        if not name.endswith(".filt"):
            ours[_our_name(name)] = tensor.flatten() if name.startswith("lin") else tensor
    model = StLpips()
    load_frozen(model, ours, ST_LPIPS)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def _our_name(published: str) -> str:
    for layer, (name, *_) in enumerate(_CONVOLUTIONS):
        published = published.replace(f"net.{name}.", f"convolutions.{layer}.")
        published = published.replace(f"lin{layer}.model.1.weight", f"heads.{layer}")
    return published
