"""What a run trains: where its batches come from, how it is judged, and the file it ends in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.renders import (
    SETTINGS,
    ClipScore,
    clip_images,
    evaluate_renders,
    single_pass,
    summarize,
)
from l4gm.model.l4gm import L4GM
from l4gm.train.batches import Batch, BatchSampler
from l4gm.train.interpolation import PairSampler, interpolate_clip, summarize_interpolation
from l4gm.train.presets import Stage, TrainConfig

NUM_PICTURES = 8  # of held-out clips, in a report


class Sampler(Protocol):
    """The batches of one stage."""

    stage: Stage
    stage_index: int

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> Batch:
        """A part of the batch of this step; a function of (seed, stage, step) alone."""
        ...


@dataclass(frozen=True)
class HeldOut:
    """A clip that is never trained on, as pictures.

    Args:
        name: of the clip.
        setting: what the network was given.
        truth, predicted: [S, 3, H, W] in [0, 1], free views of one frame.
    """

    name: str
    setting: str
    truth: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class Validation:
    """How good a network is on clips that are never trained on.

    Args:
        scores: in dB, by name; empty where there are no clips.
        pictures: of the first clips, the last frame or one put between.
    """

    scores: dict[str, float] = field(default_factory=dict)
    pictures: list[HeldOut] = field(default_factory=list)


class Task(Protocol):
    """A network to train, and the data for it."""

    @property
    def weights_name(self) -> str:
        """File name of the finished weights, as a model folder wants it."""
        ...

    def sampler(self, stage_index: int) -> Sampler:
        """The batches of a stage."""
        ...

    def validate(self, model: L4GM, stage: Stage) -> Validation:
        """Quality on clips that are never trained on, at the stage's size."""
        ...


@dataclass(frozen=True)
class ReconstructionTask:
    """Pictures over time to Gaussians.

    Args:
        config: of the run.
        source: clips to train on.
        validation: clips that are never trained on, or None.
        validation_clips: how many of them are scored.
    """

    config: TrainConfig
    source: ClipSource
    validation: ClipSource | None = None
    validation_clips: int = 16

    weights_name = "recon.safetensors"

    def sampler(self, stage_index: int) -> BatchSampler:
        """The batches of a stage."""
        return BatchSampler(self.config, stage_index, self.source)

    def validate(self, model: L4GM, stage: Stage) -> Validation:
        """PSNR on free views at the stage's size, and its gain over the better baseline, in dB."""
        if self.validation is None or self.validation_clips < 1:
            return Validation()
        request = ClipRequest(
            size_px=stage.size_px,
            num_frames=self.config.frames_per_clip,
            fps=self.config.fps,
            num_supervision_views=4,
        )
        pictures: list[HeldOut] = []

        def keep(clip: Clip, score: ClipScore, predicted: Tensor) -> None:
            if len(pictures) < NUM_PICTURES:
                truth = clip_images(clip)[-1, clip.num_input_views :]
                pictures.append(HeldOut(clip.name, score.setting, truth, predicted[-1].cpu()))

        scores = evaluate_renders(
            self.validation,
            single_pass(model, max_frames=stage.num_frames, input_size=stage.size_px),
            request,
            num_clips=self.validation_clips,
            on_clip=keep,
        )
        found = {}
        for summary in summarize(scores):
            key = summary.setting.replace(" ", "_")
            found[f"psnr_{key}"] = summary.psnr
            found[f"gain_{key}"] = summary.gain
        return Validation(found, pictures)


@dataclass(frozen=True)
class InterpolationTask:
    """Two frames put between each pair of neighbours.

    Args:
        config, source, validation, validation_clips: as in `ReconstructionTask`.
        reconstruction: the network whose results are drawn as views 1..3; it is not trained.
    """

    config: TrainConfig
    source: ClipSource
    reconstruction: L4GM
    validation: ClipSource | None = None
    validation_clips: int = 16

    weights_name = "interp.safetensors"

    def sampler(self, stage_index: int) -> PairSampler:
        """The batches of a stage."""
        return PairSampler(self.config, stage_index, self.source, self.reconstruction)

    def validate(self, model: L4GM, stage: Stage) -> Validation:
        """PSNR of frames between, of frames reconstructed and of blended Gaussians, in dB."""
        if self.validation is None or self.validation_clips < 1:
            return Validation()
        request = ClipRequest(
            size_px=stage.size_px,
            num_frames=self.config.frames_per_clip,
            fps=self.config.fps,
            num_supervision_views=4,
        )
        scores: dict[str, float] = {}
        pictures = []
        for setting, views_given in SETTINGS.items():
            rows = []
            for index in range(self.validation_clips):
                clip = self.validation.clip(index, request)
                row, between = interpolate_clip(model, self.reconstruction, clip, views_given)
                rows.append(row)
                if len(rows) <= NUM_PICTURES // 2:
                    truth = clip_images(clip)[1, clip.num_input_views :]
                    pictures.append(HeldOut(clip.name, f"{setting}, between", truth, between))
            scores |= summarize_interpolation(rows, setting)
        return Validation(scores, pictures)
