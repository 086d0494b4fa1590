"""`l4gm export`: an asset in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from l4gm.cli.usage import CommonOptions
from l4gm.errors import InputError

EXAMPLES = """
l4gm export out/cat --format html -o cat.html            # one page that plays it, offline
l4gm export out/cat --format ply -o cat_frames           # frame_0000.ply ... in a folder
l4gm export out/cat --format ply --frame 0 -o cat.ply    # one frame
l4gm export out/cat --format l4gm -o cat.l4gm            # one small file
l4gm export cat_frames --format safetensors -o cat.safetensors
"""

Format = Literal["ply", "safetensors", "l4gm", "html"]
SUFFIXES = {"safetensors": ".safetensors", "l4gm": ".l4gm", "html": ".html"}


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to write, and as what."""

    asset: tyro.conf.Positional[Path]
    """Result folder, .ply, folder of PLY frames, or .safetensors sequence."""
    format: Format
    """ply: what splat viewers read; safetensors: lossless; l4gm: small; html: a page that plays
    it."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="PATH")]
    """File to write; for ply a folder, or a .ply file for one frame."""
    frame: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Write this frame alone (from 0)."""
    up: Literal["y", "-y"] = "y"
    """PLY only: the file's up axis; many splat viewers take y down: -y."""
    title: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """HTML only: the page's heading."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of a PLY folder that does not say."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace what is there."""


def run(options: Options) -> None:
    """Convert it."""
    one_ply = options.format == "ply" and options.out.suffix.lower() == ".ply"
    _check_name(options)
    if options.out.exists() and not options.overwrite:
        raise InputError(f"{options.out}: exists; choose another name, or add --overwrite")

    from l4gm.cli.assets import open_asset
    from l4gm.files import save
    from l4gm.gaussians.types import GaussianSequence

    asset = open_asset(options.asset, fps=options.fps)
    start, stop = 0, asset.num_frames
    if options.frame is not None:
        if not 0 <= options.frame < asset.num_frames:
            raise InputError(
                f"--frame {options.frame}: {asset.path} has frames 0 to {asset.num_frames - 1}"
            )
        start, stop = options.frame, options.frame + 1
    if one_ply and stop - start > 1:
        raise InputError(
            f"{options.out}: a .ply holds one frame and {asset.path} has {asset.num_frames}; "
            "choose one with --frame, or give a folder"
        )
    sequence = GaussianSequence(asset.frames(start, stop), asset.fps)
    save(sequence, options.out, up=options.up, title=options.title)
    print(f"{options.out}: {stop - start} frames of {asset.num_gaussians} Gaussians")


def _check_name(options: Options) -> None:
    """The name must say the same as --format, since that is how it will be read back."""
    suffix = options.out.suffix.lower()
    if options.format == "ply":
        if suffix not in ("", ".ply"):
            raise InputError(f"{options.out}: give a folder (no suffix), or a .ply for one frame")
        if not suffix and options.out.is_file():
            raise InputError(f"{options.out}: is a file; give a folder")
    elif suffix != SUFFIXES[options.format]:
        raise InputError(
            f"{options.out}: --format {options.format} writes {SUFFIXES[options.format]} files; "
            f"give {options.out.with_suffix(SUFFIXES[options.format])}"
        )
