"""Pixel rays and their Plücker embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras


def pixel_rays(cameras: Cameras) -> tuple[Tensor, Tensor]:
    """World-space rays through the pixel centres (+0.5).

    Returns:
        origins [..., H, W, 3] and unit directions [..., H, W, 3].
    """
    pose, intrinsics = cameras.world_from_camera, cameras.intrinsics
    x = torch.arange(cameras.width, device=pose.device, dtype=pose.dtype) + 0.5
    y = torch.arange(cameras.height, device=pose.device, dtype=pose.dtype) + 0.5
    pixels = torch.stack(
        [x.expand(cameras.height, -1), y[:, None].expand(-1, cameras.width)], -1
    )  # [H, W, 2]
    centre = intrinsics[..., None, None, :2, 2]
    focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], -1)[..., None, None, :]
    in_camera = torch.cat(
        [
            (pixels - centre) / focal,
            torch.ones_like(pixels[..., :1]).expand(*cameras.shape, -1, -1, -1),
        ],
        -1,
    )
    directions = torch.einsum("...ij,...hwj->...hwi", pose[..., :3, :3], in_camera)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    origins = pose[..., None, None, :3, 3].expand_as(directions)
    return origins, directions


def points_at_depth(cameras: Cameras, depth: Tensor) -> Tensor:
    """World positions [..., H, W, 3] of what pixels show; NaN where they show nothing.

    Args:
        cameras: [V].
        depth: [..., V, H, W] camera z at the pixels' centres, 0 where there is nothing.
    """
    origins, directions = pixel_rays(cameras)
    forward = cameras.world_from_camera[..., None, None, :3, 2]
    z = depth[..., None]
    points = origins + directions * z / (directions * forward).sum(-1, keepdim=True)
    return torch.where(z > 0, points, torch.nan)


def plucker_embedding(cameras: Cameras) -> Tensor:
    """[..., 6, H, W]: (o x d, d) of every pixel's ray, d of unit length (paper section 4.1)."""
    origins, directions = pixel_rays(cameras)
    embedding = torch.cat([torch.linalg.cross(origins, directions), directions], -1)
    return embedding.movedim(-1, -3)
