"""The reconstruction network: pictures of an object over time in, Gaussians of every frame out."""

from __future__ import annotations

import os
from typing import Literal

import torch
from torch import Tensor, nn

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.model.attention import Grid
from l4gm.model.config import L4GMConfig
from l4gm.model.convolution import PointwiseConv2d
from l4gm.model.head import NUM_CHANNELS, gaussians_xyz, to_tokens
from l4gm.model.inputs import network_input
from l4gm.model.protocol import Reconstructor
from l4gm.model.unet import UNet


class L4GM(nn.Module):
    """Large 4D Gaussian Reconstruction Model (arXiv 2406.10324, section 4).

    The names of its parameters are those of the released checkpoints; `load_state_dict` is strict.

    Args:
        config: the network's shape; `L4GMConfig.big()` is the released one.
    """

    def __init__(self, config: L4GMConfig) -> None:
        super().__init__()
        self.config = config
        self.unet = UNet(config, NUM_CHANNELS)
        self.conv = PointwiseConv2d(NUM_CHANNELS, NUM_CHANNELS)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "mini",
        *,
        kind: Literal["recon", "interp"] = "recon",
        device: str | torch.device = "cpu",
    ) -> Reconstructor:
        """A trained network in float32, in evaluation mode.

        Args:
            name: "mini" (bundled, no `L4GM` but called like one), "official" (the paper's,
                CC-BY-NC-SA-4.0, from the hub), a folder, a `.safetensors` file, or a hub name.
            kind: the reconstruction or the interpolation network.
            device: where to put it.

        Raises:
            InputError: weights that cannot be found, are damaged, or do not fit.
        """
        from l4gm.model.sources import load_pretrained

        return load_pretrained(name, kind, device)

    def forward(
        self,
        images: Tensor,
        cameras: Cameras,
        present: Tensor | None = None,
        *,
        alpha: Tensor | None = None,
        first: Tensor | None = None,
        input_size: int | None = None,
    ) -> Gaussians:
        """Reconstruct.

        Args:
            images: [B, T, V, 3, H, W] in [0, 1], on white, of any size and any T and V; resized
                bilinearly to the network's input size.
            cameras: [V] or [B, T, V], of the images.
            present: [B, V] bool; all views must be given.
            alpha, first: taken as by every `Reconstructor`, without effect.
            input_size: work at this size (a multiple of `config.size_multiple`) instead of
                `config.input_size`.

        Returns:
            Gaussians [B, T, N], float32, N = V * h * w, view-major, then row, then column.

        Raises:
            ValueError: if shapes do not fit together, the size is not possible or a view is
                missing.
        """
        if present is not None and not present.all():
            raise ValueError(f"present: L4GM needs all views, got {present.tolist()}")
        channels = self.prepare(images, cameras, input_size=input_size)
        batch, frames, views = images.shape[:3]
        features = self.features(channels, frames, views)
        with torch.autocast(features.device.type, enabled=False):
            return gaussians_xyz(to_tokens(features.float(), batch, frames))

    def prepare(self, images: Tensor, cameras: Cameras, *, input_size: int | None = None) -> Tensor:
        """The 9 input channels [B T V, 9, H, W]; arguments as in `forward`."""
        size = self.config.input_size if input_size is None else input_size
        if size < 1 or size % self.config.size_multiple:
            raise ValueError(
                f"input_size must be a multiple of {self.config.size_multiple}, got {size}"
            )
        # Rays are geometry: half precision would move splats by pixels.
        with torch.autocast(images.device.type, enabled=False):
            return network_input(images, cameras, size)

    def features(self, channels: Tensor, num_frames: int, num_views: int) -> Tensor:
        """[B T V, 9, H, W] to [B T V, 14, h, w], before activation."""
        dtype = self.conv.weight.dtype
        return self.conv(self.unet(channels.to(dtype), Grid(num_frames, num_views)))
