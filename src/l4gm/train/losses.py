"""Training losses (paper section 4.3)."""

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
        gaussians = network(batch.images, batch.cameras, input_size=stage.size_px)
        # The renderer refuses what is not finite. Such a step has a loss that is not finite either,
        # which skips it, and every process takes part in the backward pass all the same.
        flaw = sum(values.detach().sum() for values in vars(gaussians).values()) * 0.0
        gaussians = gaussians.map(torch.nan_to_num)
        terms = self(batch, render(gaussians, batch.target_cameras))
        return terms | {"loss": terms["loss"] + flaw}

    def __call__(self, batch: Batch, out: RenderOutput) -> dict[str, Tensor]:
        """The terms (paper section 4.3) and their weighted sum under the key "loss"."""
        terms = {
            "rgb": F.mse_loss(out.image, batch.target_image),
            "alpha": F.mse_loss(out.alpha, batch.target_alpha),
        }
        total = terms["rgb"] + terms["alpha"]
        weight = self.config.perceptual_weight
        if weight and self.lpips is not None:
            terms["lpips"] = perceptual_error(self.lpips, out.image, batch.target_image)
            total = total + weight * terms["lpips"]
        elif weight:
            terms["structure"] = 1 - ssim(out.image, batch.target_image)
            total = total + weight * terms["structure"]
        return {"loss": total} | terms
