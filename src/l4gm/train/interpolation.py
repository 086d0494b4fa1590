"""Data and quality of the interpolation network (paper section 4.4).

A sample is a pair of neighbours of a clip at three times the video's rate: the network sees the
real front view and views 1..3 of both ends and, between them, their pixelwise blends, made by the
pipeline's own `pair_inputs`. It is judged at all four time steps.

In use views 1..3 are drawn from the reconstruction. The paper trains on true ones; a small
network's drawings are soft, and one trained on true views alone makes them softer still. So here
they are drawn as the pipeline draws them, and a share of the samples gets the true ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import SETTINGS, clip_images
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.model.l4gm import L4GM
from l4gm.pipeline.interpolate import RATE, interpolate_pairs, pair_inputs
from l4gm.pipeline.rig import InputRig
from l4gm.splat.render import render
from l4gm.train.batches import Batch, copy_first_frame_views, draw_present, on_white
from l4gm.train.presets import Stage, TrainConfig

# The stream of random numbers of a clip, beside those of the steps.
_CLIP_STREAM = 1


@torch.inference_mode()
def reconstruct_ends(reconstruction: L4GM, ends: Tensor, present: Tensor) -> Gaussians:
    """Reconstruct the frames that the video has, as the pipeline's first chunk does.

    Args:
        ends: [n, V, 3, H, W] true pictures of n frames; of views 1.. the first frame's are used.
        present: [V] bool, which views are given.

    Returns:
        Gaussians [n, N].
    """
    place = next(reconstruction.parameters()).device
    images = copy_first_frame_views(ends[None]).to(place)
    return reconstruction(images, InputRig(device=place).cameras(), present[None].to(place))[0]


@torch.inference_mode()
def draw_sides(gaussians: Gaussians, size_px: int) -> Tensor:
    """Views 1..3 of sets of Gaussians [n, N] as the pipeline hands them on: [n, 3, 3, S, S]."""
    drawn = InputRig(device=gaussians.device).draw_sides(gaussians)
    resized = F.interpolate(drawn.flatten(0, 1), (size_px, size_px), mode="bilinear")
    return resized.unflatten(0, drawn.shape[:2])


@dataclass(frozen=True)
class PairClip:
    """What is kept of a clip, in bytes.

    Args:
        front: [n, 1, 3, H, W] the real pictures of the n ends.
        true_sides, drawn_sides: [n, 3, 3, H, W] views 1..3 of the ends.
        supervision: [T, S, H, W, 4] RGBA of all frames, T = 3 (n - 1) + 1.
        depth: [T, V, H, W] camera z in the input views, half precision.
        cameras: [V + S].
    """

    front: Tensor
    true_sides: Tensor
    drawn_sides: Tensor
    supervision: NDArray[np.uint8]
    depth: NDArray[np.float16]
    cameras: Cameras


class PairSampler:
    """Draws batches of pairs from a clip source, keeping what was drawn of a clip in memory.

    Args:
        config: `fps` is the rate of the interpolated sequence; `frames_per_clip` 3 k + 1.
        stage_index: of the stage.
        source: clips with depth.
        reconstruction: draws views 1..3; each clip is seen with the views that training withholds
            from it withheld for good, since what is drawn is kept.
    """

    def __init__(
        self, config: TrainConfig, stage_index: int, source: ClipSource, reconstruction: L4GM
    ) -> None:
        if config.frames_per_clip % RATE != 1 or config.frames_per_clip <= RATE:
            raise ValueError(
                f"frames_per_clip must be {RATE} k + 1 with k >= 1, got {config.frames_per_clip}"
            )
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.reconstruction = reconstruction
        self.request = ClipRequest(
            size_px=self.stage.size_px,
            num_frames=config.frames_per_clip,
            fps=self.stage.fps or config.fps,
            num_supervision_views=config.num_supervision_views,
        )
        self._kept: dict[int, PairClip] = {}

    def clip(self, index: int) -> PairClip:
        """Clip of this index, rendered, reconstructed and drawn once."""
        if index not in self._kept:
            self._kept[index] = self._look_at(index)
        return self._kept[index]

    def _look_at(self, index: int) -> PairClip:
        clip = self.source.clip(index, self.request)
        if clip.depth is None:
            raise ValueError(f"clip {clip.name!r} has no depth, which training needs")
        views = clip.num_input_views
        generator = np.random.default_rng([self.config.seed, self.stage_index, index, _CLIP_STREAM])
        present = draw_present(
            self.stage.missing_view_probability, self.config.video_only_share, generator, views
        )
        ends, _ = on_white(torch.from_numpy(clip.images[::RATE, :views]))
        gaussians = reconstruct_ends(self.reconstruction, ends, torch.from_numpy(present))
        return PairClip(
            front=_to_bytes(ends[:, :1]),
            true_sides=_to_bytes(ends[:, 1:]),
            drawn_sides=_to_bytes(draw_sides(gaussians, self.stage.size_px)),
            supervision=clip.images[:, views:].copy(),
            depth=clip.depth[:, :views].astype(np.float16),
            cameras=clip.cameras,
        )

    def batch(self, step: int) -> Batch:
        """The batch of this step of the stage: T = 4 time steps of each of its pairs."""
        generator = np.random.default_rng([self.config.seed, self.stage_index, step])
        samples = []
        for index in generator.integers(0, self.stage.num_clips, self.stage.batch_size):
            clip = self.clip(int(index))
            pair = int(generator.integers(0, len(clip.front) - 1))
            true_views = generator.random() < self.config.true_views_probability
            samples.append(_pair_sample(clip, pair, true_views))
        return Batch.stack(samples)


def _pair_sample(clip: PairClip, pair: int, true_views: bool) -> Batch:
    """A sample, a batch without B, of one pair of neighbours."""
    ends = slice(pair, pair + 2)
    frames = slice(RATE * pair, RATE * (pair + 1) + 1)
    sides = clip.true_sides if true_views else clip.drawn_sides
    images = pair_inputs(torch.cat([clip.front[ends], sides[ends]], 1).float() / 255)[0]
    color, alpha = on_white(torch.from_numpy(clip.supervision[frames]))
    steps, views = images.shape[:2]
    cameras = clip.cameras.reshape(1, -1).expand(steps, *clip.cameras.shape)
    return Batch(
        images=images,
        present=torch.ones(views, dtype=torch.bool),
        cameras=cameras[:, :views],
        target_image=color,
        target_alpha=alpha,
        target_cameras=cameras[:, views:],
        depth=torch.from_numpy(clip.depth[frames]).float(),
    )


def _to_bytes(pictures: Tensor) -> Tensor:
    return pictures.mul(255).round().to("cpu", torch.uint8)


def blend_gaussians(first: Gaussians, second: Gaussians, share: float) -> Gaussians:
    """The plain way to put a frame between: every parameter linearly from `first` to `second`.

    Works because Gaussian n of one frame is Gaussian n of the next. Quaternions are turned to the
    same side first; their length does not matter.
    """
    side = (first.quats * second.quats).sum(-1, keepdim=True).sign()
    return Gaussians(
        means=torch.lerp(first.means, second.means, share),
        quats=torch.lerp(first.quats, torch.where(side < 0, -1.0, 1.0) * second.quats, share),
        scales=torch.lerp(first.scales, second.scales, share),
        opacities=torch.lerp(first.opacities, second.opacities, share),
        colors=torch.lerp(first.colors, second.colors, share),
    )


@torch.inference_mode()
def clip_interpolation_scores(
    model: L4GM, reconstruction: L4GM, clip: Clip, views_given: bool
) -> dict[str, float]:
    """PSNR in dB on the free views of one clip, whose every third frame the video has.

    Returns:
        "reconstructed": the video's frames, by the reconstruction network; "between": those put
        between, by the interpolation network; "blended": those by `blend_gaussians`; "repeated":
        those with the Gaussians of the nearer frame; "ends": the video's frames, by the
        interpolation network.
    """
    pictures = clip_images(clip)
    views = clip.num_input_views
    present = torch.tensor([True] + [views_given] * (views - 1))
    ends = pictures[::RATE, :views]
    given = reconstruct_ends(reconstruction, ends, present)
    rig = InputRig(size=ends.shape[-1], device=given.device)
    sides = draw_sides(given, rig.size)
    size = clip.images.shape[2]

    def network(images: Tensor, cameras: Cameras, known: Tensor | None = None, /) -> Gaussians:
        return model(images, cameras, known, input_size=size)

    seen = torch.cat([ends[:, :1].to(sides), sides], 1)
    steps = interpolate_pairs(network, rig, seen, pairs_per_batch=1)
    free = clip.cameras[views:].to(given.device)

    def score(gaussians: Gaussians, frames: slice) -> float:
        truth = pictures[frames, views:]
        cameras = free.reshape(1, -1).expand(len(truth), *free.shape)
        drawn = render(gaussians, cameras).image.clamp(0, 1)
        return psnr(drawn.cpu(), truth).mean().item()

    def between(share: float, step: int, how: str) -> float:
        frames = slice(step, None, RATE)
        if how == "network":
            return score(steps[:, step], frames)
        if how == "repeat":
            return score(given[:-1] if step < RATE / 2 else given[1:], frames)
        return score(blend_gaussians(given[:-1], given[1:], share), frames)

    def mean_between(how: str) -> float:
        return float(np.mean([between(step / RATE, step, how) for step in range(1, RATE)]))

    joined = Gaussians.cat([steps[:1, 0], steps[:, RATE]])
    return {
        "reconstructed": score(given, slice(0, None, RATE)),
        "ends": score(joined, slice(0, None, RATE)),
        "between": mean_between("network"),
        "blended": mean_between("blend"),
        "repeated": mean_between("repeat"),
    }


def interpolation_scores(
    model: L4GM,
    reconstruction: L4GM,
    source: ClipSource,
    request: ClipRequest,
    *,
    num_clips: int,
    settings: Iterable[str] = tuple(SETTINGS),
) -> dict[str, float]:
    """Means of `clip_interpolation_scores` over a source's first clips, in each setting.

    Returns:
        "psnr_between_video_only" and so on, and "shortfall_video_only" and so on: by how many dB
        frames put between fall short of reconstructed ones.
    """
    found: dict[str, float] = {}
    for setting in settings:
        rows = [
            clip_interpolation_scores(
                model, reconstruction, source.clip(index, request), SETTINGS[setting]
            )
            for index in range(num_clips)
        ]
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        key = setting.replace(" ", "_")
        found |= {f"psnr_{name}_{key}": value for name, value in means.items()}
        found[f"shortfall_{key}"] = means["reconstructed"] - means["between"]
    return found
