"""One model on one worker: opened once, all its clips rendered, every problem recorded."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from l4gm.datagen.blender import Blender
from l4gm.datagen.farm_jobs import ClipJob, Model, RenderSettings, clip_jobs, stream
from l4gm.datagen.farm_ledger import Problem, Record
from l4gm.datagen.farm_worker import Limits, WorkerError, WorkerProcess

T = TypeVar("T")

CLIP_FOLDER = "clips"
MODELS_PER_PROCESS = 200
"""Of the software renderer, which starts in seconds; Blender gets a process for each model."""


@dataclass(frozen=True, kw_only=True)
class FarmTask:
    """All that a machine of the farm must know besides the model.

    Args:
        settings: how clips look.
        limits: what a worker may use.
        folder: the farm's; the same path on every machine.
        scratch: where workers keep temporary files.
        blender: which Blender; needed for that renderer.
        device: cpu or gpu, for Blender.
        attempts: how often something is tried at which the worker crashes or is killed.
        min_free_bytes: below this the disk counts as full.
        worker_command: another worker instead of the renderer's own.
    """

    settings: RenderSettings
    limits: Limits
    folder: Path
    scratch: Path
    blender: Blender | None = None
    device: str = "cpu"
    attempts: int = 3
    min_free_bytes: int = 1 << 28
    worker_command: tuple[str, ...] = ()

    def command(self) -> tuple[str, ...]:
        """What to start as a worker."""
        if self.worker_command:
            return self.worker_command
        if self.settings.renderer == "blender":
            if self.blender is None:
                raise ValueError("rendering with Blender needs a Blender")
            return self.blender.worker_command()
        return (sys.executable, "-m", "l4gm.datagen.farm_software_worker")


class Slot:
    """A place for one worker, kept from model to model where its start is dear.

    Its `cpu_seconds` are those of all workers that it had.

    Args:
        task: what is rendered, and how.
    """

    def __init__(self, task: FarmTask) -> None:
        self.task = task
        self.worker: WorkerProcess | None = None
        self.cpu_seconds = 0.0
        self._models_shown = 0
        self._stopped = False
        self._open: tuple[Model, list[dict[str, Any]]] | None = None
        self.notes: tuple[str, ...] = ()  # of the model opened last

    def animations(self, model: Model) -> list[dict[str, Any]]:
        """Open a model, with a new worker if there is none or it has served long enough.

        Raises:
            WorkerError: it cannot be opened.
        """
        if self._open is not None and self._open[0] == model:
            return self._open[1]
        self._open = None
        if self._stopped:
            raise WorkerError("interrupted", "the run was stopped", final=False, alive=False)
        most = 1 if self.task.settings.renderer == "blender" else MODELS_PER_PROCESS
        if self.worker is not None and self._models_shown >= most:
            self.close()
        if self.worker is None:
            self.worker = WorkerProcess(self.task.command(), self.task.limits, self.task.scratch)
            self._models_shown = 0
        self._models_shown += 1
        seed = int(stream(self.task.settings, model.uid, "light").integers(1 << 31))
        settings = self.task.settings.to_json() | {
            "light_seed": seed,
            "threads": self.task.limits.threads,
            "device": self.task.device,
        }
        answer = self._ask({"do": "open", "path": model.path, "settings": settings})
        self._open, self.notes = (model, answer["animations"]), tuple(answer["notes"])
        return answer["animations"]

    def render(self, model: Model, job: ClipJob) -> int:
        """Render a clip of a model; returns the bytes of its file.

        Raises:
            WorkerError: it cannot be rendered.
        """
        self.animations(model)  # again, if the worker was lost
        cameras, facts = job.cameras, job.facts
        answer = self._ask(
            {
                "do": "render",
                "path": str(job.path),
                "animation": job.animation,
                "start_seconds": job.start_seconds,
                "cameras": {
                    "world_from_camera": cameras.world_from_camera.tolist(),
                    "intrinsics": cameras.intrinsics.tolist(),
                    "width": cameras.width,
                    "height": cameras.height,
                    "near": cameras.near,
                    "far": cameras.far,
                    "num_fixed": self.task.settings.fixed_views,
                },
                "facts": vars(facts),
            }
        )
        return int(answer["bytes"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.worker is not None
        before = self.worker.cpu_seconds
        try:
            answer = self.worker.ask(request)
            self.cpu_seconds += self.worker.cpu_seconds - before
            return answer
        except WorkerError as problem:
            if not problem.alive:
                self.close()
            raise

    def interrupt(self) -> None:
        """From another thread: end the worker, and start no other one."""
        self._stopped = True
        if self.worker is not None:
            self.worker.kill()

    def close(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.close()
        self.worker, self._open = None, None

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def render_model(model: Model, slot: Slot) -> Record:
    """Render those clips of a model that are not there yet. Never raises for what a model does."""
    task, began, cpu_before = slot.task, time.monotonic(), slot.cpu_seconds
    clips: list[str] = []
    problems: list[Problem] = []
    frames = size = rendered = 0
    try:
        _check_disk(task)
        animations = _patiently(task, partial(slot.animations, model))
        jobs = clip_jobs(model, animations, task.settings, task.folder / CLIP_FOLDER)
    except WorkerError as problem:
        problems.append(_recorded(problem))
        jobs = []
    for job in jobs:
        if not job.path.exists():
            try:
                _check_disk(task)
                size += _patiently(task, partial(slot.render, model, job))
            except WorkerError as problem:
                problems.append(_recorded(problem, job.facts.key))
                continue
            rendered += 1
            frames += task.settings.num_frames * job.cameras.shape[0]
        clips.append(job.facts.key)
    return Record(
        uid=model.uid,
        path=model.path,
        clips=tuple(clips),
        problems=tuple(problems),
        notes=slot.notes if jobs else (),
        rendered=rendered,
        frames=frames,
        bytes=size,
        seconds=round(time.monotonic() - began, 3),
        cpu_seconds=round(slot.cpu_seconds - cpu_before, 3),
    )


def _patiently(task: FarmTask, ask: Callable[[], T]) -> T:
    """Ask again when the worker crashed or was killed: that may have had nothing to do with it."""
    for _ in range(task.attempts - 1):
        try:
            return ask()
        except WorkerError as problem:
            if problem.kind != "crashed":
                raise
    return ask()


def _check_disk(task: FarmTask) -> None:
    """Say so before hours go into a clip that cannot be written."""
    free = shutil.disk_usage(task.folder).free
    if free < task.min_free_bytes:
        detail = f"{free / 2**20:.0f} MiB left in {task.folder}"
        raise WorkerError("disk full", detail, final=False, alive=True)


def _recorded(problem: WorkerError, clip: str = "") -> Problem:
    return Problem(kind=problem.kind, detail=problem.detail, final=problem.final, clip=clip)
