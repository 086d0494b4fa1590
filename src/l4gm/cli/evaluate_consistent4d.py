"""`l4gm evaluate consistent4d`: the video-to-4D benchmark, for our models and others' pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from l4gm.cli.usage import CommonOptions, UsageError
from l4gm.errors import InputError
from l4gm.io.json_file import read_json

if TYPE_CHECKING:
    from l4gm.cli.progress import Progress
    from l4gm.evaluation.consistent4d import Method
    from l4gm.pipeline.video_to_4d import VideoTo4D

EXAMPLES = """
l4gm evaluate consistent4d --gt eval_gt/ --pred ours=out/ours --pred other=out/other -o out/bench
l4gm evaluate consistent4d --gt eval_gt/ --model mini --input input_videos/ -o out/bench
l4gm evaluate consistent4d --gt eval_gt/ --pred x=out/x --objects pistol skull -o out/some
"""

RESULT_NAME = "consistent4d.json"


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Truth, methods, and where results go."""

    gt: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Truth: OBJECT/eval_K/I.png, K 0..3 (azimuth -75, 15, 105, 195), I 0..31."""
    pred: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME=DIR")
    ] = ()
    """A method's predictions, laid out as the truth; give it once for each method."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Also reconstruct with this model, draw the four views, and score them."""
    input: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """For --model: the input videos, OBJECT/I.png or OBJECT.mp4, 32 frames each."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Working folder: a command that was stopped goes on from what lies here."""
    objects: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME")] = ()
    """Score these objects instead of the benchmark's seven; averages then do not compare."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""


def run(options: Options) -> None:
    """Score every method and print a table beside the published rows."""
    methods = _methods(options)

    from l4gm.cli.progress import Progress
    from l4gm.evaluation.consistent4d import (
        OBJECTS,
        Method,
        check_folders,
        markdown_table,
        result_dict,
        score_method,
    )
    from l4gm.evaluation.judges import load_judges, weight_sums
    from l4gm.gaussians.atomic import atomic_file
    from l4gm.pipeline.device import find_device

    objects = options.objects or OBJECTS
    for method in methods:
        check_folders(options.gt, method.folder, objects)
    device = find_device(options.device)
    with Progress() as progress:
        if options.model is not None:
            folder, timings = _draw_predictions(options, objects, progress)
            methods.append(Method(Path(options.model).name, folder))
        judges = load_judges(device)
        scores = {
            method.name: score_method(
                options.gt,
                method,
                judges,
                options.out / "scores" / method.name,
                objects,
                lambda name, done, total: progress(f"score {name}", done, total),
            )
            for method in methods
        }
    result = result_dict(scores, objects, weight_sums())
    if options.model is not None:
        result["methods"][methods[-1].name]["seconds_of_reconstruction"] = timings
    with atomic_file(options.out / RESULT_NAME) as partial:
        partial.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown_table(result))
    print(f"\n{options.out / RESULT_NAME}: every object and view")


def _methods(options: Options) -> list[Method]:
    """The prediction folders.

    Raises:
        UsageError: nothing to score, names twice, or a model without its input.
    """
    from l4gm.evaluation.consistent4d import Method

    methods = []
    for entry in options.pred:
        name, equals, folder = entry.partition("=")
        if not (name and equals and folder) or "/" in name:
            raise UsageError(f"--pred {entry}: expected NAME=DIR, such as other=out/other")
        methods.append(Method(name, Path(folder)))
    names = [method.name for method in methods]
    if options.model is not None:
        names.append(Path(options.model).name)
    if len(set(names)) < len(names):
        raise UsageError(f"two methods have the same name: {', '.join(sorted(names))}")
    if not names:
        raise UsageError("nothing to score: give --pred NAME=DIR, or --model with --input")
    if (options.model is None) != (options.input is None):
        raise UsageError("--model and --input go together: the model needs the input videos")
    return methods


def _draw_predictions(
    options: Options, objects: tuple[str, ...], progress: Progress
) -> tuple[Path, dict[str, float]]:
    """Reconstruct every object and draw its evaluation views; finished objects are kept.

    Returns:
        the folder of the predictions, and seconds of reconstruction by object.
    """
    from l4gm.cli.output_folder import REPORT_NAME, output_folder, write_report
    from l4gm.pipeline.video_to_4d import VideoTo4D

    assert options.model is not None
    assert options.input is not None
    videos = {name: _input_video(options.input, name) for name in objects}
    root = options.out / "predictions" / Path(options.model).name
    timings = options.out / "timings" / Path(options.model).name
    pipeline: VideoTo4D | None = None
    seconds = {}
    for done, name in enumerate(objects):
        progress("reconstruct", done, len(objects))
        report = timings / name / REPORT_NAME
        if not ((root / name).is_dir() and report.is_file()):
            pipeline = pipeline or VideoTo4D.from_pretrained(options.model, device=options.device)
            took = _draw_object(pipeline, videos[name], root / name)
            with output_folder(timings / name, overwrite=True) as folder:
                write_report(folder, took)
        seconds[name] = _seconds_of(report)
    progress("reconstruct", len(objects), len(objects))
    return root, seconds


def _seconds_of(report: Path) -> float:
    values = read_json(report)
    seconds = values.get("seconds") if isinstance(values, dict) else None
    if not isinstance(seconds, int | float):
        raise InputError(f"{report}: damaged; delete its folder to measure again")
    return float(seconds)


def _input_video(folder: Path, name: str) -> Path:
    candidates = [folder / name, *(folder / f"{name}{s}" for s in (".mp4", ".webm", ".gif"))]
    for path in candidates:
        if path.exists():
            return path
    raise InputError(f"{folder}: no input video of {name}; expected {name}/0.png ... or {name}.mp4")


def _draw_object(pipeline: VideoTo4D, video: Path, target: Path) -> dict[str, float]:
    """Reconstruct one video and write its four evaluation views, whole or not at all."""
    import time

    from PIL import Image

    from l4gm.cli.output_folder import output_folder
    from l4gm.evaluation.consistent4d import NUM_FRAMES, draw_views

    began = time.monotonic()
    # At a rate that the pipeline does not thin: the benchmark scores each of the 32 frames.
    result = pipeline(video, fps=8.0, interpolate=False)
    seconds = time.monotonic() - began
    if len(result.gaussians.means) != NUM_FRAMES:
        raise InputError(
            f"{video}: {len(result.gaussians.means)} frames, the benchmark has {NUM_FRAMES}"
        )
    with output_folder(target) as folder:
        for view, frames in enumerate(draw_views(result.gaussians)):
            place = folder / f"eval_{view}"
            place.mkdir()
            for number, frame in enumerate(frames):
                Image.fromarray(frame).save(place / f"{number}.png")
    return {"seconds": round(seconds, 3)}
