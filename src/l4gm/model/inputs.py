"""From pictures and cameras to the network's 9 channels: normalised colour and Plücker rays.

The only place that knows the ImageNet normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rays import plucker_embedding
from l4gm.model.config import L4GMConfig
from l4gm.model.hull import Hull, least_alpha

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class NetworkInput:
    """What one forward pass works on.

    Args:
        channels: [B T V, 9, H, W] float32, normalised colour then (o x d, d).
        colors: [B T V, 3, H, W] in [0, 1], absent views in the mean colour.
        cameras: [B, T, V], or [1, 1, V] where all frames share them, of this image size.
        present: [B, V] bool, which views are given.
        alpha: [B, T, V, H, W] in [0, 1], how much of each pixel the object covers; 1 in absent
            views.
        alpha_is_guess: nobody knew it, it is `least_alpha`.
        hull: of the given views, along the rays of the splats; None for networks without it.
        motion: [B T V, 3, h, w] on the grid of the splats, by how much each picture differs from
            the one of the moment at which the side views were taken; None for networks without it.
    """

    channels: Tensor
    colors: Tensor
    cameras: Cameras
    present: Tensor
    alpha: Tensor
    alpha_is_guess: bool
    hull: Hull | None = None
    motion: Tensor | None = None

    def extra_channels(self, config: L4GMConfig) -> Tensor | None:
        """[B T V, C, h, w]: what the network is told beyond the 9 channels, if anything."""
        parts = []
        if config.hull_channels:
            assert self.hull is not None
            parts.append(self.hull.channels())
        if config.motion_channels:
            assert self.motion is not None
            parts.append(self.motion)
        return torch.cat(parts, 1) if parts else None


def network_input(
    images: Tensor,
    cameras: Cameras,
    present: Tensor | None,
    size: int,
    alpha: Tensor | None = None,
) -> NetworkInput:
    """Resize, mark absent views, normalise and join with the rays.

    An absent view keeps its rays; its colour is the ImageNet mean, zero after normalisation,
    which no view of an object on white looks like, and which needs no further channel.

    Args:
        images: [B, T, V, 3, H, W] in [0, 1], any size; resized bilinearly without antialiasing.
        cameras: [V] or [B, T, V].
        present: [V] or [B, V] bool; None: all views are given.
        size: side of the network's input in pixels.
        alpha: [B, T, V, H, W] in [0, 1], of the images, resized as they are; None: not known.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    if images.ndim != 6 or images.shape[3] != 3:
        raise ValueError(f"images must be [B, T, V, 3, H, W], got {list(images.shape)}")
    batch, frames, views = images.shape[:3]
    if cameras.shape not in ((views,), (batch, frames, views)):
        raise ValueError(
            f"cameras must be [{views}] or [{batch}, {frames}, {views}] for images "
            f"{list(images.shape)}, got {list(cameras.shape)}"
        )
    if alpha is not None and alpha.shape != (batch, frames, views, *images.shape[-2:]):
        raise ValueError(
            f"alpha must be {[batch, frames, views, *images.shape[-2:]]} for images "
            f"{list(images.shape)}, got {list(alpha.shape)}"
        )
    if cameras.shape == (views,):
        cameras = cameras.reshape(1, 1, views)
    cameras = cameras.resized(size).to(images.device)
    colors = _resized(images.flatten(0, 2).float(), size)
    mean = colors.new_tensor(IMAGENET_MEAN)[:, None, None]
    deviation = colors.new_tensor(IMAGENET_STD)[:, None, None]
    if present is None:
        present = torch.ones(views, dtype=torch.bool)
    if present.shape not in ((views,), (batch, views)):
        raise ValueError(
            f"present must be [{views}] or [{batch}, {views}], got {list(present.shape)}"
        )
    given = present.to(device=colors.device, dtype=torch.bool).expand(batch, views)
    shown = given[:, None].expand(batch, frames, views).reshape(-1, 1, 1, 1)
    colors = torch.where(shown, colors, mean)
    if alpha is None:
        covered = least_alpha(colors)
    else:
        covered = _resized(alpha.flatten(0, 2)[:, None].to(colors), size)[:, 0]
    covered = torch.where(shown[:, 0], covered, 1.0).unflatten(0, (batch, frames, views))
    rays = plucker_embedding(cameras).expand(batch, frames, views, 6, size, size)
    channels = torch.cat([(colors - mean) / deviation, rays.flatten(0, 2)], 1)
    return NetworkInput(channels, colors, cameras, given, covered, alpha is None)


def motion_since(colors: Tensor, first: Tensor | None, size: int) -> Tensor:
    """How the video's picture has changed since the side views were taken.

    Attention over time sees a set of moments; this tells it, and the attention between views, which
    of them the side views belong to, and what has moved since.

    Args:
        colors: [B, T, V, 3, H, W], resized; views 1.. are those of one moment.
        first: [B, 3, h, w], view 0's picture of that moment, of any size; None: the first of T.
        size: the difference is averaged to a size x size grid.

    Returns:
        [B T V, 3, size, size]; 0 for views 1...
    """
    batch, frames, views = colors.shape[:3]
    then = colors[:, 0, 0] if first is None else _resized(first.to(colors), colors.shape[-1])
    motion = colors.new_zeros(batch, frames, views, 3, size, size)
    change = (colors[:, :, 0] - then[:, None]).flatten(0, 1)
    motion[:, :, 0] = F.adaptive_avg_pool2d(change, size).unflatten(0, (batch, frames))
    return motion.flatten(0, 2)


def _resized(maps: Tensor, size: int) -> Tensor:
    """[n, C, H, W] -> [n, C, size, size]."""
    if maps.shape[-2:] == (size, size):
        return maps
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)
