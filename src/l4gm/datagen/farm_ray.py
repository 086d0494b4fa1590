"""The farm on a Ray cluster. Every machine sees the models and the output under the same path."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from l4gm.datagen.farm_jobs import Model
from l4gm.datagen.farm_ledger import Problem, Record
from l4gm.datagen.farm_models import FarmTask, Slot, render_model

WAITING_PER_CPU = 2
"""Models handed to Ray per free place, so that a million of them do not fill its memory."""

# Of this Ray worker process, which Ray uses for one task after the other.
_slots: dict[FarmTask, Slot] = {}


def ray_records(
    models: Sequence[Model], task: FarmTask, address: str, gpus_per_worker: float = 0.0
) -> Generator[Record]:
    """Render models on a cluster; yields each record as its model is finished.

    A model whose machine or process is lost is handed out again, up to `task.attempts` times; the
    clips that it had finished are not rendered twice.

    Args:
        models: what to render.
        task: how; its folders must be the same ones on every machine.
        address: of the cluster's head ("auto", "ray://host:10001"), or "local" for one made of
            this machine's cores.
        gpus_per_worker: share of a graphics card that a worker takes.
    """
    ray.init(
        address=None if address == "local" else address,
        log_to_driver=False,
        logging_level=logging.ERROR,
        include_dashboard=False if address == "local" else None,
    )
    try:
        yield from _records(models, task, gpus_per_worker)
    finally:
        ray.shutdown()


def _records(models: Sequence[Model], task: FarmTask, gpus: float) -> Generator[Record]:
    remote = ray.remote(_render).options(num_cpus=task.limits.threads, num_gpus=gpus, max_retries=0)
    most = WAITING_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting = [(model, 1) for model in reversed(models)]
    running: dict[Any, tuple[Model, int]] = {}
    while waiting or running:
        while waiting and len(running) < most:
            model, attempt = waiting.pop()
            running[remote.remote(model, task)] = model, attempt
        (ready,), _ = ray.wait(list(running))
        model, attempt = running.pop(ready)
        try:
            yield ray.get(ready)
        except RayError as error:
            if attempt < task.attempts:
                waiting.append((model, attempt + 1))
                continue
            lines = str(error).strip().splitlines() or [type(error).__name__]
            problem = Problem(kind="crashed", detail=lines[0][:300], final=False)
            yield Record(uid=model.uid, path=model.path, problems=(problem,))


def _render(model: Model, task: FarmTask) -> Record:
    """On a machine of the cluster."""
    slot = _slots.get(task)
    if slot is None:
        slot = _slots[task] = Slot(task)
    return render_model(model, slot)
