"""From clips to the tensors of one training step.

Every sample is a pure function of (seed, stage, step, its number in the batch), so a resumed run
sees what an undisturbed one would have seen, without any saved position, and several processes
together what a single one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.media.matte import on_white
from l4gm.multiview.protocol import MultiViewGenerator
from l4gm.pipeline.frames import match_alpha, resized
from l4gm.train.augmentation import distort_grid, jitter_sides
from l4gm.train.config import Stage, TrainConfig

# The stream of random numbers that says when alpha is told, beside those of the samples.
_ALPHA_STREAM = 1


@dataclass(frozen=True)
class Batch:
    """One training step's data; a sample is the same without B.

    Args:
        images: [B, T, V, 3, H, W] on white, views 1..3 copied from the first time step.
        alpha: [B, T, V, H, W] of the images, or None, where the network is not told.
        present: [B, V] bool, which input views are given.
        cameras: [B, T, V], of the input views.
        target_image, target_alpha: [B, T, S, 3, H, W] and [B, T, S, 1, H, W], supervision.
        target_cameras: [B, T, S].
        surface: [B, T, V, H, W, 3] world position at each time step of what the input picture's
            pixel shows, NaN where that is nothing or not known; or None, where the data has no
            depth.
    """

    images: Tensor
    alpha: Tensor | None
    present: Tensor
    cameras: Cameras
    target_image: Tensor
    target_alpha: Tensor
    target_cameras: Cameras
    surface: Tensor | None

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""

        def moved(name: str) -> Any:
            part = getattr(self, name)
            return None if part is None else part.to(device)

        return Batch(*map(moved, self.__dataclass_fields__))

    @staticmethod
    def stack(samples: Sequence[Batch]) -> Batch:
        """A batch of samples of one shape."""

        def join(name: str) -> Tensor:
            return torch.stack([getattr(sample, name) for sample in samples])

        def join_cameras(name: str) -> Cameras:
            return Cameras.stack([getattr(sample, name) for sample in samples])

        return Batch(
            images=join("images"),
            alpha=None if any(sample.alpha is None for sample in samples) else join("alpha"),
            present=join("present"),
            cameras=join_cameras("cameras"),
            target_image=join("target_image"),
            target_alpha=join("target_alpha"),
            target_cameras=join_cameras("target_cameras"),
            surface=None if any(sample.surface is None for sample in samples) else join("surface"),
        )


def with_alpha(images: Tensor) -> Tensor:
    """uint8 RGBA [..., H, W, 4] to float [..., 4, H, W]: the colour on white, and alpha."""
    return on_white(images.movedim(-1, -3).float() / 255)


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


def without_free_depth(clip: Clip) -> Clip:
    """A clip to be kept in memory: with the depth of the input views alone, in half precision."""
    if clip.depth is None:
        return clip
    # Half precision holds a distance near 1.5 to 0.001, a tenth of a splat.
    return replace(clip, depth=clip.depth[:, : clip.num_input_views].astype(np.float16))


def points_at_depth(depth: NDArray[Any], cameras: Cameras) -> Tensor:
    """World positions [T, V, H, W, 3] of what pixels show; NaN where they show nothing.

    Args:
        depth: [T, V, H, W] camera z, 0 where there is nothing.
        cameras: [V].
    """
    origins, directions = pixel_rays(cameras)
    forward = cameras.world_from_camera[:, None, None, :3, 2]
    z = torch.from_numpy(depth).float()[..., None]
    points = origins + directions * z / (directions * forward).sum(-1, keepdim=True)
    return torch.where(z > 0, points, torch.nan)


def surface_points(clip: Clip, frames: slice, sides_move: bool) -> Tensor | None:
    """`Batch.surface` of some frames of a clip, whose views 1.. are those of the first of them.

    What such an old view shows has moved since. Where that is not known it says nothing of later
    times; for networks that cannot follow (`sides_move` false) it is the surface behind the pixel.

    Args:
        clip: of which the input views' depth is known, or there is no surface.
        frames: consecutive ones.
        sides_move: the network can move what an old view shows.

    Returns:
        [T, V, H, W, 3], or None.
    """
    if clip.depth is None:
        return None
    views = clip.num_input_views
    points = points_at_depth(clip.depth[frames, :views], clip.cameras[:views])
    if sides_move:
        if clip.tracks is not None and frames.start == 0:
            points[1:, 1:] = torch.from_numpy(clip.tracks[frames])[1:, 1:].float()
        else:
            points[1:, 1:] = torch.nan
    return points


def is_alpha_told(config: TrainConfig, stage_index: int, step: int) -> bool:
    """Whether the network is told alpha in this step: of a whole batch or of none of it."""
    generator = np.random.default_rng([config.seed, stage_index, step, 0, _ALPHA_STREAM])
    return bool(generator.random() >= config.unknown_alpha_probability)


class BatchSampler:
    """Draws batches for one stage from a clip source, keeping rendered clips in memory.

    Args:
        config: of the run.
        stage_index: of the stage.
        source: clips.
        generator: of views, for stages that want generated ones.

    Raises:
        ValueError: the stage wants generated views, and there is no generator.
    """

    def __init__(
        self,
        config: TrainConfig,
        stage_index: int,
        source: ClipSource,
        generator: MultiViewGenerator | None = None,
    ) -> None:
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.generator = generator
        if self.stage.generated_view_probability and generator is None:
            raise ValueError("the stage wants generated views, but there is no generator")
        self.request = ClipRequest(
            size_px=self.stage.size_px,
            num_frames=config.frames_per_clip if self.stage.keep_clips else self.stage.num_frames,
            fps=self.stage.fps or config.fps,
            num_supervision_views=config.num_supervision_views,
            tracks=config.gaussian_model.ray_offset and self.stage.num_frames > 1,
        )
        self._kept: dict[int, Clip] = {}
        self._generated: dict[tuple[int, int], Tensor] = {}

    def clip(self, index: int) -> Clip:
        """Clip of this index, rendered once."""
        if index in self._kept:
            return self._kept[index]
        clip = without_free_depth(self.source.clip(index, self.request))
        if self.stage.keep_clips:
            self._kept[index] = clip
        return clip

    def generated_sides(self, index: int, clip: Clip, frame: int) -> Tensor:
        """Views 1..3 [3, 4, H, W] as the pipeline makes them of a frame of the clip of this index,
        alpha guessed."""
        key = index, frame
        if key in self._generated:
            return self._generated[key].float() / 255
        assert self.generator is not None
        front = with_alpha(torch.from_numpy(clip.images[frame, 0]))
        views = resized(self.generator(front[:3])[1:].clamp(0, 1), self.stage.size_px)
        sides = match_alpha(views, True).mul(255).round().to("cpu", torch.uint8)
        if self.stage.keep_clips:
            self._generated[key] = sides
        return sides.float() / 255

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
        present = draw_present(
            stage.missing_view_probability, self.config.video_only_share, generator, views
        )
        pictures = with_alpha(torch.from_numpy(clip.images[frames]))
        inputs, targets = pictures[:, :views].clone(), pictures[:, views:]
        input_cameras = clip.cameras[:views]
        if generator.random() < self.config.distortion_probability:
            inputs[0, 1:] = distort_grid(inputs[0, 1:], generator)
        if generator.random() < self.config.jitter_probability:
            input_cameras = jitter_sides(input_cameras, generator)
        surface = surface_points(clip, frames, self.config.gaussian_model.ray_offset)
        if generator.random() < stage.generated_view_probability:
            inputs[0, 1:] = self.generated_sides(index, clip, start)
            present[:] = True
            if surface is not None:  # a pixel beside the object shows none of it
                surface[:, 1:][inputs[0, 1:, 3].expand_as(surface[:, 1:, ..., 0]) < 0.5] = torch.nan
        inputs = copy_first_frame_views(inputs[None])[0]
        is_told = is_alpha_told(self.config, self.stage_index, step)
        return Batch(
            images=inputs[:, :, :3],
            alpha=inputs[:, :, 3] if is_told else None,
            present=torch.from_numpy(present),
            cameras=over_time(input_cameras, stage.num_frames),
            target_image=targets[:, :, :3],
            target_alpha=targets[:, :, 3:],
            target_cameras=over_time(clip.cameras[views:], stage.num_frames),
            surface=surface,
        )


def over_time(cameras: Cameras, num_frames: int) -> Cameras:
    """Still cameras [V] at every time step, [T, V]."""
    return cameras.reshape(1, -1).expand(num_frames, *cameras.shape)
