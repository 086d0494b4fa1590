"""Training losses (paper section 4.3), and the surface term that makes small networks learn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.perceptual.lpips import Lpips, load_lpips
from l4gm.perceptual.published import MissingWeightsError
from l4gm.splat.render import RenderOutput, render
from l4gm.train.batches import Batch
from l4gm.train.config import Stage, TrainConfig

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


def pool_points(points: Tensor, size: int) -> Tensor:
    """Mean of the known points in each cell.

    Args:
        points: [..., H, W, C], NaN where unknown.

    Returns:
        [..., size, size, C]; NaN where none is known.
    """
    factor = points.shape[-2] // size
    cells = points.reshape(*points.shape[:-3], size, factor, size, factor, points.shape[-1])
    return cells.nanmean((-4, -2))


def surface_error(gaussians: Gaussians, surface: Tensor) -> Tensor:
    """Mean distance of a splat from the surface point that its pixel shows, over object pixels.

    Averaged within each sample, then over samples, so that parts of a batch can be averaged.

    Args:
        gaussians: [B, T, N], pixel-aligned, view-major.
        surface: [B, T, V, H, W, 3] world, NaN where there is no surface.
    """
    size = round((gaussians.means.shape[2] / surface.shape[2]) ** 0.5)
    truth = pool_points(surface, size).flatten(2, 4)
    known = truth.isfinite().all(-1)
    offset = torch.where(known[..., None], gaussians.means - truth.nan_to_num(), 0)
    # The root's slope is infinite at 0.
    distance = (offset.square().sum(-1) + 1e-12).sqrt() * known
    return (distance.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).mean()


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

    def of_network(
        self, network: Callable[..., Gaussians], stage: Stage, batch: Batch
    ) -> dict[str, Tensor]:
        """The terms of what a network makes of a batch."""
        gaussians = network(
            batch.images,
            batch.cameras,
            batch.present,
            alpha=batch.alpha,
            input_size=stage.size_px,
        )
        # The renderer refuses what is not finite. Such a step has a loss that is not finite either,
        # which skips it, and every process takes part in the backward pass all the same.
        flaw = sum(values.detach().sum() for values in vars(gaussians).values()) * 0.0
        gaussians = gaussians.map(torch.nan_to_num)
        terms = self(stage, batch, gaussians, render(gaussians, batch.target_cameras))
        return terms | {"loss": terms["loss"] + flaw}

    def __call__(
        self, stage: Stage, batch: Batch, gaussians: Gaussians, out: RenderOutput
    ) -> dict[str, Tensor]:
        """The terms (paper 4.3, and surface) and their weighted sum under the key "loss"."""
        config = self.config
        terms = {
            "rgb": F.mse_loss(out.image, batch.target_image),
            "alpha": F.mse_loss(out.alpha, batch.target_alpha),
        }
        total = terms["rgb"] + config.alpha_weight * terms["alpha"]
        if stage.surface_weight and batch.surface is not None:
            terms["surface"] = surface_error(gaussians, batch.surface)
            total = total + stage.surface_weight * terms["surface"]
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
