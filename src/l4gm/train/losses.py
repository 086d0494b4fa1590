"""Training losses (paper section 4.3), and the depth term that makes small networks learn."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.render import RenderOutput
from l4gm.train.batches import Batch
from l4gm.train.presets import TrainConfig


def ssim(prediction: Tensor, target: Tensor, window: int = 7) -> Tensor:
    """Mean structural similarity of images [..., C, H, W] in [0, 1], uniform window."""
    x, y = prediction.flatten(0, -4), target.flatten(0, -4)
    window = min(window, *x.shape[-2:])

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, window, 1)

    mean_x, mean_y = mean(x), mean(y)
    variance_x = mean(x * x) - mean_x**2
    variance_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    similarity = ((2 * mean_x * mean_y + 1e-4) * (2 * covariance + 9e-4)) / (
        (mean_x**2 + mean_y**2 + 1e-4) * (variance_x + variance_y + 9e-4)
    )
    return similarity.mean()


def pool_depth(depth: Tensor, size: int) -> Tensor:
    """Mean of the valid depths in each cell. [..., H, W] -> [..., size, size]; 0 where none is."""
    factor = depth.shape[-1] // size
    cells = depth.reshape(*depth.shape[:-2], size, factor, size, factor)
    valid = (cells > 0).float()
    return (cells * valid).sum((-3, -1)) / valid.sum((-3, -1)).clamp(min=1)


def depth_error(gaussians: Gaussians, cameras: Cameras, depth: Tensor) -> Tensor:
    """Mean |camera z of a splat - camera z of the surface its pixel sees| over object pixels.

    Args:
        gaussians: [B, T, N], pixel-aligned, view-major.
        cameras: [B, T, V] of the input views.
        depth: [B, T, V, H, W], 0 where there is no surface.
    """
    batch, num_frames, num_views = depth.shape[:3]
    means = gaussians.means.reshape(batch, num_frames, num_views, -1, 3)
    pose = cameras.world_from_camera
    offset = means - pose[..., None, :3, 3]
    z = (offset * pose[..., None, :3, 2]).sum(-1)
    size = round(z.shape[-1] ** 0.5)
    truth = pool_depth(depth, size).flatten(-2)
    on_object = (truth > 0).float()
    return ((z - truth).abs() * on_object).sum() / on_object.sum().clamp(min=1)


def losses(
    config: TrainConfig, depth_weight: float, batch: Batch, gaussians: Gaussians, out: RenderOutput
) -> dict[str, Tensor]:
    """The terms and their weighted sum under the key "loss"."""
    terms = {
        "rgb": F.mse_loss(out.image, batch.target_image),
        "alpha": F.mse_loss(out.alpha, batch.target_alpha),
    }
    total = terms["rgb"] + config.alpha_weight * terms["alpha"]
    if depth_weight:
        terms["depth"] = depth_error(gaussians, batch.cameras, batch.depth)
        total = total + depth_weight * terms["depth"]
    if config.structure_weight:
        terms["structure"] = 1 - ssim(out.image, batch.target_image)
        total = total + config.structure_weight * terms["structure"]
    return {"loss": total} | terms
