"""Ablations that train: small networks, equal budgets, the same seeds, curves over the steps.

A run is one variant with one seed. It leaves `curve.json` and its weights in a folder named by the
variant, the seed and a digest of everything that defines it, so that suites share runs and an
interrupted suite goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.datagen.clips import MixedClips, ModelClips, ProceduralClips
from l4gm.datagen.procedural import GENERATOR_VERSION
from l4gm.evaluation.metrics import flicker, psnr, ssim
from l4gm.evaluation.renders import clip_images, clip_rgba, single_pass
from l4gm.gaussians.atomic import atomic_file
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import load_model, save_weights
from l4gm.splat.render import render
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.tasks import ReconstructionTask
from l4gm.train.trainer import RunOptions, Trainer

logger = logging.getLogger(__name__)

Data = Literal["procedural", "models", "both"]

SIZE_PX = 32
FPS = 8.0
METRICS = ("psnr", "ssim", "flicker")
_CURVE_NAME, _WEIGHTS_NAME = "curve.json", "recon.safetensors"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much each run gets.

    Args:
        image_steps, image_batch: of the single-frame stage, which stands for LGM.
        video_steps, video_frames: of the stage on clips, one clip a step.
        num_clips: different clips that a run draws from.
        judged_clips: held-out clips that each point of a curve is measured on.
        points: of a curve in each stage.
    """

    image_steps: int = 120
    image_batch: int = 4
    video_steps: int = 60
    video_frames: int = 4
    num_clips: int = 120
    judged_clips: int = 6
    points: int = 3

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ValueError(f"all parts of a budget must be at least 1, got {self}")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What is trained.

    Args:
        name: short.
        temporal: with temporal attention.
        stage: "image" (T = 1) or "video".
        steps: optimizer steps; with `start` they come on top of its own.
        start: the variant whose weights it starts from.
        frozen: train the temporal layers alone.
        data: what it is trained on.
    """

    name: str
    temporal: bool
    stage: Literal["image", "video"]
    steps: int
    start: Variant | None = None
    frozen: bool = False
    data: Data = "both"

    @property
    def steps_before(self) -> int:
        """Steps that its starting weights have seen."""
        return 0 if self.start is None else self.start.steps_before + self.start.steps


@dataclass(frozen=True)
class RunCurve:
    """What a run was measured at: steps in all, and by set of held-out clips and metric, values."""

    steps: tuple[int, ...]
    values: dict[str, dict[str, tuple[float, ...]]]


class CachedClips:
    """A source whose clips are made once; runs of a suite see the same ones."""

    def __init__(self, source: ClipSource) -> None:
        self.source = source
        self._kept: dict[tuple[int, ClipRequest], Clip] = {}

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """As the source's."""
        if (index, request) not in self._kept:
            self._kept[index, request] = self.source.clip(index, request)
        return self._kept[index, request]


def small_config(temporal: bool) -> L4GMConfig:
    """32 px in, 16 x 16 splats a view, 150,000 numbers."""
    return L4GMConfig(
        input_size=SIZE_PX,
        down_channels=(16, 32),
        down_attention=(False, True),
        mid_attention=True,
        up_channels=(32,),
        up_attention=(True,),
        temporal_attention=temporal,
        layers_per_block=1,
        norm_groups=8,
        attention_head_count=2,
    )


def train_config(variant: Variant, budget: Budget, seed: int) -> TrainConfig:
    """The run of a variant, in the terms of `l4gm.train`."""
    image = variant.stage == "image"
    stage = Stage(
        steps=variant.steps,
        warmup_steps=max(1, min(30, variant.steps // 4)),
        size_px=SIZE_PX,
        num_frames=1 if image else budget.video_frames,
        batch_size=budget.image_batch if image else 1,
        learning_rate=2e-3 if image or variant.start is None else 1e-3,
        num_clips=budget.num_clips,
    )
    return TrainConfig(
        model=small_config(variant.temporal),
        stages=(stage,),
        seed=seed,
        frames_per_clip=budget.video_frames,
        fps=FPS,
        ema_decay=0.98,
    )


class Laboratory:
    """Runs variants and remembers them on disk.

    Args:
        folder: takes a folder per run.
        budget: of every run.
        models: folder of animated models, for variants that train on them and as a held-out set.
        on_run: called with (variant, seed) before a run that is not on disk yet.

    Raises:
        InputError: no models in that folder.
    """

    def __init__(
        self,
        folder: Path,
        budget: Budget,
        models: Path | None = None,
        on_run: Callable[[Variant, int], None] | None = None,
    ) -> None:
        self.folder = folder
        self.budget = budget
        self.on_run = on_run
        procedural = CachedClips(ProceduralClips(0, "train"))
        self.sources: dict[Data, ClipSource] = {"procedural": procedural}
        self.judged: dict[str, ClipSource] = {
            "procedural": CachedClips(ProceduralClips(0, "heldout"))
        }
        if models is not None:
            self.sources["models"] = CachedClips(ModelClips(models, 0, "train"))
            sources = [procedural, self.sources["models"]]
            self.sources["both"] = MixedClips(sources, [1.0, 1.0])
            self.judged["models"] = CachedClips(ModelClips(models, 0, "heldout"))

    @property
    def widest_data(self) -> Data:
        """All there is to train on."""
        return "both" if "both" in self.sources else "procedural"

    def run(self, variant: Variant, seed: int) -> RunCurve:
        """The curve of a variant with a seed, trained now or found on disk."""
        folder = self._folder(variant, seed)
        if not (folder / _CURVE_NAME).is_file():
            if variant.start is not None:
                self.run(variant.start, seed)
            if self.on_run is not None:
                self.on_run(variant, seed)
            self._train(variant, seed, folder)
        values = json.loads((folder / _CURVE_NAME).read_text())
        measured = {
            name: {metric: tuple(row) for metric, row in metrics.items()}
            for name, metrics in values["values"].items()
        }
        return RunCurve(tuple(values["steps"]), measured)

    def weights(self, variant: Variant, seed: int) -> Path:
        """The finished weights of a run."""
        return self._folder(variant, seed) / _WEIGHTS_NAME

    def _folder(self, variant: Variant, seed: int) -> Path:
        defined_by = (
            f"{variant} {self.budget} {seed} {sorted(self.judged)} {small_config(True)} "
            f"{GENERATOR_VERSION}"
        )
        digest = hashlib.sha256(defined_by.encode()).hexdigest()[:10]
        return self.folder / f"{variant.name}-seed{seed}-{digest}"

    def _train(self, variant: Variant, seed: int, folder: Path) -> None:
        config = train_config(variant, self.budget, seed)
        task = ReconstructionTask(config, self.sources[variant.data])
        options = RunOptions(folder=folder / "run", validation_minutes=1e9, checkpoint_minutes=1e9)
        trainer = Trainer.start(config, options, task, weights=self._start(variant, seed, config))
        if variant.frozen:
            _train_temporal_layers_alone(trainer)
        every = max(1, variant.steps // self.budget.points)
        steps: list[int] = []
        values: dict[str, dict[str, list[float]]] = {}

        def measure(step: int, terms: dict[str, float]) -> None:
            if step % every and step != variant.steps:
                return
            steps.append(variant.steps_before + step)
            assert isinstance(trainer.average, L4GM)
            for name, found in self.judge(trainer.average, variant).items():
                for metric, value in found.items():
                    values.setdefault(name, {}).setdefault(metric, []).append(value)

        trainer.on_step = measure
        if trainer.run() is None:
            raise KeyboardInterrupt  # a signal stopped it; a half-trained run is no result
        save_weights(trainer.average, folder / _WEIGHTS_NAME, half=False)
        with atomic_file(folder / _CURVE_NAME) as partial:
            partial.write_text(json.dumps({"steps": steps, "values": values}) + "\n")

    def _start(self, variant: Variant, seed: int, config: TrainConfig) -> dict[str, Tensor] | None:
        """Weights to start from; temporal layers that they lack start as new ones do."""
        if variant.start is None:
            return None
        torch.manual_seed(seed)
        fresh = L4GM(config.paper_model).state_dict()
        return fresh | load_model(self.weights(variant.start, seed)).state_dict()

    @torch.inference_mode()
    def judge(self, model: L4GM, variant: Variant) -> dict[str, dict[str, float]]:
        """Mean metrics of a network on each held-out set: free views, the four views given."""
        frames = 1 if variant.stage == "image" else self.budget.video_frames
        reconstruct = single_pass(model.eval(), max_frames=frames)
        request = ClipRequest(size_px=SIZE_PX, num_frames=self.budget.video_frames, fps=FPS)
        means = {}
        for name, source in self.judged.items():
            rows = []
            for index in range(self.budget.judged_clips):
                clip = source.clip(index, request)
                rows.append(_measure(clip, reconstruct))
            means[name] = {
                metric: sum(row[metric] for row in rows) / len(rows) for metric in METRICS
            }
        return means


def _train_temporal_layers_alone(trainer: Trainer) -> None:
    """The optimizer leaves all other weights as they are.

    They keep their gradients: without, torch 2.13 crashes in the backward pass on the CPU.
    """
    temporal = {id(p) for name, p in trainer.model.named_parameters() if ".t_attns." in name}
    for group in trainer.optimizer.param_groups:
        group["params"] = [p for p in group["params"] if id(p) in temporal]


def _measure(clip: Clip, reconstruct: Callable[[Tensor, Tensor], object]) -> dict[str, float]:
    images, seen = clip_images(clip), clip_rgba(clip)
    given = clip.num_input_views
    gaussians = reconstruct(seen[:, 0], seen[0, :given])
    drawn = render(gaussians, clip.cameras[given:]).image.clamp(0, 1)  # type: ignore[arg-type]
    truth = images[:, given:]
    return {
        "psnr": psnr(drawn, truth).mean().item(),
        "ssim": ssim(drawn, truth).mean().item(),
        "flicker": flicker(drawn, truth).item(),
    }


def image_variant(data: Data, steps: int) -> Variant:
    """Single frames: what LGM is to L4GM."""
    return Variant(name=f"image-{data}", temporal=False, stage="image", steps=steps, data=data)


def video_variants(budget: Budget, data: Data) -> dict[str, Variant]:
    """The variants on clips, by name; all have seen the same number of steps in all."""
    image = image_variant(data, budget.image_steps)
    pretrained = Variant(
        name="pretrained",
        temporal=True,
        stage="video",
        steps=budget.video_steps,
        start=image,
        data=data,
    )
    steps = budget.image_steps + budget.video_steps
    return {
        "pretrained": pretrained,
        "frozen": replace(pretrained, name="frozen", frozen=True),
        "no temporal attention": replace(pretrained, name="no-temporal", temporal=False),
        "from scratch": replace(pretrained, name="scratch", start=None, steps=steps),
    }
