"""Data and quality of the interpolation network (paper section 4.4).

A sample is a pair of neighbours of a clip at three times the video's rate: the network sees the
real front view and views 1..3 of both ends and, between them, their pixelwise blends, made by the
pipeline's own `pair_inputs`, alpha like colour. It is judged at all four time steps.

In use views 1..3 are drawn from the reconstruction. The paper trains on true ones; here they may
be drawn as the pipeline draws them, in a share of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import clip_images
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.model.l4gm import L4GM
from l4gm.pipeline.interpolate import RATE, interpolate_pairs, pair_inputs
from l4gm.pipeline.rig import InputRig
from l4gm.splat.render import render
from l4gm.train.batches import Batch, copy_first_frame_views, over_time, with_alpha
from l4gm.train.config import Stage, TrainConfig


@torch.inference_mode()
def reconstruct_ends(reconstruction: L4GM, ends: Tensor) -> Gaussians:
    """Reconstruct the frames that the video has, as the pipeline's first chunk does.

    Args:
        ends: [n, V, 3, H, W] true pictures of n frames; of views 1.. the first frame's are used.

    Returns:
        Gaussians [n, N].
    """
    place = next(reconstruction.parameters()).device
    images = copy_first_frame_views(ends[None]).to(place)
    cameras = InputRig(device=place).cameras()
    return reconstruction(images, cameras)[0]


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
        cameras: [V + S].
    """

    front: Tensor
    true_sides: Tensor
    drawn_sides: Tensor
    supervision: NDArray[np.uint8]
    cameras: Cameras


class PairSampler:
    """Draws batches of pairs from a clip source, keeping what was drawn of a clip in memory.

    Args:
        config: `fps` is the rate of the interpolated sequence; `frames_per_clip` 3 k + 1.
        stage_index: of the stage.
        source: clips.
        reconstruction: draws views 1..3.
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
            fps=config.fps,
            num_supervision_views=config.num_supervision_views,
        )
        self._kept: dict[int, PairClip] = {}

    def clip(self, index: int) -> PairClip:
        """Clip of this index, rendered, reconstructed and drawn once."""
        if index in self._kept:
            return self._kept[index]
        found = self._look_at(index)
        if self.stage.keep_clips:
            self._kept[index] = found
        return found

    def _look_at(self, index: int) -> PairClip:
        clip = self.source.clip(index, self.request)
        views = clip.num_input_views
        ends = clip_images(clip)[::RATE, :views]
        drawn = ends[:, 1:]
        if self.config.true_views_probability < 1:
            gaussians = reconstruct_ends(self.reconstruction, ends)
            drawn = draw_sides(gaussians, self.stage.size_px)
        return PairClip(
            front=_to_bytes(ends[:, :1]),
            true_sides=_to_bytes(ends[:, 1:]),
            drawn_sides=_to_bytes(drawn),
            supervision=clip.images[:, views:].copy(),
            cameras=clip.cameras,
        )

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> Batch:
        """The batch of this step, or a part of it: T = 4 time steps of each of its pairs."""
        numbers = range(part, self.stage.batch_size, num_parts)
        return Batch.stack([self._sample(step, number) for number in numbers])

    def _sample(self, step: int, number: int) -> Batch:
        generator = np.random.default_rng([self.config.seed, self.stage_index, step, number])
        clip = self.clip(int(generator.integers(0, self.stage.num_clips)))
        pair = int(generator.integers(0, len(clip.front) - 1))
        true_views = generator.random() < self.config.true_views_probability
        return _pair_sample(clip, pair, true_views)


def _pair_sample(clip: PairClip, pair: int, true_views: bool) -> Batch:
    """A sample, a batch without B, of one pair of neighbours."""
    ends = slice(pair, pair + 2)
    frames = slice(RATE * pair, RATE * (pair + 1) + 1)
    sides = clip.true_sides if true_views else clip.drawn_sides
    images = pair_inputs(torch.cat([clip.front[ends], sides[ends]], 1).float() / 255)[0]
    targets = with_alpha(torch.from_numpy(clip.supervision[frames]))
    steps, views = images.shape[:2]
    cameras = over_time(clip.cameras, steps)
    return Batch(
        images=images,
        cameras=cameras[:, :views],
        target_image=targets[:, :, :3],
        target_alpha=targets[:, :, 3:],
        target_cameras=cameras[:, views:],
    )


def _to_bytes(pictures: Tensor) -> Tensor:
    return pictures.mul(255).round().to("cpu", torch.uint8)


@torch.inference_mode()
def interpolate_clip(
    model: L4GM, reconstruction: L4GM, clip: Clip
) -> tuple[dict[str, float], Tensor]:
    """Interpolate one clip, of which the video has every third frame, and score its free views.

    Returns:
        PSNR in dB: "reconstructed" of the video's frames by the reconstruction network; "ends" of
        the same by the interpolation network; of the frames put between, "between" by the
        interpolation network, "blended" by `blend_gaussians`, "repeated" with the Gaussians of the
        nearer frame. And the free views [S, 3, H, W] of the first frame put between.
    """
    pictures = clip_images(clip)
    views = clip.num_input_views
    ends = pictures[::RATE, :views]
    given = reconstruct_ends(reconstruction, ends)
    rig = InputRig(size=ends.shape[-1], device=given.device)
    sides = draw_sides(given, rig.size)

    network = partial(model, input_size=rig.size)
    seen = torch.cat([ends[:, :1].to(sides), sides], 1)
    steps = interpolate_pairs(network, rig, seen, pairs_per_batch=1)
    free = clip.cameras[views:].to(given.device)

    def draw(gaussians: Gaussians) -> Tensor:
        cameras = free.reshape(1, -1).expand(len(gaussians.means), *free.shape)
        return render(gaussians, cameras).image.clamp(0, 1).cpu()

    def score(gaussians: Gaussians, first_frame: int) -> float:
        drawn = draw(gaussians)
        return psnr(drawn, pictures[first_frame::RATE, views:][: len(drawn)]).mean().item()

    scores = {
        "reconstructed": score(given, 0),
        "ends": score(Gaussians.cat([steps[:1, 0], steps[:, RATE]]), 0),
    }
    first, second = given[:-1], given[1:]
    ways = {
        "between": lambda step: steps[:, step],
        "blended": lambda step: blend_gaussians(first, second, step / RATE),
        "repeated": lambda step: first if step < RATE / 2 else second,
    }
    for name, way in ways.items():
        scores[name] = float(np.mean([score(way(step), step) for step in range(1, RATE)]))
    return scores, draw(steps[:1, 1])[0]


def blend_gaussians(first: Gaussians, second: Gaussians, share: float) -> Gaussians:
    """What costs nothing: every parameter linearly from `first` to `second`.

    Works because Gaussian n of one frame is Gaussian n of the next. Quaternions are turned to the
    same side first and normalised afterwards.
    """
    opposite = (first.quats * second.quats).sum(-1, keepdim=True) < 0
    second_quats = torch.where(opposite, -second.quats, second.quats)
    return Gaussians(
        means=torch.lerp(first.means, second.means, share),
        quats=F.normalize(torch.lerp(first.quats, second_quats, share), dim=-1),
        scales=torch.lerp(first.scales, second.scales, share),
        opacities=torch.lerp(first.opacities, second.opacities, share),
        colors=torch.lerp(first.colors, second.colors, share),
    )


def summarize_interpolation(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over clips of what `interpolate_clip` found.

    Returns:
        "psnr_between" and so on, and "shortfall": by how many dB frames put between fall short of
        reconstructed ones.
    """
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    found = {f"psnr_{name}": value for name, value in means.items()}
    return found | {"shortfall": means["reconstructed"] - means["between"]}
