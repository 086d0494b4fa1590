"""Training losses (paper section 4.3), and the depth term that makes small networks learn."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.perceptual.lpips import Lpips, load_lpips
from l4gm.perceptual.published import MissingWeightsError
from l4gm.splat.render import RenderOutput
from l4gm.train.batches import Batch
from l4gm.train.presets import Stage, TrainConfig

logger = logging.getLogger(__name__)

PERCEPTUAL_PX = 256


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

    Averaged within each sample, then over samples, so that parts of a batch can be averaged.

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
    errors = ((z - truth).abs() * on_object).sum((1, 2, 3))
    return (errors / on_object.sum((1, 2, 3)).clamp(min=1)).mean()


def perceptual_error(lpips: Lpips, prediction: Tensor, target: Tensor) -> Tensor:
    """Mean LPIPS of pictures [..., 3, H, W], shrunk to at most 256 px as the paper does."""
    prediction, target = (images.flatten(0, -4) for images in (prediction, target))
    if max(prediction.shape[-2:]) > PERCEPTUAL_PX:
        size = (PERCEPTUAL_PX, PERCEPTUAL_PX)
        prediction, target = (
            F.interpolate(images, size, mode="bilinear", align_corners=False)
            for images in (prediction, target)
        )
    return lpips(prediction, target).mean()


@dataclass(frozen=True)
class Objective:
    """What a run minimises.

    Args:
        config: has the weights of the terms.
        lpips: the judge of the perceptual term; where it is None, (1 - SSIM) takes its place.
    """

    config: TrainConfig
    lpips: Lpips | None = None

    @staticmethod
    def load(config: TrainConfig, device: torch.device) -> Objective:
        """With LPIPS if the run wants it and its weights are on this machine; the log says so."""
        if not config.perceptual_weight:
            return Objective(config)
        try:
            return Objective(config, load_lpips("vgg", device))
        except MissingWeightsError as problem:
            logger.warning("no LPIPS in the loss, 1 - SSIM takes its place: %s", problem)
            return Objective(config)

    def __call__(
        self, stage: Stage, batch: Batch, gaussians: Gaussians, out: RenderOutput
    ) -> dict[str, Tensor]:
        """The terms (paper section 4.3, and depth) and their weighted sum under the key "loss"."""
        config = self.config
        terms = {
            "rgb": F.mse_loss(out.image, batch.target_image),
            "alpha": F.mse_loss(out.alpha, batch.target_alpha),
        }
        total = terms["rgb"] + config.alpha_weight * terms["alpha"]
        if stage.depth_weight and batch.depth is not None:
            terms["depth"] = depth_error(gaussians, batch.cameras, batch.depth)
            total = total + stage.depth_weight * terms["depth"]
        structure_weight = config.structure_weight
        if config.perceptual_weight and self.lpips is not None:
            terms["lpips"] = perceptual_error(self.lpips, out.image, batch.target_image)
            total = total + config.perceptual_weight * terms["lpips"]
        else:
            structure_weight += config.perceptual_weight
        if structure_weight:
            terms["structure"] = 1 - ssim(out.image, batch.target_image)
            total = total + structure_weight * terms["structure"]
        return {"loss": total} | terms
