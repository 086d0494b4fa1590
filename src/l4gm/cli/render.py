"""`l4gm render`: an asset as a video or as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from l4gm.cli.output_folder import check_replaceable
from l4gm.cli.turntable import CameraPath, Layer, Shot, film, shot_fps
from l4gm.cli.usage import CommonOptions, positive
from l4gm.errors import InputError

EXAMPLES = """
l4gm render out/cat -o orbit.mp4
l4gm render out/cat -o side.mp4 --path fixed --azimuth 90
l4gm render out/cat -o spiral.gif --path spiral --size 320 --supersampling 2
l4gm render out/cat -o again.mp4 --path input            # as the video's camera saw it
l4gm render out/cat -o frames/ --alpha --size 1024       # transparent PNG pictures
l4gm render out/cat -o orbit.webm --alpha                # transparent video
l4gm render out/cat -o depth/ --layer depth              # 16-bit PNG pictures
"""

VIDEO_SUFFIXES = (".mp4", ".webm")
SUFFIXES = (*VIDEO_SUFFIXES, ".gif")
MAX_SIDE = 8192  # pixels, supersampling included: memory for more is rarely there


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to draw, from where, and where to."""

    asset: tyro.conf.Positional[Path]
    """Result folder, .ply, folder of PLY frames, or .safetensors sequence."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="PATH")]
    """A .mp4, .webm or .gif file, or a folder for PNG pictures."""
    path: CameraPath = "orbit"
    """The camera: one turn around the object, standing still, two turns while it climbs, or the
    input video's own."""
    azimuth: float = 0.0
    """Where the camera stands or starts, degrees: 0 is the video's own side, 90 its right."""
    elevation: float = 0.0
    """Degrees above the object."""
    climb: float = 60.0
    """By how many degrees a spiral climbs."""
    size: int = 512
    """Width and height in pixels."""
    frames: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Number of pictures; by default whole rounds of the animation."""
    supersampling: int = 1
    """Draw each pixel as the mean of so many by so many: smoother edges, slower."""
    layer: Layer = "color"
    """What to draw: colour; alpha (white where the object is); depth (white is near, black far)."""
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
    positive("--supersampling", options.supersampling)
    suffix = options.out.suffix.lower()
    _check(options, suffix)

    from l4gm.cli.assets import open_asset
    from l4gm.cli.pictures import GIF_MAX_FPS, write_gif, write_png_folder
    from l4gm.cli.progress import Progress
    from l4gm.media.video import write_video
    from l4gm.pipeline.device import find_device

    asset = open_asset(options.asset, fps=options.fps)
    fps = shot_fps(asset)
    if suffix == ".gif" and fps > GIF_MAX_FPS:
        raise InputError(
            f"{options.out}: a GIF plays at most {GIF_MAX_FPS:g} pictures a second and this asset "
            f"has {fps:g}; give .mp4 or .webm"
        )
    shot = Shot(
        path=options.path,
        azimuth=options.azimuth,
        elevation=options.elevation,
        climb=options.climb,
        size=options.size,
        num_frames=options.frames,
        supersampling=options.supersampling,
        layer=options.layer,
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
        if not suffix:
            bits = 16 if options.layer == "depth" else 8
            count = write_png_folder(options.out, pictures, bits=bits)
        elif suffix == ".gif":
            count = write_gif(options.out, pictures, fps)
        else:
            options.out.parent.mkdir(parents=True, exist_ok=True)
            count = write_video(options.out, pictures, fps)
    print(f"{options.out}: {count} pictures of {options.size} x {options.size} px")


def _check(options: Options, suffix: str) -> None:
    """What can be said before the asset is opened."""
    if suffix and suffix not in SUFFIXES:
        raise InputError(
            f"{options.out}: cannot write {suffix} files; give {', '.join(SUFFIXES)}, or a folder "
            "(no suffix)"
        )
    if options.alpha and suffix in (".mp4", ".gif"):
        raise InputError(
            f"{options.out}: {suffix[1:]} keeps no soft transparency; give .webm or a folder"
        )
    if options.alpha and options.layer != "color":
        raise InputError(f"--alpha goes with colour, not with --layer {options.layer}")
    if options.size * options.supersampling > MAX_SIDE:
        raise InputError(
            f"--size {options.size} --supersampling {options.supersampling}: draws "
            f"{options.size * options.supersampling} pixels a side, at most {MAX_SIDE} work"
        )
