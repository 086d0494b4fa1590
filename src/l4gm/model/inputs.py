"""From pictures and cameras to the network's 9 channels: normalised colour and Plücker rays.

The only place that knows the ImageNet normalisation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rays import plucker_embedding

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def network_input(images: Tensor, cameras: Cameras, size: int) -> Tensor:
    """Resize, normalise and join with the rays.

    Args:
        images: [B, T, V, 3, H, W] in [0, 1], any size; resized bilinearly without antialiasing.
        cameras: [V] or [B, T, V].
        size: side of the network's input in pixels.

    Returns:
        [B T V, 9, size, size] float32, normalised colour then (o x d, d).

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
    if cameras.shape == (views,):
        cameras = cameras.reshape(1, 1, views)
    colors = _resized(images.flatten(0, 2).float(), size)
    mean = colors.new_tensor(IMAGENET_MEAN)[:, None, None]
    deviation = colors.new_tensor(IMAGENET_STD)[:, None, None]
    rays = plucker_embedding(cameras.resized(size).to(images.device))
    rays = rays.expand(batch, frames, views, 6, size, size)
    return torch.cat([(colors - mean) / deviation, rays.flatten(0, 2)], 1)


def _resized(maps: Tensor, size: int) -> Tensor:
    """[n, C, H, W] -> [n, C, size, size]."""
    if maps.shape[-2:] == (size, size):
        return maps
    return F.interpolate(maps, size=(size, size), mode="bilinear", align_corners=False)
