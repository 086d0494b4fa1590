"""`l4gm check`: how a video would be read, before any network is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from l4gm.cli.usage import CommonOptions, UsageError, positive
from l4gm.cli.video_sources import joined, stem
from l4gm.errors import InputError

if TYPE_CHECKING:
    from l4gm.pipeline.prepare import PreparedVideo

EXAMPLES = """
l4gm check cat.mp4                    # writes cat_check.png: frames, mattes, what is reconstructed
l4gm check cat.mp4 -o matte.png --shot 2
l4gm check cat.mp4 --json
"""

_COLUMNS, _SIDE_PX = 6, 192


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to look at."""

    videos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO")]
    """As of `l4gm reconstruct`; one."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="PNG")] = None
    """Image to write; by default the video's name with _check.png, in the current folder."""
    shot: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Which shot of a video with cuts, from 1; by default the longest."""
    max_frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Leave out what comes after this many frames."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The video's frames per second, where it says none or a wrong one."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of lines."""


def run(options: Options) -> None:
    """Print what is found, and write the image of it."""
    for name in ("shot", "max_frames", "fps"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name))
    videos = joined(options.videos)
    if len(videos) != 1:
        raise UsageError(f"expected one VIDEO, got {len(videos)} (l4gm check --help)")
    out = options.out or Path(f"{stem(videos[0])}_check.png")
    if out.suffix.lower() != ".png":
        raise InputError(f"{out}: the image is a PNG; end its name in .png")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; make it first")

    from l4gm.pipeline.prepare import prepare_video

    prepared = prepare_video(
        videos[0],
        size=_SIDE_PX,
        shot=options.shot,
        max_frames=options.max_frames,
        fps=options.fps,
    )
    _write_sheet(prepared, out)
    report = prepared.report | {"image": str(out)}
    report.pop("motion", None)
    print(json.dumps(report, indent=1) if options.json else "\n".join(_lines(report)))


def _lines(report: dict[str, Any]) -> list[str]:
    """For people."""
    seconds = report["frames"] / report["fps"]
    lines = [
        f"source      {report['source_width_px']} x {report['source_height_px']} px, "
        f"{report.get('source_codec', 'frames')}, {report['source_fps']:.4g} frames per second",
        f"used        {report['frames']} frames at {report['fps']:.4g} per second, {seconds:.2f} s",
        f"background  {report['matting']}",
        f"framing     {report['crop']['why']}",
    ]
    lines += [f"note        {note}" for note in report["notes"]]
    counts = {
        "frames_touching_the_edge": "frames in which the object touches the edge",
        "frames_without_object": "frames without an object",
        "frames_without_background": "frames on another background",
    }
    lines += [f"trouble     {report[key]} {text}" for key, text in counts.items() if report[key]]
    return [*lines, f"image       {report['image']}"]


def _write_sheet(prepared: PreparedVideo, out: Path) -> None:
    """Frames evenly over the clip: mattes above, the object on white below."""
    import os

    import numpy as np
    from PIL import Image

    count = min(_COLUMNS, prepared.num_frames)
    chosen = {round(place) for place in np.linspace(0, prepared.num_frames - 1, count)}
    columns = []
    for index, cutout in enumerate(prepared.cutouts()):
        if index in chosen:
            alpha = cutout[3:].expand(3, -1, -1)
            column = np.concatenate([alpha.numpy(), (cutout[:3] + 1 - alpha).numpy()], 1)
            columns.append(column.clip(0, 1))
    sheet = np.concatenate(columns, 2).transpose(1, 2, 0)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        Image.fromarray((sheet * 255).round().astype(np.uint8)).save(beside, format="PNG")
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
