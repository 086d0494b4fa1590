"""`l4gm reconstruct`: a video in, a folder with the animated object and a page to look at out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l4gm.cli.output_folder import REPORT_NAME
from l4gm.cli.unfinished_run import check_startable
from l4gm.cli.usage import CommonOptions, UsageError, positive
from l4gm.cli.video_sources import joined, stem
from l4gm.errors import InputError
from l4gm.io.names import shortened

logger = logging.getLogger(__name__)

EXAMPLES = """
l4gm reconstruct cat.mp4                            # writes cat_4d/
l4gm reconstruct cat.mp4 -o out/cat --max-frames 60
l4gm reconstruct cat.mp4 -o out/cat --resume        # goes on where it was cut off
l4gm reconstruct cat.mp4 dog.mp4 -o out             # writes out/cat/ and out/dog/
l4gm reconstruct cat.mp4 --views cat_views          # 0.png, 90.png, 180.png, 270.png of frame 0
l4gm reconstruct cat.mp4 --model my_weights/ --no-interpolate
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to reconstruct, and how."""

    videos: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO ...")]
    """Video of one moving object by a still camera; also a GIF, a folder of images, a pattern
    (frames/%04d.png, 'frames/*.png'), or several images in a row."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="DIR")] = None
    """Folder to write, of several videos one inside it for each; by default the video's name
    with _4d, in the current folder."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an earlier result, or begin an unfinished one anew."""
    resume: tyro.conf.FlagCreatePairsOff[bool] = False
    """Go on with a run that was cut off, given the same options; what is finished stays."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """mini (bundled), official (the paper's), a folder, a .safetensors file, or a hub name."""
    views: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Square pictures of the object in the first frame, named 0.png, 90.png, 180.png, 270.png."""
    multiview: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Who makes the views not given: none, imagedream, or its folder; auto: imagedream if the model
    needs them."""
    align: bool = True
    """Find by how much four given views are turned against the video; else they are exact."""
    elevation: float = 0.0
    """Degrees by which the camera stands above the object."""
    interpolate: bool = True
    """Put two frames between each pair, if the model can."""
    matting: bool = True
    """Remove the background and centre the object; else frames are taken as they are."""
    max_frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Leave out what comes after this many frames, counted at about 15 a second; else take all."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The video's frames per second, where it says none or a wrong one."""
    shot: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Which shot of a video with cuts, from 1; by default the longest."""
    output_fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of the result, exactly (24, 25, 30, 60 ...); by default what the video's
    rate comes to."""
    keep_path: tyro.conf.FlagCreatePairsOff[bool] = False
    """Put the way of an object that travels through the frame back into the result; else it stays
    in the middle."""
    chunk_frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Frames of one forward pass; by default what the model was made for."""
    ply: tyro.conf.FlagCreatePairsOff[bool] = False
    """Also write every frame as PLY, into the folder ply."""
    orbit_size: int = 512
    """Width and height of orbit.mp4 in pixels."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Of the networks; auto: float16 on CUDA, else float32."""
    compile: tyro.conf.FlagCreatePairsOff[bool] = False
    """Pass the networks through torch.compile: slow to start, for many videos in one command."""
    seed: int = 0
    """Seed of everything random."""


def run(options: Options) -> None:
    """Reconstruct each video, and say where the results lie."""
    for name in ("max_frames", "fps", "chunk_frames", "orbit_size", "shot", "output_fps"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name))
    options = replace(options, videos=joined(options.videos))
    outs = _output_folders(options)
    for out in outs:
        if not (options.resume and (out / REPORT_NAME).is_file()):
            check_startable(out, resume=options.resume, overwrite=options.overwrite)

    from l4gm.cli.progress import Progress
    from l4gm.media.video import probe_video

    if len(options.videos) == 1:  # before networks are loaded
        probe_video(options.videos[0])
    with Progress() as progress:
        progress("load", 0, 1)
        # Only now, so that mistakes in the command line are answered at once.
        from l4gm.cli.reconstruction import ORBIT_NAME, PAGE_NAME, Engine, reconstruct_into

        engine = Engine(options)
        progress("load", 1, 1)
        lines, faults = [], []
        for video, out in zip(options.videos, outs, strict=True):
            try:
                lines.append(f"{out}: {reconstruct_into(out, video, engine, progress)}")
                lines.append(f"open {out / PAGE_NAME} in a browser, or play {out / ORBIT_NAME}")
            except InputError as error:
                faults.append(error)
                if len(outs) > 1:
                    logger.error("%s", error)
    print("\n".join(lines), end="\n" if lines else "")
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InputError(f"{len(faults)} of {len(outs)} videos could not be used, see above")


def _output_folders(options: Options) -> list[Path]:
    """Where the result of each video goes.

    Raises:
        UsageError: no video, two videos of one name, or options that are for one video.
    """
    videos = options.videos
    if not videos:
        raise UsageError("expected at least one VIDEO (l4gm reconstruct --help)")
    if len(videos) == 1:
        return [options.out if options.out is not None else Path(_name(videos[0]))]
    if options.views is not None:
        raise UsageError("--views belongs to one video; give the videos one by one")
    names = [_name(video) if options.out is None else stem(video) for video in videos]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two videos would become {twice[0]!r}; rename one of them")
    return [(options.out or Path()) / name for name in names]


def _name(video: Path) -> str:
    """The name of the folder of a video's result."""
    return f"{shortened(stem(video), 240)}_4d"
