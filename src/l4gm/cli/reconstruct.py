"""`l4gm reconstruct`: a video in, a folder with the animated object and a page to look at out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.output_folder import check_replaceable, output_folder
from l4gm.cli.usage import CommonOptions, positive

EXAMPLES = """
l4gm reconstruct cat.mp4                            # writes cat_4d/
l4gm reconstruct cat.mp4 -o out/cat --max-frames 60
l4gm reconstruct cat.mp4 --views cat_views          # 0.png, 90.png, 180.png, 270.png of frame 0
l4gm reconstruct cat.mp4 --model my_weights/ --no-interpolate
"""

DEFAULT_MAX_FRAMES = 300  # 20 seconds at the usual 15 frames per second


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to reconstruct, and how."""

    video: tyro.conf.Positional[Path]
    """Video of one moving object by a still camera; also a GIF, or a folder of pictures."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="DIR")] = None
    """Folder to write; by default the video's name with _4d, in the current folder."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an earlier result."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """mini (bundled), official (the paper's), a folder, a .safetensors file, or a hub name."""
    views: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Square pictures of the object in the first frame, named 0.png, 90.png, 180.png, 270.png."""
    multiview: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """Who makes the views not given: none, imagedream, its folder; auto: as the model needs it."""
    align: bool = True
    """Find by how much four given views are turned against the video; else they are exact."""
    elevation: float = 0.0
    """Degrees by which the camera stands above the object."""
    interpolate: bool = True
    """Put two frames between each pair, if the model can."""
    matting: bool = True
    """Remove the background and centre the object; else frames are taken as they are."""
    max_frames: int = DEFAULT_MAX_FRAMES
    """Leave out what comes after this many frames, counted at about 15 a second."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The video's frames per second, where it says none or a wrong one."""
    chunk_frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Frames of one forward pass; by default what the model was made for."""
    orbit_size: int = 512
    """Width and height of orbit.mp4 in pixels."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""
    seed: int = 0
    """Seed of everything random."""


def run(options: Options) -> None:
    """Reconstruct, and say where the result lies."""
    for name in ("max_frames", "fps", "chunk_frames", "orbit_size"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name))
    out = options.out if options.out is not None else Path(f"{options.video.stem}_4d")
    check_replaceable(out, overwrite=options.overwrite)

    from l4gm.cli.progress import Progress

    warnings = _WarningCollector()
    logging.getLogger("l4gm").addHandler(warnings)
    with output_folder(out, overwrite=options.overwrite) as folder, Progress() as progress:
        progress("load", 0, 1)
        # Only now, so that mistakes in the command line are answered at once.
        from l4gm.cli.reconstruction import Reconstruction

        job = Reconstruction(options, folder, progress)
        job.run()
        job.write_report(warnings.messages)
    print(f"{out}: {job.summary()}")
    print(f"open {out / 'index.html'} in a browser, or play {out / 'orbit.mp4'}")


class _WarningCollector(logging.Handler):
    """Keeps warnings for the report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
