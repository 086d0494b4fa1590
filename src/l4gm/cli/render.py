"""`l4gm render`: an asset as a video or as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from l4gm.cli.output_folder import check_replaceable, output_folder
from l4gm.cli.turntable import CameraPath, Shot, film, shot_fps
from l4gm.cli.usage import CommonOptions, positive
from l4gm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

EXAMPLES = """
l4gm render out/cat -o orbit.mp4
l4gm render out/cat -o side.mp4 --path fixed --azimuth 90
l4gm render out/cat -o frames/ --alpha --size 1024       # transparent PNG pictures
l4gm render out/cat -o orbit.webm --alpha                # transparent video
"""

VIDEO_SUFFIXES = (".mp4", ".webm")


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to draw, from where, and where to."""

    asset: tyro.conf.Positional[Path]
    """Result folder, .ply, folder of PLY frames, or .safetensors sequence."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="PATH")]
    """A .mp4 or .webm file, or a folder for PNG pictures."""
    path: CameraPath = "orbit"
    """The camera: one turn around the object, or standing still."""
    azimuth: float = 0.0
    """Where the camera stands or starts, degrees: 0 is the video's own side, 90 its right."""
    elevation: float = 0.0
    """Degrees above the object."""
    size: int = 512
    """Width and height in pixels."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Number of pictures; by default whole rounds of the animation."""
    alpha: tyro.conf.FlagCreatePairsOff[bool] = False
    """Transparent background instead of white (pictures and .webm)."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of a PLY folder that does not say."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""


def run(options: Options) -> None:
    """Draw it."""
    positive("--size", options.size)
    positive("--frames", options.frames)
    suffix = options.out.suffix.lower()
    if suffix and suffix not in VIDEO_SUFFIXES:
        raise InputError(
            f"{options.out}: cannot write {suffix} files; give .mp4, .webm, or a folder (no suffix)"
        )
    if suffix == ".mp4" and options.alpha:
        raise InputError(f"{options.out}: mp4 keeps no transparency; give .webm or a folder")

    from l4gm.cli.assets import open_asset
    from l4gm.cli.progress import Progress
    from l4gm.media.video import write_video
    from l4gm.pipeline.device import find_device

    asset = open_asset(options.asset, fps=options.fps)
    shot = Shot(
        path=options.path,
        azimuth=options.azimuth,
        elevation=options.elevation,
        size=options.size,
        num_frames=options.frames,
    )
    if not suffix:
        check_replaceable(options.out, overwrite=False)
    with Progress() as progress:
        pictures = film(
            asset,
            shot,
            alpha=options.alpha,
            device=find_device(options.device),
            on_picture=lambda done, total: progress("render", done, total),
        )
        if suffix:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            count = write_video(options.out, pictures, shot_fps(asset))
        else:
            count = _write_pictures(options.out, pictures)
    print(f"{options.out}: {count} pictures of {options.size} x {options.size} px")


def _write_pictures(folder: Path, pictures: Iterator[Tensor]) -> int:
    """Write frame_0000.png ... into a new folder, which appears whole or not at all."""
    from PIL import Image

    count = 0
    with output_folder(folder) as partial:
        for picture in pictures:
            levels = picture.mul(255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(levels).save(partial / f"frame_{count:04d}.png")
            count += 1
    return count
