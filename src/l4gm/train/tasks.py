"""What a run trains: where its batches come from, how it is judged, and the file it ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from l4gm.data.clip import ClipRequest, ClipSource
from l4gm.evaluation.renders import evaluate_renders, single_pass, summarize
from l4gm.model.l4gm import L4GM
from l4gm.train.batches import Batch, BatchSampler
from l4gm.train.interpolation import PairSampler, interpolation_scores
from l4gm.train.presets import Stage, TrainConfig


class Sampler(Protocol):
    """The batches of one stage."""

    stage: Stage
    stage_index: int

    def batch(self, step: int) -> Batch:
        """The batch of this step of the stage; a function of (seed, stage, step) alone."""
        ...


class Task(Protocol):
    """A network to train, and the data for it."""

    @property
    def weights_name(self) -> str:
        """File name of the finished weights, as a model folder wants it."""
        ...

    def sampler(self, stage_index: int) -> Sampler:
        """The batches of a stage."""
        ...

    def scores(self, model: L4GM, stage: Stage) -> dict[str, float]:
        """Quality on objects that are never trained on, by name; empty where there are none."""
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

    def scores(self, model: L4GM, stage: Stage) -> dict[str, float]:
        """PSNR on free views at the stage's size, and its gain over the better baseline, in dB."""
        if self.validation is None or self.validation_clips < 1:
            return {}
        request = ClipRequest(
            size_px=stage.size_px,
            num_frames=self.config.frames_per_clip,
            fps=self.config.fps,
            num_supervision_views=4,
        )
        scores = evaluate_renders(
            self.validation,
            single_pass(model, max_frames=stage.num_frames, input_size=stage.size_px),
            request,
            num_clips=self.validation_clips,
        )
        found = {}
        for summary in summarize(scores):
            key = summary.setting.replace(" ", "_")
            found[f"psnr_{key}"] = summary.psnr
            found[f"gain_{key}"] = summary.gain
        return found


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

    def scores(self, model: L4GM, stage: Stage) -> dict[str, float]:
        """PSNR of frames between, of frames reconstructed and of blended Gaussians, in dB."""
        if self.validation is None or self.validation_clips < 1:
            return {}
        return interpolation_scores(
            model,
            self.reconstruction,
            self.validation,
            ClipRequest(
                size_px=stage.size_px,
                num_frames=self.config.frames_per_clip,
                fps=self.config.fps,
                num_supervision_views=4,
            ),
            num_clips=self.validation_clips,
        )
