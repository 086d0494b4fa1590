"""From clips to the tensors of one training step.

Every sample is a pure function of (seed, stage, step, its number in the batch), so a resumed run
sees what an undisturbed one would have seen, without any saved position, and several processes
together what a single one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.geometry.cameras import Cameras
from l4gm.media.matte import on_white
from l4gm.train.augmentation import distort_grid, jitter_sides
from l4gm.train.config import Stage, TrainConfig


@dataclass(frozen=True)
class Batch:
    """One training step's data; a sample is the same without B.

    Args:
        images: [B, T, V, 3, H, W] on white, views 1..3 copied from the first time step.
        cameras: [B, T, V], of the input views.
        target_image, target_alpha: [B, T, S, 3, H, W] and [B, T, S, 1, H, W], supervision.
        target_cameras: [B, T, S].
    """

    images: Tensor
    cameras: Cameras
    target_image: Tensor
    target_alpha: Tensor
    target_cameras: Cameras

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    @staticmethod
    def stack(samples: Sequence[Batch]) -> Batch:
        """A batch of samples of one shape."""

        def join(name: str) -> Tensor:
            return torch.stack([getattr(sample, name) for sample in samples])

        def join_cameras(name: str) -> Cameras:
            return Cameras.stack([getattr(sample, name) for sample in samples])

        return Batch(
            images=join("images"),
            cameras=join_cameras("cameras"),
            target_image=join("target_image"),
            target_alpha=join("target_alpha"),
            target_cameras=join_cameras("target_cameras"),
        )


def with_alpha(images: Tensor) -> Tensor:
    """uint8 RGBA [..., H, W, 4] to float [..., 4, H, W]: the colour on white, and alpha."""
    return on_white(images.movedim(-1, -3).float() / 255)


def copy_first_frame_views(images: Tensor) -> Tensor:
    """The paper's input: view 0 moves, views 1.. stay those of the first frame. [B, T, V, ...]."""
    out = images.clone()
    out[:, 1:, 1:] = images[:, :1, 1:]
    return out


class BatchSampler:
    """Draws batches for one stage from a clip source, keeping rendered clips in memory.

    Args:
        config: of the run.
        stage_index: of the stage.
        source: clips.
    """

    def __init__(self, config: TrainConfig, stage_index: int, source: ClipSource) -> None:
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.request = ClipRequest(
            size_px=self.stage.size_px,
            num_frames=config.frames_per_clip if self.stage.keep_clips else self.stage.num_frames,
            fps=config.fps,
            num_supervision_views=config.num_supervision_views,
        )
        self._kept: dict[int, Clip] = {}

    def clip(self, index: int) -> Clip:
        """Clip of this index, rendered once."""
        if index in self._kept:
            return self._kept[index]
        # Nothing here looks at depth, which is as large as the pictures.
        clip = replace(self.source.clip(index, self.request), depth=None)
        if self.stage.keep_clips:
            self._kept[index] = clip
        return clip

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> Batch:
        """The batch of this step of the stage, or one of the equal parts it is dealt out in."""
        numbers = range(part, self.stage.batch_size, num_parts)
        return Batch.stack([self._sample(step, number) for number in numbers])

    def _sample(self, step: int, number: int) -> Batch:
        stage = self.stage
        generator = np.random.default_rng([self.config.seed, self.stage_index, step, number])
        index = int(generator.integers(0, stage.num_clips))
        clip = self.clip(index)
        start = int(generator.integers(0, clip.images.shape[0] - stage.num_frames + 1))
        frames = slice(start, start + stage.num_frames)
        views = clip.num_input_views
        pictures = with_alpha(torch.from_numpy(clip.images[frames]))
        inputs, targets = pictures[:, :views, :3].clone(), pictures[:, views:]
        input_cameras = clip.cameras[:views]
        if generator.random() < self.config.distortion_probability:
            inputs[0, 1:] = distort_grid(inputs[0, 1:], generator)
        if generator.random() < self.config.jitter_probability:
            input_cameras = jitter_sides(input_cameras, generator)
        inputs = copy_first_frame_views(inputs[None])[0]
        return Batch(
            images=inputs,
            cameras=over_time(input_cameras, stage.num_frames),
            target_image=targets[:, :, :3],
            target_alpha=targets[:, :, 3:],
            target_cameras=over_time(clip.cameras[views:], stage.num_frames),
        )


def over_time(cameras: Cameras, num_frames: int) -> Cameras:
    """Still cameras [V] at every time step, [T, V]."""
    return cameras.reshape(1, -1).expand(num_frames, *cameras.shape)
