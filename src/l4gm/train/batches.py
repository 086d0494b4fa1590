"""From clips to the tensors of one training step.

Every batch is a pure function of (seed, stage, step), so a resumed run sees what an undisturbed
one would have seen, without any saved position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.geometry.cameras import Cameras
from l4gm.train.presets import Stage, TrainConfig


@dataclass(frozen=True)
class Batch:
    """One training step's data; a sample is the same without B.

    Args:
        images: [B, T, V, 3, H, W] on white, views 1..3 copied from the first time step.
        present: [B, V] bool, which input views are given.
        cameras: [B, T, V], of the input views.
        target_image, target_alpha: [B, T, S, 3, H, W] and [B, T, S, 1, H, W], supervision.
        target_cameras: [B, T, S].
        depth: [B, T, V, H, W] camera z of the surface at each time step, 0 where there is none.
    """

    images: Tensor
    present: Tensor
    cameras: Cameras
    target_image: Tensor
    target_alpha: Tensor
    target_cameras: Cameras
    depth: Tensor

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
            present=join("present"),
            cameras=join_cameras("cameras"),
            target_image=join("target_image"),
            target_alpha=join("target_alpha"),
            target_cameras=join_cameras("target_cameras"),
            depth=join("depth"),
        )


def on_white(images: Tensor) -> tuple[Tensor, Tensor]:
    """uint8 RGBA [..., H, W, 4] to float image [..., 3, H, W] on white and alpha [..., 1, H, W]."""
    values = images.movedim(-1, -3).float() / 255
    alpha = values[..., 3:, :, :]
    return values[..., :3, :, :] * alpha + (1 - alpha), alpha


def copy_first_frame_views(images: Tensor) -> Tensor:
    """The paper's input: view 0 moves, views 1.. stay those of the first frame. [B, T, V, ...]."""
    out = images.clone()
    out[:, 1:, 1:] = images[:, :1, 1:]
    return out


def draw_present(
    missing_view_probability: float,
    video_only_share: float,
    generator: np.random.Generator,
    num_views: int,
) -> np.ndarray:
    """[V] bool: which views a training sample is given; the first always."""
    present = np.ones(num_views, bool)
    if generator.random() < missing_view_probability:
        if generator.random() < video_only_share:
            present[1:] = False
        else:
            present[1:] = generator.random(num_views - 1) < 0.5
    return present


class BatchSampler:
    """Draws batches for one stage from a clip source, keeping rendered clips in memory."""

    def __init__(self, config: TrainConfig, stage_index: int, source: ClipSource) -> None:
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.request = ClipRequest(
            size_px=self.stage.size_px,
            num_frames=config.frames_per_clip,
            fps=self.stage.fps or config.fps,
            num_supervision_views=config.num_supervision_views,
        )
        self._kept: dict[int, tuple[Clip, np.ndarray]] = {}

    def clip(self, index: int) -> tuple[Clip, np.ndarray]:
        """Clip of this index, rendered once, and its input views' depth [T, V, H, W]."""
        if index not in self._kept:
            clip = self.source.clip(index, self.request)
            if clip.depth is None:
                raise ValueError(f"clip {clip.name!r} has no depth, which training needs")
            # Half precision holds a distance near 1.5 to 0.001, a tenth of a splat.
            depth = clip.depth[:, : clip.num_input_views].astype(np.float16)
            self._kept[index] = replace(clip, depth=None), depth
        return self._kept[index]

    def batch(self, step: int) -> Batch:
        """The batch of this step of the stage."""
        stage = self.stage
        generator = np.random.default_rng([self.config.seed, self.stage_index, step])
        samples = []
        for index in generator.integers(0, stage.num_clips, stage.batch_size):
            clip, depth = self.clip(int(index))
            start = int(generator.integers(0, clip.images.shape[0] - stage.num_frames + 1))
            frames = slice(start, start + stage.num_frames)
            present = draw_present(
                stage.missing_view_probability,
                self.config.video_only_share,
                generator,
                clip.num_input_views,
            )
            samples.append(make_sample(clip.images[frames], depth[frames], present, clip.cameras))
        return Batch.stack(samples)


def make_sample(
    images: np.ndarray, depth: np.ndarray, present: np.ndarray, cameras: Cameras
) -> Batch:
    """A sample, a batch without B, of a clip's frames.

    Args:
        images: [T, V + S, H, W, 4] uint8 RGBA.
        depth: [T, V, H, W].
        present: [V].
        cameras: [V + S].
    """
    num_frames, num_views = depth.shape[:2]
    color, alpha = on_white(torch.from_numpy(images))
    over_time = cameras.reshape(1, -1).expand(num_frames, *cameras.shape)
    return Batch(
        images=copy_first_frame_views(color[None, :, :num_views])[0],
        present=torch.from_numpy(present),
        cameras=over_time[:, :num_views],
        target_image=color[:, num_views:],
        target_alpha=alpha[:, num_views:],
        target_cameras=over_time[:, num_views:],
        depth=torch.from_numpy(depth).float(),
    )
