"""What a run trains: where its batches come from, how it is judged, and the file it ends in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.renders import (
    ClipScore,
    clip_images,
    evaluate_renders,
    single_pass,
    summarize,
)
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.batches import BatchSampler
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.interpolation import PairSampler, interpolate_clip, summarize_interpolation
from l4gm.train.losses import Objective
from l4gm.train.optimization import make_optimizer
from l4gm.train.records import write_config

NUM_PICTURES = 8  # of held-out clips, in a report


class Batch(Protocol):
    """One training step's data, or a part of it."""

    def to(self, device: torch.device) -> Any:
        """The same on a device."""
        ...


# (network, stage, batch) -> terms, with their weighted sum under the key "loss".
StepLoss = Callable[[Callable[..., Any], Stage, Any], dict[str, Tensor]]


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

    def new_network(self) -> nn.Module:
        """The network, as it is before it has learned anything."""
        ...

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Of the network's weights. A group's "rate", if any, multiplies the learning rate."""
        ...

    def step_loss(self, device: torch.device) -> StepLoss:
        """What a step minimises."""
        ...

    def validate(self, model: Any, stage: Stage) -> Validation:
        """Quality on clips that are never trained on, at the stage's size."""
        ...

    def save(self, model: Any, path: Path, metadata: dict[str, str]) -> None:
        """Write finished weights, float16, and what makes their folder one of a model."""
        ...


@dataclass(frozen=True)
class ClipTask:
    """What all tasks have.

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

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """AdamW, as in the paper."""
        return make_optimizer(model, self.config)

    def heldout(self, request: ClipRequest) -> list[Clip]:
        """The clips that are scored; none where there are none."""
        if self.validation is None:
            return []
        return [self.validation.clip(index, request) for index in range(self.validation_clips)]


@dataclass(frozen=True)
class ReconstructionTask(ClipTask):
    """Pictures over time to Gaussians."""

    weights_name = "recon.safetensors"

    def sampler(self, stage_index: int) -> BatchSampler:
        """The batches of a stage."""
        return BatchSampler(self.config, stage_index, self.source)

    def new_network(self) -> L4GM:
        """Of the run's config."""
        return L4GM(self.config.paper_model)

    def step_loss(self, device: torch.device) -> StepLoss:
        """Renderings of free views."""
        return Objective.load(self.config, device).of_network

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
            single_pass(partial(model, input_size=stage.size_px), max_frames=stage.num_frames),
            request,
            num_clips=self.validation_clips,
            settings=("views given",),
            on_clip=keep,
        )
        (summary,) = summarize(scores)
        return Validation({"psnr": summary.psnr, "gain": summary.gain}, pictures)

    def save(self, model: L4GM, path: Path, metadata: dict[str, str]) -> None:
        """The weights, with the T they are used at, and `config.json`."""
        known = metadata | {"chunk_frames": str(self.config.chunk_frames)}
        save_weights(model, path, metadata=known)
        write_config(path.parent, self.config.paper_model)


@dataclass(frozen=True)
class InterpolationTask(ClipTask):
    """Two frames put between each pair of neighbours.

    Args:
        config, source, validation, validation_clips: as in `ClipTask`.
        reconstruction: the network whose results are drawn as views 1..3; it is not trained.
    """

    reconstruction: L4GM = field(kw_only=True)

    weights_name = "interp.safetensors"

    def sampler(self, stage_index: int) -> PairSampler:
        """The batches of a stage."""
        return PairSampler(self.config, stage_index, self.source, self.reconstruction)

    def new_network(self) -> L4GM:
        """Of the run's config."""
        return L4GM(self.config.paper_model)

    def step_loss(self, device: torch.device) -> StepLoss:
        """Renderings of free views."""
        return Objective.load(self.config, device).of_network

    def validate(self, model: L4GM, stage: Stage) -> Validation:
        """PSNR of frames between, of frames reconstructed and of blended Gaussians, in dB."""
        request = ClipRequest(
            size_px=stage.size_px,
            num_frames=self.config.frames_per_clip,
            fps=self.config.fps,
            num_supervision_views=4,
        )
        clips = self.heldout(request)
        if not clips:
            return Validation()
        rows, pictures = [], []
        for clip in clips:
            row, between = interpolate_clip(model, self.reconstruction, clip)
            rows.append(row)
            truth = clip_images(clip)[1, clip.num_input_views :]
            pictures.append(HeldOut(clip.name, "between", truth, between))
        return Validation(summarize_interpolation(rows), pictures[:NUM_PICTURES])

    def save(self, model: L4GM, path: Path, metadata: dict[str, str]) -> None:
        """The weights, and `config.json`."""
        save_weights(model, path, metadata=metadata)
        write_config(path.parent, self.config.paper_model)
