"""`l4gm train`: a network from nothing, or from where an earlier run stopped."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from l4gm.cli.usage import CommandError, CommonOptions, UsageError, positive
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.io.lock import locked

if TYPE_CHECKING:
    from l4gm.data.clip import ClipSource
    from l4gm.train.config import TrainConfig
    from l4gm.train.processes import Processes
    from l4gm.train.tasks import Task
    from l4gm.train.trainer import Trainer

EXAMPLES = """
l4gm train reconstruction --preset debug -o runs/try           # seconds, to see that it works
l4gm train reconstruction --preset debug -o runs/try --resume
l4gm train reconstruction --preset debug -o runs/mixed --models my_glb_files/
l4gm train reconstruction --preset mini -o runs/mini --models my_glb_files/ --stills my_props/
l4gm train reconstruction --preset mini -o runs/mini --models my_glb_files/ --resume
l4gm train interpolation --preset debug --weights runs/try/recon.safetensors -o runs/between
l4gm train reconstruction --preset big --weights lgm.safetensors --skip-stages 1 -o runs/big
accelerate launch -m l4gm train reconstruction --preset big -o runs/big    # several GPUs
"""

RECONSTRUCTION_NAME = "recon.safetensors"


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to train, on what, for how long."""

    network: tyro.conf.Positional[Literal["reconstruction", "interpolation"]]
    """The network to train: frames to Gaussians, or the frames between frames."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder of the run: checkpoint, log, and the finished weights."""
    preset: Literal["mini", "tiny", "big", "debug"] = "mini"
    """Network and schedule: mini is the bundled model (hours of CPU), tiny a smaller one of its
    kind, big the paper's (for GPUs), debug the paper's in seconds. Interpolation has big, debug."""
    models: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of animated .glb or .gltf models to mix with the procedural objects."""
    stills: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """mini and tiny: folder of models that do not move, to mix in too."""
    workers: int = 1
    """mini and tiny: processes that render clips before a stage begins."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DIR|URL")] = None
    """Packed set (l4gm data pack), which takes the place of procedural objects."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Start from these .safetensors weights of the same network; with LGM's, the temporal layers
    start from nothing. Interpolation starts from the reconstruction network's, which also draws
    the views that it will be given in use."""
    skip_stages: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Leave out the first stages, for weights that have learned them."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on from the folder's checkpoint."""
    max_minutes: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Save and stop after this long; --resume goes on."""
    validation_clips: int = 16
    """Objects never trained on that are scored now and then; 0 for none."""
    true_views: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Interpolation: share of the samples with true side views, as in the paper, and not drawn ones
    (0 to 1; by default the preset's)."""
    seed: int = 0
    """Seed of weights, objects and order."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""
    micro_batches: int = 1
    """Work through a batch in this many parts, to save memory."""
    checkpoint_activations: tyro.conf.FlagCreatePairsOff[bool] = False
    """Save memory for a third more time."""
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Use torch.compile."""
    data_threads: int = 1
    """Threads that make batches."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints stay."""
    tensorboard: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write TensorBoard's files too, to the folder's tensorboard/."""


def run(options: Options) -> None:
    """Train; Ctrl-C and SIGTERM save and stop."""
    _check(options)
    logging.getLogger("l4gm").setLevel(logging.INFO)
    with ExitStack() as stack:
        if int(os.environ.get("RANK", "0")) == 0:  # the others belong to the same run
            stack.enter_context(locked(options.out))
        trainer = _start(options)
        if sys.stderr.isatty() and trainer.processes.rank == 0:
            from l4gm.cli.progress import Progress

            progress = stack.enter_context(Progress())
            total = trainer.config.total_steps
            trainer.on_step = lambda step, values: progress("train", step, total)
        try:
            finished = trainer.run()
        except FloatingPointError as error:
            raise CommandError(str(error)) from error
    if trainer.processes.rank > 0:
        return
    if finished is None:
        done = f"{trainer.step} of {trainer.config.total_steps} steps"
        print(f"{options.out}: stopped after {done}; --resume goes on")
    else:
        print(f"{finished}: try it with l4gm reconstruct VIDEO --model {options.out}")
        print(f"{options.out / 'report.html'}: how the training went")


def _check(options: Options) -> None:
    """Raise for options that do not go together."""
    from l4gm.train.checkpoints import checkpoint_paths

    positive("--max-minutes", options.max_minutes)
    for name in ("micro_batches", "data_threads", "keep_checkpoints", "workers"):
        positive("--" + name.replace("_", "-"), getattr(options, name))
    if checkpoint_paths(options.out) and not options.resume:
        raise InputError(
            f"{options.out}: holds the checkpoint of an earlier run; add --resume to go on, or "
            "choose another folder"
        )
    if options.resume and options.weights is not None:
        raise InputError(
            "--weights with --resume: a run goes on from its own weights; leave one out"
        )
    if options.network != "interpolation" and options.true_views is not None:
        raise InputError("--true-views: only interpolation takes it; leave it out")
    if options.true_views is not None and not 0 <= options.true_views <= 1:
        raise UsageError(f"--true-views {options.true_views}: expected a share from 0 to 1")
    if options.network == "interpolation" and options.weights is None and not options.resume:
        raise InputError(
            "--weights: interpolation starts from a reconstruction network; name its "
            "recon.safetensors"
        )


def _start(options: Options) -> Trainer:
    import math

    from l4gm.pipeline.device import find_device
    from l4gm.solid.config import SolidConfig
    from l4gm.train.config import without_stages
    from l4gm.train.presets import PRESETS
    from l4gm.train.processes import find_processes
    from l4gm.train.starts import as_resumed, starting_weights, with_network_of
    from l4gm.train.trainer import RunOptions, Trainer

    presets = PRESETS[options.network]
    if options.preset not in presets:
        raise UsageError(f"--preset {options.preset}: {options.network} has {', '.join(presets)}")
    config = replace(presets[options.preset](), seed=options.seed)
    solid = isinstance(config.model, SolidConfig)
    if options.stills is not None and not solid:
        raise InputError("--stills: only the presets mini and tiny take it; leave it out")
    if options.data is not None and solid:
        raise InputError(
            "--data: the presets mini and tiny render their own clips; use --models and --stills"
        )
    if options.true_views is not None:
        config = replace(config, true_views_probability=options.true_views)
    try:
        config = without_stages(config, options.skip_stages)
    except ValueError as error:
        raise UsageError(f"--skip-stages: {error}") from error
    weights = None
    if options.resume:
        config = as_resumed(config, options.out)
    if options.weights is not None:
        config = with_network_of(config, options.weights)
        weights = starting_weights(config, options.weights)
    processes = find_processes(find_device(options.device))
    run_options = RunOptions(
        folder=options.out,
        max_minutes=math.inf if options.max_minutes is None else options.max_minutes,
        keep_checkpoints=options.keep_checkpoints,
        micro_batches=options.micro_batches,
        data_threads=options.data_threads,
        checkpoint_activations=options.checkpoint_activations,
        compile=options.compile,
        tensorboard=options.tensorboard,
    )
    task = _task(options, config, processes)
    return Trainer.start(
        config, run_options, task, processes, weights=weights, resume=options.resume
    )


def _task(options: Options, config: TrainConfig, processes: Processes) -> Task:
    from l4gm.model.weights import load_model
    from l4gm.solid.config import SolidConfig
    from l4gm.train.solid_task import SolidTask
    from l4gm.train.tasks import InterpolationTask, ReconstructionTask

    heldout = None
    if options.validation_clips > 0:
        try:
            heldout = _source(options, "heldout")
        except InputError as error:
            raise InputError(f"{error}; --validation-clips 0 does without") from error
    if isinstance(config.model, SolidConfig):
        return SolidTask(
            config,
            options.out / "clips",
            options.models,
            options.stills,
            heldout,
            options.validation_clips,
            options.workers,
        )
    if options.network == "reconstruction":
        source = _source(options, "train")
        return ReconstructionTask(config, source, heldout, options.validation_clips)
    # The folder keeps the reconstruction network: a resumed run needs it, and with it the folder
    # is a whole model.
    kept = options.out / RECONSTRUCTION_NAME
    if options.weights is not None and processes.rank == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        if not (kept.exists() and kept.samefile(options.weights)):
            with atomic_file(kept) as partial:
                shutil.copyfile(options.weights, partial)
    processes.wait()
    reconstruction = load_model(kept, config=config.paper_model, device=processes.device)
    source = _source(options, "train")
    return InterpolationTask(
        config, source, heldout, options.validation_clips, reconstruction=reconstruction
    )


def _source(options: Options, split: Literal["train", "heldout"]) -> ClipSource:
    """Every kind of clip with the same share."""
    from l4gm.cli.sources import clip_sources
    from l4gm.datagen.clips import MixedClips

    sources = list(
        clip_sources(options.models, options.data, seed=options.seed, split=split).values()
    )
    if len(sources) == 1:
        return sources[0]
    return MixedClips(sources, [1.0] * len(sources), options.seed)
