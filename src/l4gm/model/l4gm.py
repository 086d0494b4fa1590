"""The reconstruction network: pictures of an object over time in, Gaussians of every frame out."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.model.attention import Grid, view_features
from l4gm.model.config import L4GMConfig
from l4gm.model.convolution import PointwiseConv2d
from l4gm.model.head import (
    NUM_CHANNELS,
    gaussians_on_rays,
    gaussians_xyz,
    initialize_ray_head,
    to_tokens,
)
from l4gm.model.hull import visual_hull
from l4gm.model.inputs import NetworkInput, motion_since, network_input
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
        if config.head == "ray":
            initialize_ray_head(self.unet.conv_out, self.conv, config)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "mini",
        *,
        kind: Literal["recon", "interp"] = "recon",
        device: str | torch.device = "cpu",
    ) -> L4GM:
        """A trained network in float32, in evaluation mode.

        Args:
            name: "mini" (bundled), "official" (the paper's, CC-BY-NC-SA-4.0, from the hub), a
                folder, a `.safetensors` file, or a hub name.
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
            present: [V] or [B, V] bool, which views are given; None: all. The pixels of absent
                views have no influence; they still carry Gaussians.
            alpha: [B, T, V, H, W] in [0, 1], how much of each pixel of the images the object
                covers; None: not known, and guessed from what is not white. Networks with the "ray"
                head use it, the released ones do not.
            first: [B, 3, H, W], the video's picture of the moment at which views 1.. were taken, if
                that is not the first of the T; only networks with `motion_channels` look at it.
            input_size: work at this size (a multiple of `config.size_multiple`) instead of
                `config.input_size`; training starts at half size.

        Returns:
            Gaussians [B, T, N], float32, N = V * h * w, view-major, then row, then column.

        Raises:
            ValueError: if shapes do not fit together or the size is not possible.
        """
        inputs = self.prepare(
            images, cameras, present, alpha=alpha, first=first, input_size=input_size
        )
        batch, frames, views = images.shape[:3]
        features = self.features(inputs, frames, views)
        with torch.autocast(features.device.type, enabled=False):
            tokens = to_tokens(features.float(), batch, frames)
            if self.config.head == "xyz":
                return gaussians_xyz(tokens)
            return gaussians_on_rays(tokens, inputs, self.config)

    def prepare(
        self,
        images: Tensor,
        cameras: Cameras,
        present: Tensor | None = None,
        *,
        alpha: Tensor | None = None,
        first: Tensor | None = None,
        input_size: int | None = None,
    ) -> NetworkInput:
        """The 9 input channels; arguments as in `forward`."""
        size = self.config.input_size if input_size is None else input_size
        if size < 1 or size % self.config.size_multiple:
            raise ValueError(
                f"input_size must be a multiple of {self.config.size_multiple}, got {size}"
            )
        # Rays are geometry: half precision would move splats by pixels.
        with torch.autocast(images.device.type, enabled=False):
            inputs = network_input(images, cameras, present, size, alpha)
            splat_size = size // self.config.pixels_per_splat
            if self.config.ray_start == "hull":
                hull = visual_hull(inputs.alpha, inputs.present, inputs.cameras, splat_size)
                inputs = replace(inputs, hull=hull)
            if self.config.motion_channels:
                colors = inputs.colors.unflatten(0, images.shape[:3])
                inputs = replace(inputs, motion=motion_since(colors, first, splat_size))
            return inputs

    def features(self, inputs: NetworkInput, num_frames: int, num_views: int) -> Tensor:
        """[B T V, 14, h, w], before activation."""
        codes = None
        if self.config.attention_codes:
            maps = len(inputs.channels)
            codes = view_features(inputs.cameras)
            codes = codes.expand(maps // (num_frames * num_views), num_frames, num_views, -1)
            codes = codes.flatten(0, 2)
        dtype = self.conv.weight.dtype
        extra = inputs.extra_channels(self.config)
        if extra is not None:
            extra = extra.to(dtype)
        grid = Grid(num_frames, num_views, codes)
        return self.conv(self.unet(inputs.channels.to(dtype), grid, extra))
