"""`l4gm bench`: how fast the parts are on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from l4gm.cli.usage import CommonOptions, positive

if TYPE_CHECKING:
    import torch

    from l4gm.bench.results import Row
    from l4gm.model.l4gm import L4GM

EXAMPLES = """
l4gm bench model --model big --frames 1 4         # the paper's network, random weights
l4gm bench model --model official --frames 16 --dtype bfloat16
l4gm bench pipeline --frames 32                   # the bundled model on a clip, stage by stage
l4gm bench splat
l4gm bench data -o data.json
l4gm bench train --model debug                    # steps a second, and where their time goes
l4gm bench model --against earlier.json           # what became faster
"""

# Where a checkout has the plain implementation, seen from its root.
PLAIN = Path("benchmarks/plain")


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to measure, and where."""

    subject: tyro.conf.Positional[Literal["model", "pipeline", "splat", "data", "train"]]
    """The part to measure."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """big (the released network with random weights), official, a folder or a file; of pipeline
    mini (bundled), too; of train a preset: debug or big."""
    frames: Annotated[tuple[int, ...], tyro.conf.arg(metavar="T ...")] = ()
    """Frames of a forward pass (model: 1 4) or of the clip (pipeline: 32); several are measured."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the network (model only)."""
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Compile the network with torch.compile first; the time it takes is stated (model only)."""
    plain: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Plain implementation to compare the big network with; in a checkout benchmarks/plain."""
    repeats: int = 3
    """Runs that count."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="FILE")] = None
    """Also write the figures as JSON."""
    against: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON of an earlier run to compare with."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""
    threads: int | None = None
    """Threads on the CPU; by default torch's choice."""


def run(options: Options) -> None:
    """Print a table of figures."""
    positive("--repeats", options.repeats)
    positive("--threads", options.threads)
    for count in options.frames:
        positive("--frames", count)

    import torch

    from l4gm.bench.results import Results, compare, describe_machine, markdown, read, write
    from l4gm.pipeline.device import find_device

    earlier = None if options.against is None else read(options.against)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = find_device(options.device)
    machine = describe_machine(device)
    rows, notes = {
        "model": _model,
        "pipeline": _pipeline,
        "splat": _splat,
        "data": _data,
        "train": _train,
    }[options.subject](options, device)
    results = Results(subject=options.subject, rows=rows, machine=machine, notes=notes)
    print(markdown(results))
    if earlier is not None:
        lines = compare(rows, earlier.rows) or ["nothing that both runs measured"]
        print("\n".join(["", f"against {options.against}:", *lines]))
    if options.out is not None:
        write(results, options.out)


def _model(options: Options, device: torch.device) -> tuple[list[Row], list[str]]:
    import time

    import torch

    from l4gm.bench.model import bench_model, load_plain

    network = _network(options.model).to(device=device, dtype=getattr(torch, options.dtype))
    notes = []
    plain_folder = options.plain
    if plain_folder is None and options.model == "big" and PLAIN.is_dir():
        plain_folder = PLAIN
    plain = None if plain_folder is None else load_plain(plain_folder, network)
    if options.model == "big" and plain is None:
        notes.append("not compared with the plain implementation: no benchmarks/plain here")
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.compile:
        network.unet.compile(dynamic=False)
    rows = []
    for count in options.frames or (1, 4):
        start = time.perf_counter()
        rows += bench_model(options.model, network, count, repeats=options.repeats, plain=plain)
        if options.compile:
            notes.append(f"T={count}: {time.perf_counter() - start:.0f} s with compilation")
    return rows, notes


def _network(name: str) -> L4GM:
    from l4gm.bench.model import random_big
    from l4gm.errors import InputError
    from l4gm.model.l4gm import L4GM

    if name == "big":
        return random_big()
    network = L4GM.from_pretrained(name)
    if not isinstance(network, L4GM):
        raise InputError(f"--model {name}: expected weights of an L4GM, or big")
    return network


def _pipeline(options: Options, device: torch.device) -> tuple[list[Row], list[str]]:
    from l4gm.bench.pipeline import bench_pipeline
    from l4gm.pipeline.video_to_4d import VideoTo4D

    if options.model == "big":
        big = _network("big").to(device)
        video_to_4d = VideoTo4D(big, big, device=device)
    else:
        video_to_4d = VideoTo4D.from_pretrained(options.model, device=str(device))
    rows = []
    for count in options.frames or (32,):
        rows += bench_pipeline(options.model, video_to_4d, count, repeats=options.repeats)
    return rows, []


def _splat(options: Options, device: torch.device) -> tuple[list[Row], list[str]]:
    from l4gm.bench.splatting import bench_splatting

    return bench_splatting(device, repeats=options.repeats), []


def _data(options: Options, device: torch.device) -> tuple[list[Row], list[str]]:
    from l4gm.bench.data import bench_data
    from l4gm.datagen.clips import ProceduralClips

    return bench_data("procedural", ProceduralClips(), num_clips=options.repeats), []


def _train(options: Options, device: torch.device) -> tuple[list[Row], list[str]]:
    from l4gm.bench.training import bench_training
    from l4gm.errors import InputError
    from l4gm.train.presets import PRESETS

    presets = PRESETS["reconstruction"]
    if options.model not in presets:
        raise InputError(f"--model {options.model}: expected a preset: {', '.join(presets)}")
    config = presets[options.model]()
    return bench_training(options.model, config, device, options.repeats), []
