"""The training loop: stages, schedule, averaged weights, validation, checkpoints."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.splat.render import render
from l4gm.train.batches import Batch
from l4gm.train.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from l4gm.train.losses import losses
from l4gm.train.presets import Stage, TrainConfig, position_after
from l4gm.train.tasks import Sampler, Task

logger = logging.getLogger(__name__)

# A step whose gradient norm is not finite is skipped; this many in a row stop the run.
MAX_SKIPPED_IN_A_ROW = 20


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out, as opposed to what it learns.

    Args:
        folder: takes `checkpoint.pt`, `log.jsonl` and the finished weights.
        device: torch device name.
        max_minutes: stop (with a checkpoint) after this long.
        checkpoint_minutes, validation_minutes: intervals.
        log_every: steps between lines of the log.
    """

    folder: Path
    device: str = "cpu"
    max_minutes: float = math.inf
    checkpoint_minutes: float = 3.0
    validation_minutes: float = 5.0
    log_every: int = 50


def learning_rate_factor(stage: Stage, step: int) -> float:
    """Linear warm-up, then a cosine from 1 to 0.02 over the stage."""
    warm = min(1.0, (step + 1) / max(stage.warmup_steps, 1))
    return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW; vectors (biases, norms) are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=config.betas, foreach=True)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average with a short memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(
        list(average.parameters()), [p.detach() for p in model.parameters()], 1 - decay
    )


def _check_same_network(config: TrainConfig, checkpoint: Checkpoint, folder: Path) -> None:
    """Raise InputError if a checkpoint is of another network than the one to train."""
    before = TrainConfig.from_dict(checkpoint.config)
    if (before.network, before.model) != (config.network, config.model):
        raise InputError(
            f"{folder}: its checkpoint is of another network ({before.network}); resume it with "
            "the network and preset that it was started with"
        )


class StopRequest:
    """Set by SIGTERM or SIGINT: the loop finishes its step, saves and returns."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Catch the signals while the block runs (main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self._set) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _set(self, number: int, frame: Any) -> None:
        logger.warning("stopping after this step (signal %d)", number)
        self.requested = True


@dataclass
class Trainer:
    """One training run. Build it with `start`, then call `run`."""

    config: TrainConfig
    options: RunOptions
    task: Task
    model: L4GM
    average: L4GM
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    skipped_in_a_row: int = 0
    on_step: Callable[[int, dict[str, float]], None] | None = None
    _sums: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def start(
        config: TrainConfig,
        options: RunOptions,
        task: Task,
        *,
        weights: dict[str, Tensor] | None = None,
        resume: bool = False,
    ) -> Trainer:
        """A run from nothing, from given weights, or (`resume`) from the folder's checkpoint.

        When resuming, `config` may differ from the checkpoint's in the stages' lengths and rates,
        but not in the network.

        Raises:
            InputError: if the checkpoint is missing, damaged or of another network.
        """
        torch.manual_seed(config.seed)
        device = torch.device(options.device)
        model = L4GM(config.model)
        if weights is not None:
            model.load_state_dict(weights)
        checkpoint = load_checkpoint(options.folder / "checkpoint.pt") if resume else None
        if checkpoint is not None:
            _check_same_network(config, checkpoint, options.folder)
            model.load_state_dict(checkpoint.weights)
        model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(model).requires_grad_(False).eval()
        trainer = Trainer(config, options, task, model, average, make_optimizer(model, config))
        if checkpoint is not None:
            average.load_state_dict(checkpoint.ema)
            trainer.optimizer.load_state_dict(checkpoint.optimizer)
            trainer.step, trainer.seconds = checkpoint.step, checkpoint.seconds
        return trainer

    def run(self) -> Path | None:
        """Train to the end of the stages, the time limit or a stop signal.

        Returns:
            the finished weights, or None if the run stopped before the end (it can be resumed).
        """
        stop = StopRequest()
        began = time.monotonic()
        elapsed_before = self.seconds
        last_save = last_validation = began
        prefetch = ThreadPoolExecutor(1)
        sampler: Sampler | None = None
        with stop.installed(), prefetch:
            pending = None
            while self.step < self.config.total_steps:
                position = position_after(self.config.stages, self.step)
                if sampler is None or sampler.stage_index != position.stage:
                    sampler = self.task.sampler(position.stage)
                    pending = prefetch.submit(sampler.batch, position.step)
                    logger.info("stage %d: %s", position.stage, sampler.stage)
                assert pending is not None
                batch = pending.result()
                if position.step + 1 < sampler.stage.steps:
                    pending = prefetch.submit(sampler.batch, position.step + 1)
                self._train_step(sampler.stage, position.step, batch)
                now = time.monotonic()
                self.seconds = elapsed_before + now - began
                if now - last_validation > 60 * self.options.validation_minutes:
                    self.validate(sampler.stage)
                    last_validation = time.monotonic()
                if now - last_save > 60 * self.options.checkpoint_minutes:
                    self.save()
                    last_save = now
                if stop.requested or now - began > 60 * self.options.max_minutes:
                    break
        self.save()
        if self.step < self.config.total_steps:
            return None
        self.validate(self.config.stages[-1])
        return self.export()

    def _train_step(self, stage: Stage, stage_step: int, batch: Batch) -> None:
        """One optimizer step."""
        batch = batch.to(torch.device(self.options.device))
        rate = stage.learning_rate * learning_rate_factor(stage, stage_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        gaussians = self.model(batch.images, batch.cameras, batch.present, input_size=stage.size_px)
        out = render(gaussians, batch.target_cameras)
        terms = losses(self.config, stage.depth_weight, batch, gaussians, out)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self.step += 1
        if math.isfinite(float(norm)):
            self.optimizer.step()
            update_average(self.average, self.model, self.config.ema_decay, self.step)
            self.skipped_in_a_row = 0
        else:
            self._skip()
        self._record(
            {name: float(term.detach()) for name, term in terms.items()}
            | {"gradient_norm": float(norm), "learning_rate": rate}
        )

    def _skip(self) -> None:
        self.skipped_in_a_row += 1
        logger.warning("step %d: gradient is not finite, step skipped", self.step)
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row had a gradient that is not finite; "
                "lower the learning rate, or resume from an earlier checkpoint"
            )

    def _record(self, values: dict[str, float]) -> None:
        """Running sums, written out every `log_every` steps."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if self.on_step is not None:
            self.on_step(self.step, values)
        if self.step % self.options.log_every == 0:
            means = {name: total / self.options.log_every for name, total in self._sums.items()}
            self._sums.clear()
            self._log({"step": self.step, "minutes": self.seconds / 60, **means})

    def _log(self, entry: dict[str, Any]) -> None:
        entry = {k: round(v, 5) if isinstance(v, float) else v for k, v in entry.items()}
        logger.info("%s", json.dumps(entry))
        self.options.folder.mkdir(parents=True, exist_ok=True)
        with (self.options.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def validate(self, stage: Stage) -> None:
        """Score the averaged weights at the stage's size."""
        scores = self.task.scores(self.average, stage)
        if scores:
            self._log({"step": self.step, "minutes": self.seconds / 60, **scores})

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.options.folder / "checkpoint.pt",
            Checkpoint(
                step=self.step,
                config=self.config.to_dict(),
                weights=self.model.state_dict(),
                ema=self.average.state_dict(),
                optimizer=self.optimizer.state_dict(),
                seconds=self.seconds,
            ),
        )

    def export(self) -> Path:
        """Write the averaged weights as the pipeline reads them, float16, and the network's config.

        Returns:
            the weight file, named as the task says.
        """
        path = self.options.folder / self.task.weights_name
        metadata = {"steps": str(self.step)}
        if self.config.network == "reconstruction":
            metadata["chunk_frames"] = str(self.config.chunk_frames)
        save_weights(self.average, path, half=True, metadata=metadata)
        config = self.options.folder / "config.json"
        partial = config.with_name(config.name + ".partial")
        partial.write_text(json.dumps(self.config.model.to_dict(), indent=1) + "\n")
        os.replace(partial, config)
        return path
