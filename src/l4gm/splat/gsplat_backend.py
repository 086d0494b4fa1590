"""The optional gsplat backend (CUDA): its own kernels behind our conventions."""

from __future__ import annotations

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.constants import BLUR_VARIANCE_PX2


def render_gsplat(
    gaussians: Gaussians, cameras: Cameras, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Render with `gsplat.rasterization` (1.5 or later). Differentiable, float32.

    Args:
        gaussians: [..., N], on a CUDA device.
        cameras: [..., C].
        background: [3].

    Returns:
        Image [..., C, 3, H, W] and alpha [..., C, 1, H, W].

    Raises:
        InputError: if the Gaussians are not on a CUDA device.
    """
    device = gaussians.device
    if device.type != "cuda":
        raise InputError(
            f'backend "gsplat" needs Gaussians on a CUDA device, got {device.type}: '
            'move them, or take backend="cpu"'
        )
    if gaussians.means.numel() == 0 or cameras.shape.numel() == 0:  # gsplat refuses empty batches
        size = (cameras.height, cameras.width)
        # What is not there has a gradient all the same: an empty one.
        nothing = sum(t.float().sum() for t in (gaussians.means, gaussians.quats, gaussians.scales,
                                         gaussians.opacities, gaussians.colors)) * 0  # fmt: skip
        image = background.float()[:, None, None].expand(*cameras.shape, 3, *size) + nothing
        return image, torch.zeros(*cameras.shape, 1, *size, device=device) + nothing
    from gsplat import rasterization

    images, alphas, _ = rasterization(
        means=gaussians.means.float(),
        quats=gaussians.quats.float(),
        scales=gaussians.scales.float(),
        opacities=gaussians.opacities.float(),
        colors=gaussians.colors.float(),
        viewmats=cameras.camera_from_world.to(device, torch.float32),
        Ks=cameras.intrinsics.to(device, torch.float32),
        width=cameras.width,
        height=cameras.height,
        near_plane=cameras.near,
        far_plane=cameras.far,
        eps2d=BLUR_VARIANCE_PX2,
        backgrounds=background.float().expand(*cameras.shape, 3).contiguous(),
        packed=False,
    )
    return images.movedim(-1, -3), alphas.movedim(-1, -3)
