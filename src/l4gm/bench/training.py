"""How fast networks train, and where the time of a step goes.

"data" is what making the clips and the batch takes when each clip is new (training makes them
beside the steps, and uses most of them many times); the other parts are shares of the step. On the
CPU the figures are processor time of one process, which a busy machine disturbs least; with a GPU
they are wall clock.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from l4gm.bench.results import Row
from l4gm.datagen.clips import ProceduralClips
from l4gm.model.l4gm import L4GM
from l4gm.splat.render import render
from l4gm.train.config import TrainConfig
from l4gm.train.losses import Objective
from l4gm.train.optimization import make_optimizer, update_average
from l4gm.train.processes import Alone
from l4gm.train.tasks import ReconstructionTask


@dataclass(frozen=True)
class StepTimes:
    """Seconds of one optimizer step, by part; medians. The parts after "data" are the step."""

    data: float
    network: float
    splatting: float
    loss: float
    optimizer: float

    @property
    def step(self) -> float:
        return self.network + self.splatting + self.loss + self.optimizer


def time_stage(
    config: TrainConfig, stage_index: int, device: torch.device, steps: int
) -> StepTimes:
    """Time some steps of a stage, after one to warm up.

    The backward pass is cut at the Gaussians and at the pictures, so that each part is charged with
    its own.
    """
    clock: Callable[[], float] = time.process_time
    if device.type == "cuda":

        def clock() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

    stage = config.stages[stage_index]
    sampler = ReconstructionTask(config, ProceduralClips()).sampler(stage_index)
    processes = Alone(device)
    torch.manual_seed(0)
    model = L4GM(config.paper_model).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = L4GM(config.paper_model).to(device)
    optimizer = make_optimizer(model, config)
    for group in optimizer.param_groups:
        group["lr"] = stage.learning_rate / 100  # how far the weights move does not matter
    objective = Objective.load(config, device)
    half = config.precision == "bfloat16"
    rows = []
    for step in range(steps + 1):
        times = [clock()]
        batch = sampler.batch(step).to(device)
        times.append(clock())
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            gaussians = model(batch.images, batch.cameras, input_size=stage.size_px)
        leaves = gaussians.detach().map(torch.Tensor.requires_grad_)
        times.append(clock())
        out = render(leaves, batch.target_cameras)
        image, alpha = (part.detach().requires_grad_() for part in (out.image, out.alpha))
        times.append(clock())
        objective(batch, replace(out, image=image, alpha=alpha))["loss"].backward()
        times.append(clock())
        torch.autograd.backward([out.image, out.alpha], [image.grad, alpha.grad])
        times.append(clock())
        names = gaussians.__dataclass_fields__
        torch.autograd.backward(
            [getattr(gaussians, name) for name in names],
            [getattr(leaves, name).grad for name in names],
        )
        times.append(clock())
        processes.clip_gradients(model, config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        update_average(average, model, config.ema_decay, step)
        times.append(clock())
        d = [after - before for before, after in itertools.pairwise(times)]
        rows.append((d[0], d[1] + d[5], d[2] + d[4], d[3], d[6]))
    medians = torch.tensor(rows[1:]).median(0).values.tolist()
    return StepTimes(*medians)


def bench_training(name: str, config: TrainConfig, device: torch.device, steps: int) -> list[Row]:
    """A row for each kind of stage of a preset.

    Args:
        name: of the preset, for the table.
        config: of the reconstruction network.
        device: where to train.
        steps: that count, of each stage.
    """
    rows: dict[str, Row] = {}
    for index, stage in enumerate(config.stages):
        case = f"{name}, {stage.size_px} px, T = {stage.num_frames}, {stage.batch_size} clips"
        if case in rows:
            continue  # another learning rate takes no other time
        times = time_stage(config, index, device, steps)
        figures = {
            "steps per second": 1 / times.step,
            "clips per second": stage.batch_size / times.step,
        }
        for part in ("network", "splatting", "loss", "optimizer"):
            figures[f"{part} %"] = 100 * getattr(times, part) / times.step
        figures["data seconds a step"] = times.data
        rows[case] = Row(case=case, competitor="l4gm", figures=figures)
    return list(rows.values())
