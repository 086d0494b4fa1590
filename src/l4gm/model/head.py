"""From the network's 14 output channels to Gaussians.

The only place that knows their order: means 3, opacity 1, scales 3, quats 4, colors 3.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS, Cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.model.config import L4GMConfig
from l4gm.model.hull import inside_silhouette, object_color
from l4gm.model.inputs import NetworkInput

CHANNELS = {"means": 3, "opacities": 1, "scales": 3, "quats": 4, "colors": 3}
NUM_CHANNELS = sum(CHANNELS.values())

# A splat of the ray head lies within this of the distance at which the ray passes the origin's
# sphere: deep enough for objects that fill the unit cube from the radius-1.5 rig.
RAY_REACH = 0.7
# It may lie this far beside its ray in either direction of the picture, where that is allowed.
OFFSET_REACH = 0.5
# Input pixels are kept away from 0 and 1, where the logit is infinite.
PIXEL_MARGIN = 0.02
PIXEL_GAIN = 2.0
SCALE_UNIT = 0.1
# Splats are at least this share of their cell wide. Training pictures have two pixels a cell, where
# the rasterizer's own blur closes the gaps between thinner ones; larger pictures would show stripes
# (the 3D smoothing filter of Mip-Splatting, Yu et al. 2024, equation 9).
SMOOTHING = 0.4


def split_channels(features: Tensor) -> dict[str, Tensor]:
    """[..., 14] into the parts named in `CHANNELS`."""
    return dict(zip(CHANNELS, features.split(tuple(CHANNELS.values()), -1), strict=True))


def to_tokens(maps: Tensor, batch: int, frames: int) -> Tensor:
    """[B T V, C, h, w] -> [B, T, V h w, C]: view-major, then row, then column."""
    return maps.permute(0, 2, 3, 1).reshape(batch, frames, -1, maps.shape[1])


def gaussians_xyz(features: Tensor) -> Gaussians:
    """Activations of the released models (DESIGN conventions; paper section 4.1).

    Args:
        features: [B, T, N, 14] float32.
    """
    parts = split_channels(features)
    return Gaussians(
        means=parts["means"].clamp(-1, 1),
        quats=F.normalize(parts["quats"], dim=-1),
        scales=SCALE_UNIT * F.softplus(parts["scales"]),
        opacities=parts["opacities"].squeeze(-1).sigmoid(),
        colors=0.5 * torch.tanh(parts["colors"]) + 0.5,
    )


def gaussians_on_rays(features: Tensor, inputs: NetworkInput, config: L4GMConfig) -> Gaussians:
    """Activations of our own models: a splat on its pixel's ray, coloured like the pixel.

    mean = origin + direction * (start + 0.7 tanh), where start is the distance to the middle of the
    scene, so that any orbit radius works, or to the visual hull; with `ray_offset` also moved along
    the picture's axes by 0.5 tanh: an old side view shows where things were;
    no scale is below 0.4 of a cell; with the hull, what projects to the background of view 0 is
    transparent;
    colour = sigmoid(2 y + logit(pixel)), absent views' pixels being the object's mean colour.
    On a coarser grid than the config's (training starts at half size) the scales grow with the
    cell, so that weights carry over between sizes.

    Args:
        features: [B, T, N, 14] float32.
        inputs: the forward pass's input, for rays and pixels.
        config: of the network.
    """
    batch, frames = features.shape[:2]
    parts = split_channels(features)
    size = inputs.colors.shape[-1] // config.pixels_per_splat
    origins, directions = (r.flatten(2, 4) for r in pixel_rays(inputs.cameras.resized(size)))
    distance = origins.norm(dim=-1, keepdim=True)
    views = len(inputs.present[0])
    colors = inputs.colors.float().unflatten(0, (batch, frames, views))
    if inputs.hull is not None:
        distance = inputs.hull.entry.flatten(2)[..., None]
    distance = distance + RAY_REACH * torch.tanh(parts["means"][..., :1])
    means = origins + directions * distance
    if config.ray_offset:
        means = means + _sideways(parts["means"][..., 1:], inputs.cameras)
    guess = object_color(colors, inputs.alpha, inputs.present)[:, :, None, :, None, None]
    colors = torch.where(inputs.present[:, None, :, None, None, None], colors, guess)
    pixels = F.avg_pool2d(colors.flatten(0, 2), config.pixels_per_splat)
    pixels = to_tokens(pixels.clamp(PIXEL_MARGIN, 1 - PIXEL_MARGIN), batch, frames)
    unit = SCALE_UNIT * config.splat_size / size
    smallest = SMOOTHING * cell_width(size)
    opacities = parts["opacities"].squeeze(-1).sigmoid()
    if inputs.hull is not None:
        opacities = opacities * inside_silhouette(
            means, inputs.alpha, inputs.cameras, is_guess=inputs.alpha_is_guess
        )
    return Gaussians(
        means=means,
        quats=F.normalize(parts["quats"], dim=-1),
        scales=((unit * F.softplus(parts["scales"])).square() + smallest**2).sqrt(),
        opacities=opacities,
        colors=torch.sigmoid(PIXEL_GAIN * parts["colors"] + pixels.logit()),
    )


def _sideways(features: Tensor, cameras: Cameras) -> Tensor:
    """Offsets along each view's right and down axes.

    Args:
        features: [B, T, N, 2] right and down, view-major.
        cameras: [B, T, V] or [1, 1, V].

    Returns:
        [B, T, N, 3] world.
    """
    axes = cameras.world_from_camera[..., :3, :2]  # [B, T, V, 3, 2]
    offsets = OFFSET_REACH * torch.tanh(features).unflatten(2, (axes.shape[2], -1))
    return (offsets @ axes.transpose(-1, -2)).flatten(2, 3)


def cell_width(size: int) -> float:
    """World units between neighbouring splats of a size x size grid, at the middle of the scene."""
    return 2 * RADIUS * math.tan(math.radians(FOV_Y_DEGREES) / 2) / size


@torch.no_grad()
def initialize_ray_head(conv_out: nn.Conv2d, conv: nn.Conv2d, config: L4GMConfig) -> None:
    """Start from small half-opaque splats in the middle of every ray, which is what learns.

    Args:
        conv_out: the U-Net's last convolution.
        conv: the 1x1 convolution after it, whose bias then is the initial output.
        config: gives the size of a splat's cell, for the default rig.
    """
    conv_out.weight.mul_(0.1)
    nn.init.zeros_(conv_out.bias)  # type: ignore[arg-type]
    cell = cell_width(config.splat_size)
    start = {
        "means": [0.0, 0.0, 0.0],
        "opacities": [-1.0],
        "scales": [math.log(math.expm1(0.6 * cell / SCALE_UNIT))] * 3,
        "quats": [1.0, 0.0, 0.0, 0.0],
        "colors": [0.0, 0.0, 0.0],
    }
    conv.bias.copy_(torch.tensor([value for name in CHANNELS for value in start[name]]))  # type: ignore[union-attr]
