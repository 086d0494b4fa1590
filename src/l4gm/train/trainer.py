"""The training loop: stages, steps, validation, checkpoints."""

from __future__ import annotations

import copy
import logging
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.train.checkpoints import (
    Checkpoint,
    load_newest,
    random_state,
    save_in_turn,
    set_random_state,
)
from l4gm.train.config import Stage, TrainConfig, position_after
from l4gm.train.optimization import (
    StepJudge,
    checkpoint_activations,
    learning_rate_factor,
    update_average,
)
from l4gm.train.processes import (
    Alone,
    Processes,
    load_optimizer_state,
    model_state,
    optimizer_state,
)
from l4gm.train.records import Records
from l4gm.train.report import write_report
from l4gm.train.tasks import Batch, Sampler, StepLoss, Task, Validation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a run is carried out, as opposed to what it learns.

    Args:
        folder: takes checkpoints, `log.jsonl`, the finished weights and `report.html`.
        max_minutes: stop (with a checkpoint) after this long.
        checkpoint_minutes, validation_minutes: intervals.
        keep_checkpoints: how many of the newest stay.
        log_every: steps between lines of the log.
        micro_batches: equal parts in which a process works through its share of a batch, to save
            memory; gradients are the same up to rounding.
        data_threads: that make batches beside the training.
        checkpoint_activations: save memory for a third more time.
        compile: let torch.compile make the network faster, after minutes of compiling.
        tensorboard: also write TensorBoard's files to the folder.
    """

    folder: Path
    max_minutes: float = math.inf
    checkpoint_minutes: float = 3.0
    validation_minutes: float = 5.0
    keep_checkpoints: int = 2
    log_every: int = 50
    micro_batches: int = 1
    data_threads: int = 1
    checkpoint_activations: bool = False
    compile: bool = False
    tensorboard: bool = False


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


class Prefetch:
    """Makes the parts of the coming batches in threads, in order."""

    def __init__(self, pool: ThreadPoolExecutor, depth: int) -> None:
        self._pool = pool
        self._depth = depth
        self._sampler: Sampler | None = None
        self._coming: deque[Future[Batch]] = deque()
        self._orders: Iterator[tuple[int, int, int]] = iter(())

    def begin(self, sampler: Sampler, first_step: int, parts: list[int], num_parts: int) -> None:
        """From now on, `next` gives these parts of the sampler's batches, step by step."""
        self._coming.clear()
        self._sampler = sampler
        steps = range(first_step, sampler.stage.steps)
        self._orders = ((step, part, num_parts) for step in steps for part in parts)
        for _ in range(self._depth):
            self._order()

    def _order(self) -> None:
        order = next(self._orders, None)
        if order is not None:
            assert self._sampler is not None
            self._coming.append(self._pool.submit(self._sampler.batch, *order))

    def next(self) -> Batch:
        batch = self._coming.popleft().result()
        self._order()
        return batch


@dataclass
class Trainer:
    """One training run. Build it with `start`, then call `run`.

    Attributes:
        model: the network; `network` is what is called in its place (DDP's wrapper, say).
        average: its averaged weights, which are validated and saved.
        step: optimizer steps done in all stages.
        on_step: called after each step with its number and its terms.
    """

    config: TrainConfig
    options: RunOptions
    task: Task
    processes: Processes
    model: nn.Module
    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step_loss: StepLoss
    judge: StepJudge
    records: Records
    step: int = 0
    seconds: float = 0.0
    on_step: Callable[[int, dict[str, float]], None] | None = None

    @staticmethod
    def start(
        config: TrainConfig,
        options: RunOptions,
        task: Task,
        processes: Processes | None = None,
        *,
        weights: dict[str, Tensor] | None = None,
        resume: bool = False,
    ) -> Trainer:
        """A run from nothing, from given weights, or (`resume`) from the folder's checkpoint.

        When resuming, `config` may differ from the checkpoint's in the stages' lengths and rates,
        but not in the network.

        Raises:
            InputError: if the checkpoint is missing, damaged or of another network, or batches
                cannot be dealt out evenly.
        """
        processes = processes or Alone()
        _check_batches(config, options.micro_batches * processes.count)
        torch.manual_seed(config.seed)
        model = task.new_network()
        if weights is not None:
            model.load_state_dict(weights)
        checkpoint = load_newest(options.folder) if resume else None
        if checkpoint is not None:
            _check_same_network(config, checkpoint, options.folder)
            model.load_state_dict(checkpoint.weights)
        model = model.to(processes.device)
        if not processes.shards:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = copy.deepcopy(model).requires_grad_(False).eval()
        if options.checkpoint_activations:
            checkpoint_activations(model)
        if options.compile:
            model.compile()
        network, optimizer = processes.prepare(model, task.optimizer(model))
        trainer = Trainer(
            config=config,
            options=options,
            task=task,
            processes=processes,
            model=model,
            network=network,
            average=average,
            optimizer=optimizer,
            step_loss=task.step_loss(processes.device),
            judge=StepJudge(checkpoint.losses if checkpoint else ()),
            records=Records(options.folder, processes.rank == 0, options.tensorboard),
        )
        if checkpoint is not None:
            average.load_state_dict(checkpoint.ema)
            load_optimizer_state(network, optimizer, checkpoint.optimizer)
            set_random_state(checkpoint.random)
            trainer.step, trainer.seconds = checkpoint.step, checkpoint.seconds
        return trainer

    def run(self) -> Path | None:
        """Train to the end of the stages, the time limit or a stop signal.

        Returns:
            the finished weights, or None if the run stopped before the end (it can be resumed).
        """
        stop = StopRequest()
        began = last_save = last_validation = time.monotonic()
        elapsed_before = self.seconds
        with stop.installed(), ThreadPoolExecutor(self.options.data_threads) as pool:
            prefetch = Prefetch(pool, self.options.data_threads + 1)
            stage_index = None
            while self.step < self.config.total_steps:
                position = position_after(self.config.stages, self.step)
                stage = self.config.stages[position.stage]
                if stage_index != position.stage:
                    stage_index = position.stage
                    self._begin_stage(prefetch, position.stage, position.step)
                self._train_step(stage, position.step, prefetch)
                now = time.monotonic()
                self.seconds = elapsed_before + now - began
                stopping, validating, saving = self._agree(
                    stop.requested or now - began > 60 * self.options.max_minutes,
                    now - last_validation > 60 * self.options.validation_minutes,
                    now - last_save > 60 * self.options.checkpoint_minutes,
                )
                if validating:
                    self.validate(stage)
                    last_validation = time.monotonic()
                if saving:
                    self.save()
                    last_save = now
                if stopping:
                    break
        self.records.flush(self.step, self.seconds)
        self.save()
        if self.step < self.config.total_steps:
            return None
        validation = self.validate(self.config.stages[-1])
        return self._finish(validation)

    def _begin_stage(self, prefetch: Prefetch, stage_index: int, first_step: int) -> None:
        sampler = self.task.sampler(stage_index)
        micro = self.options.micro_batches
        parts = [self.processes.rank * micro + k for k in range(micro)]
        prefetch.begin(sampler, first_step, parts, self.processes.count * micro)
        logger.info("stage %d: %s", stage_index, sampler.stage)

    def _agree(self, *wishes: bool) -> list[bool]:
        """What any process wants, all do."""
        flags = torch.tensor([float(wish) for wish in wishes], device=self.processes.device)
        return [bool(flag) for flag in self.processes.mean(flags)]

    def _train_step(self, stage: Stage, stage_step: int, prefetch: Prefetch) -> None:
        """One optimizer step, over all parts of the batch."""
        rate = stage.learning_rate * learning_rate_factor(stage, stage_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("rate", 1.0)
        self.optimizer.zero_grad(set_to_none=True)
        values = self._accumulate_gradients(stage, prefetch)
        norm = self.processes.clip_gradients(self.network, self.config.gradient_clip)
        self.step += 1
        fault = self.judge.fault(values["loss"], norm)
        if fault is None:
            self.optimizer.step()
            update_average(self.average, self.network, self.config.ema_decay, self.step)
        else:
            logger.warning("step %d skipped: %s", self.step, fault)
        values |= {"gradient_norm": norm, "learning_rate": rate}
        if self.on_step is not None:
            self.on_step(self.step, values)
        values["skipped"] = float(fault is not None)
        self.records.add(self.step, self.seconds, values, self.options.log_every)

    def _accumulate_gradients(self, stage: Stage, prefetch: Prefetch) -> dict[str, float]:
        """Gradients of the mean loss over the batch; returns the mean terms."""
        parts = self.options.micro_batches
        sums: dict[str, Tensor] = {}
        for part in range(parts):
            batch = prefetch.next().to(self.processes.device)
            if part < parts - 1:
                with self.processes.without_averaging(self.network):
                    terms = self._backward(stage, batch, parts)
            else:
                terms = self._backward(stage, batch, parts)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + term.detach() / parts
        means = self.processes.mean(torch.stack(list(sums.values())))
        return dict(zip(sums, means.tolist(), strict=True))

    def _backward(self, stage: Stage, batch: Batch, parts: int) -> dict[str, Tensor]:
        terms = self.step_loss(self._call_network, stage, batch)
        (terms["loss"] / parts).backward()
        return terms

    def _call_network(self, *args: Any, **options: Any) -> Any:
        half = self.config.precision == "bfloat16"
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=half):
            return self.network(*args, **options)

    def validate(self, stage: Stage) -> Validation:
        """Score the averaged weights at the stage's size."""
        validation = self.task.validate(self.average, stage)
        if validation.scores:
            self.records.log(self.step, self.seconds, validation.scores)
        return validation

    def save(self) -> None:
        """Write a checkpoint, and delete the oldest."""
        weights = model_state(self.network)
        optimizer = optimizer_state(self.network, self.optimizer)
        if self.processes.rank == 0:
            checkpoint = Checkpoint(
                step=self.step,
                config=self.config.to_dict(),
                weights=weights,
                ema=self.average.state_dict(),
                optimizer=optimizer,
                losses=list(self.judge.losses),
                random=random_state(),
                seconds=self.seconds,
            )
            save_in_turn(self.options.folder, checkpoint, self.options.keep_checkpoints)
        self.processes.wait()

    def _finish(self, validation: Validation) -> Path:
        """Write the averaged weights as the pipeline reads them, float16, and the report.

        Returns:
            the weight file, named as the task says.
        """
        path = self.options.folder / self.task.weights_name
        if self.processes.rank == 0:
            self.task.save(self.average, path, {"steps": str(self.step)})
            write_report(self.options.folder, self.config, validation.pictures)
        self.processes.wait()
        return path


def _check_batches(config: TrainConfig, num_parts: int) -> None:
    for stage in config.stages:
        if stage.batch_size % num_parts:
            raise InputError(
                f"batches of {stage.batch_size} clips cannot be dealt out evenly to {num_parts} "
                "parts (processes times micro-batches); choose a divisor"
            )


def _check_same_network(config: TrainConfig, checkpoint: Checkpoint, folder: Path) -> None:
    """Raise InputError if a checkpoint is of another network than the one to train."""
    before = TrainConfig.from_dict(checkpoint.config)
    if (before.network, before.model) != (config.network, config.model):
        raise InputError(
            f"{folder}: its checkpoint is of another network ({before.network}); resume it with "
            "the network and preset that it was started with"
        )
