"""`l4gm data render`: models into clips, on one machine, a Ray cluster or a job array."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from l4gm.cli.usage import CommandError, CommonOptions, UsageError, positive

if TYPE_CHECKING:
    from l4gm.datagen.farm_jobs import Model, RenderSettings
    from l4gm.datagen.farm_models import FarmTask
    from l4gm.datagen.farm_report import Report

EXAMPLES = """
l4gm data render models/ -o out/farm --workers 2 --size 128 --pack sets/mine
l4gm data render models/ -o out/cycles --renderer blender --samples 64 --max-clips 2
l4gm data render objects.parquet -o /shared/farm --renderer blender --ray auto --device gpu
l4gm data render objects.parquet -o /shared/farm --part 3/16
"""

LINE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to render, how, and where."""

    models: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODELS")]
    """Folder of .glb, .gltf, .fbx, .blend or .usd files, or a .parquet of `objaverse download`."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder of the farm. The same command again goes on where an earlier one stopped."""
    renderer: Literal["software", "blender"] = "software"
    """software reads glTF alone and is fast; blender reads all formats."""
    size: int = 256
    """Width and height in pixels."""
    fixed_views: int = 16
    """Cameras at elevation 0 with even azimuths from 0 on."""
    free_views: int = 32
    """Random cameras beside them."""
    elevation: tuple[float, float] = (-5.0, 30.0)
    """Lowest and highest elevation of the random cameras, degrees."""
    fps: float = 24.0
    """Frames per second."""
    frames: int = 24
    """Frames of a clip."""
    max_clips: int = 0
    """Clips of an animation at most, spread evenly over it; 0: all."""
    max_triangles: int = 2_000_000
    """Models with more are refused."""
    keep_still: tyro.conf.FlagCreatePairsOff[bool] = False
    """Render clips in which nothing moves too, instead of leaving them out (software)."""
    depth: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep the distances too (software)."""
    seed: int = 0
    """Of cameras and light."""
    engine: Literal["cycles", "eevee"] = "cycles"
    """Of Blender."""
    samples: int = 64
    """Rays a pixel (Blender)."""
    no_denoise: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave Cycles' noise in the pictures."""
    environment: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Environment map (.hdr, .exr) instead of the paper's four suns (Blender)."""
    blender: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """A Blender, or a Python that has bpy; by default L4GM_BLENDER, .venv-blender, blender."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What Cycles computes on."""
    workers: int = 0
    """Worker processes on this machine; 0: as many as its cores allow."""
    threads: int = 1
    """Threads of each worker."""
    timeout: float = 1800.0
    """Seconds for one clip; a worker that takes longer is stopped."""
    memory: float = 8.0
    """GiB for one worker; one that takes more is stopped."""
    part: Annotated[str, tyro.conf.arg(metavar="I/N")] = ""
    """Only every N-th model from the I-th on (from 0). In a SLURM array: from its variables."""
    ray: Annotated[str, tyro.conf.arg(metavar="ADDRESS")] = ""
    """Render on this Ray cluster: auto, ray://HEAD:10001, or local."""
    gpus_per_worker: float = 0.0
    """Share of a graphics card for each worker on Ray."""
    pack: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """When all is rendered, also pack the clips into a set there, as `l4gm data pack` does."""
    retry_failed: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also try models again that crashed, timed out or took too much memory."""


def run(options: Options) -> None:
    """Render, and say what became of everything."""
    _check(options)

    from functools import partial

    from l4gm.datagen.farm import part_of, run_farm
    from l4gm.errors import InputError

    task = _task(options)
    models = _models(options.models)
    part = _part(options.part)
    if part:
        models = part_of(models, *part)
    records = None
    if options.ray:
        try:
            from l4gm.datagen.farm_ray import ray_records
        except ImportError as error:
            raise InputError('--ray needs Ray: pip install "l4gm[datagen]"') from error
        records = partial(ray_records, address=options.ray, gpus_per_worker=options.gpus_per_worker)
    cores = os.cpu_count() or 1
    with FarmProgress() as progress:
        report = run_farm(
            models,
            task,
            num_workers=options.workers or max(1, cores // options.threads),
            records=records,
            retry_failed=options.retry_failed,
            progress=progress,
        )
    print(summary(report, options.out))
    if report.failed and not report.clips:
        raise CommandError(f"{options.out}: not one clip could be rendered")
    if options.pack is not None:
        from l4gm.cli import data_pack

        data_pack.run(data_pack.Options(clips=(str(options.out),), out=options.pack))


def _check(options: Options) -> None:
    for name in ("size", "frames", "fps", "samples", "threads", "timeout", "memory"):
        positive(f"--{name}", getattr(options, name))
    for name in ("fixed_views", "free_views", "max_clips", "workers", "gpus_per_worker"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name) + 1)
    if options.fixed_views + options.free_views < 1:
        raise UsageError("--fixed-views 0 --free-views 0: expected at least one view")
    low, high = options.elevation
    if not -90 <= low <= high <= 90:
        raise UsageError(f"--elevation {low} {high}: expected the lower one first, in -90..90")


def _task(options: Options) -> FarmTask:
    from l4gm.datagen.blender import find_blender
    from l4gm.datagen.farm import new_scratch
    from l4gm.datagen.farm_models import FarmTask
    from l4gm.datagen.farm_worker import Limits

    folder = options.out.absolute()
    is_blender = options.renderer == "blender"
    return FarmTask(
        settings=_settings(options),
        limits=Limits(
            timeout_seconds=options.timeout,
            memory_bytes=int(options.memory * 2**30),
            threads=options.threads,
        ),
        folder=folder,
        scratch=new_scratch(folder),
        blender=find_blender(options.blender or None) if is_blender else None,
        device=options.device,
    )


def _settings(options: Options) -> RenderSettings:
    from l4gm.datagen.farm_jobs import RenderSettings
    from l4gm.errors import InputError

    if options.environment is not None and not options.environment.is_file():
        raise InputError(f"{options.environment}: no such file; give an .hdr or .exr picture")
    return RenderSettings(
        renderer=options.renderer,
        size_px=options.size,
        fps=options.fps,
        num_frames=options.frames,
        fixed_views=options.fixed_views,
        free_views=options.free_views,
        elevation_degrees=options.elevation,
        max_clips=options.max_clips,
        max_triangles=options.max_triangles,
        keep_still=options.keep_still,
        seed=options.seed,
        engine=options.engine,
        samples=options.samples,
        denoise=not options.no_denoise,
        environment=str(options.environment.absolute()) if options.environment else "",
        depth=options.depth,
    )


def _models(path: Path) -> list[Model]:
    from l4gm.datagen.farm_jobs import find_models

    if path.suffix.lower() != ".parquet":
        return find_models(path)

    from l4gm.datagen.objaverse import read_models

    return read_models(path)


def _part(text: str) -> tuple[int, int] | None:
    """Which part of the models is ours: (index, count); None: all."""
    if not text:
        task = os.environ.get("SLURM_ARRAY_TASK_ID")
        if task is None:
            return None
        first = int(os.environ.get("SLURM_ARRAY_TASK_MIN", "0"))
        return int(task) - first, int(os.environ["SLURM_ARRAY_TASK_COUNT"])
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise UsageError(f"--part {text}: expected I/N with I below N, such as 0/16")
    return int(index), int(count)


def summary(report: Report, folder: Path) -> str:
    """The final report, a few lines."""
    lines = [
        f"{folder}: {report.models} models: {report.done} done, {report.refused} refused, "
        f"{report.failed} failed; {report.clips} clips"
    ]
    lines += [f"  {count} x {reason}" for reason, count in report.reasons.items()]
    lines += [
        f"  {count} clips left out: {reason}" for reason, count in report.clip_problems.items()
    ]
    cost = report.projection()
    if cost is not None and report.seconds_per_frame:
        lines.append(
            f"  {1 / report.seconds_per_frame:.1f} frames/s a worker; at this rate 110,000 "
            f"animations x 48 views x 24 frames take {cost['worker_hours_110k_animations']:,.0f} "
            f"worker hours and {cost['terabytes_110k_animations']:,.2f} TB"
        )
    return "\n".join(lines)


class FarmProgress:
    """How far a farm is: a line that is written over on a terminal, plain lines elsewhere.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._last = clock()
        self._recorded_before: int | None = None
        self._terminal = sys.stderr.isatty()

    def __enter__(self) -> FarmProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            print(file=sys.stderr)

    def __call__(self, report: Report) -> None:
        """Tell; elsewhere than on a terminal every few seconds, and at the end."""
        now = self._clock()
        first = self._recorded_before is None
        if self._recorded_before is None:
            self._recorded_before = report.recorded
        over = report.recorded == report.models
        if not (self._terminal or first or over or now - self._last >= LINE_SECONDS):
            return
        self._last = now
        text = self._text(report, now - self._began, self._recorded_before)
        end = "" if self._terminal else "\n"
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)

    @staticmethod
    def _text(report: Report, seconds: float, before: int) -> str:
        text = f"{seconds:6.1f} s  {report.recorded}/{report.models} models, {report.clips} clips"
        if report.refused or report.failed:
            text += f", {report.refused} refused, {report.failed} failed"
        fresh = report.recorded - before
        if fresh and seconds > 0:
            left = (report.models - report.recorded) * seconds / fresh
            text += f", {report.frames / seconds:.0f} frames/s, {left / 60:.0f} min left"
        return text
