"""Data, loss and quality of the generator of views.

A sample is one moment of a clip, seen by the four fixed cameras. Which of them counts as the front
is free, and so is whether the world is mirrored: each moment is eight samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import ClipRequest, ClipSource
from l4gm.evaluation.metrics import psnr
from l4gm.media.matte import on_white
from l4gm.multiview.side_views import SideViewNet
from l4gm.train.batches import with_alpha
from l4gm.train.config import Stage, TrainConfig


@dataclass(frozen=True)
class ViewBatch:
    """One step's data; a sample is the same without B.

    Args:
        image, alpha: [B, 4, 3, S, S] on white and [B, 4, 1, S, S], at azimuth 0, 90, 180, 270.
    """

    image: Tensor
    alpha: Tensor

    def to(self, device: torch.device) -> ViewBatch:
        """The same batch on a device."""
        return ViewBatch(self.image.to(device), self.alpha.to(device))


def view_request(config: TrainConfig, stage: Stage, num_frames: int) -> ClipRequest:
    """What is rendered of an object: the four fixed cameras alone."""
    return ClipRequest(
        size_px=stage.size_px,
        num_frames=num_frames,
        fps=stage.fps or config.fps,
        num_supervision_views=0,
    )


class ViewSampler:
    """Draws batches for one stage from a clip source, keeping rendered clips in memory."""

    def __init__(self, config: TrainConfig, stage_index: int, source: ClipSource) -> None:
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.request = view_request(config, self.stage, config.frames_per_clip)
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def clip(self, index: int) -> NDArray[np.uint8]:
        """[T, 4, S, S, 4] RGBA of the clip of this index, rendered once."""
        if index in self._kept:
            return self._kept[index]
        clip = self.source.clip(index, self.request)
        images = clip.images[:, : clip.num_input_views]
        if self.stage.keep_clips:
            self._kept[index] = images
        return images

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> ViewBatch:
        """The batch of this step of the stage, or one of the equal parts it is dealt out in."""
        numbers = range(part, self.stage.batch_size, num_parts)
        moments = np.stack([self._sample(step, number) for number in numbers])
        return ViewBatch(*with_alpha(torch.from_numpy(moments)).split([3, 1], -3))

    def _sample(self, step: int, number: int) -> NDArray[np.uint8]:
        generator = np.random.default_rng([self.config.seed, self.stage_index, step, number])
        images = self.clip(int(generator.integers(0, self.stage.num_clips)))
        moment = images[generator.integers(0, len(images))]
        moment = np.roll(moment, -int(generator.integers(0, len(moment))), axis=0)
        return mirrored(moment) if generator.random() < 0.5 else moment


def mirrored(views: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Views [4, S, S, 4] of the mirrored world: each picture mirrored, and 90 and 270 exchanged."""
    return np.ascontiguousarray(views[[0, 3, 2, 1], :, ::-1])


def view_loss(network: Callable[..., Tensor], stage: Stage, batch: ViewBatch) -> dict[str, Tensor]:
    """Squared errors of the side views' pictures and of their alpha, and their sum as "loss"."""
    views = network(batch.image[:, 0]).float()
    terms = {
        "rgb": F.mse_loss(on_white(views)[:, :, :3], batch.image[:, 1:]),
        "alpha": F.mse_loss(views[:, :, 3:], batch.alpha[:, 1:]),
    }
    return {"loss": terms["rgb"] + terms["alpha"]} | terms


@torch.inference_mode()
def score_views(network: SideViewNet, truth: Tensor) -> tuple[dict[str, float], Tensor]:
    """Judge the side views of one picture.

    Args:
        network: on any device.
        truth: [4, 3, S, S] in [0, 1] on white.

    Returns:
        PSNR in dB, the mean of the three views: "views" of the network; of the pictures that cost
        nothing, "white", "front" (the picture itself) and "mirror" (its mirror image); "back",
        "back_mirror" of the back alone. And the network's pictures [3, 3, S, S].
    """
    place = next(network.parameters()).device
    made = on_white(network(truth[:1].to(place))[0])[:, :3].cpu()
    front, sides = truth[0], truth[1:]
    found = {
        "views": psnr(made, sides).mean(),
        "white": psnr(torch.ones_like(sides), sides).mean(),
        "front": psnr(front.expand_as(sides), sides).mean(),
        "mirror": psnr(front.flip(-1).expand_as(sides), sides).mean(),
        "back": psnr(made[1], sides[1]).mean(),
        "back_mirror": psnr(front.flip(-1), sides[1]).mean(),
    }
    return {name: value.item() for name, value in found.items()}, made


def summarize_views(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over clips, "psnr_views" and so on, and "gain": over the best of the cheap pictures."""
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    best = max(means[name] for name in ("white", "front", "mirror"))
    return {f"psnr_{name}": value for name, value in means.items()} | {
        "gain_views": means["views"] - best
    }
