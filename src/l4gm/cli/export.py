"""`l4gm export`: an asset in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import tyro

from l4gm.cli.usage import CommonOptions, UsageError, positive, size_text
from l4gm.errors import InputError

if TYPE_CHECKING:
    from l4gm.cli.assets import Asset
    from l4gm.gaussians.types import GaussianSequence
    from l4gm.meshes.export import MeshFormat

EXAMPLES = """
l4gm export out/cat --format html -o cat.html            # one page that plays it, offline
l4gm export out/cat --format l4gm -o cat.l4gm            # one small file
l4gm export out/cat --format ply -o cat_frames --up -y   # frame_0000.ply ... for SuperSplat
l4gm export out/cat --format spz -o cat.spz --frame 0    # one frame
l4gm export out/cat --format usd -o cat.usdc --up z      # time samples, for Omniverse, Houdini
l4gm export out/cat --format glb-mesh -o cat.glb         # triangles, for any 3D program
l4gm export scan.ply --input-up -y --format glb -o scan.glb
"""

Format = Literal[
    "ply",
    "compressed-ply",
    "splat",
    "spz",
    "sog",
    "glb",
    "usd",
    "safetensors",
    "l4gm",
    "html",
    "4dgs",
    "glb-mesh",
    "usd-mesh",
    "obj",
]
# What the names of each format's files may end in. Those of one set also take a folder.
SUFFIXES = {
    "ply": (".ply",),
    "compressed-ply": (".compressed.ply",),
    "splat": (".splat",),
    "spz": (".spz",),
    "sog": (".sog",),
    "glb": (".glb",),
    "usd": (".usdc", ".usd", ".usda"),
    "safetensors": (".safetensors",),
    "l4gm": (".l4gm",),
    "html": (".html",),
    "4dgs": (".4dgs",),
    "glb-mesh": (".glb",),
    "usd-mesh": (".usdc", ".usd", ".usda"),
    "obj": (".obj",),
}
MESHES = ("glb-mesh", "usd-mesh", "obj")
LAYOUTS = {"full": "ply", "v4": "spz"}
FOR_SEQUENCES = ("usd", "safetensors", "l4gm", "html", "4dgs", "glb-mesh", "usd-mesh")
KEEP_INVISIBLE = ("safetensors", "l4gm", "html")


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to write, and as what."""

    asset: tyro.conf.Positional[Path]
    """Result folder, folder of frames, .safetensors, .l4gm or USD sequence, or a file of one set
    (.ply, .compressed.ply, .splat, .spz, .sog, .glb)."""
    format: Format
    """One set a file, or a folder with a file a frame: ply (what most tools read), compressed-ply,
    splat, spz, sog, glb. One file for all frames: usd (time samples), safetensors (lossless),
    l4gm (small), html (a page that plays it), 4dgs. Triangles with vertex colours: glb-mesh and
    usd-mesh (one animated file), obj (a file a frame)."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="PATH")]
    """File to write; a folder for the frames of an animation in a format of one set."""
    frame: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Write this frame alone (from 0)."""
    up: Literal["y", "-y", "z", "-z"] = "y"
    """The file's up axis. SuperSplat and most splat viewers take y down: -y; Blender and Unreal z.
    glb, glb-mesh, safetensors, l4gm and html are always y."""
    scale: float = 1.0
    """The file's units in one of ours (the object is 2 units large)."""
    layout: Literal["full", "v4"] | None = None
    """full: PLY with all 62 properties, for importers that ask for f_rest_* or normals; v4: SPZ
    version 4 instead of 3."""
    triangles: int = 20_000
    """Meshes only: triangles of a frame at most."""
    title: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """HTML only: the page's heading."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="FLOAT")] = None
    """Frames per second of a folder of frames that does not say."""
    input_up: Literal["y", "-y", "z", "-z"] = "y"
    """The up axis of a file of one set from another program."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace what is there."""


def run(options: Options) -> None:
    """Convert it."""
    positive("--scale", options.scale)
    if options.triangles < 500:
        raise UsageError(f"--triangles {options.triangles}: expected at least 500")
    if options.layout is not None and LAYOUTS[options.layout] != options.format:
        raise InputError(
            f"--layout {options.layout} goes with --format {LAYOUTS[options.layout]}, "
            f"not {options.format}"
        )
    to_folder = _check_name(options)
    if options.out.exists() and not options.overwrite:
        raise InputError(f"{options.out}: exists; choose another name, or add --overwrite")

    from l4gm.cli.assets import open_asset
    from l4gm.files import save
    from l4gm.gaussians.types import GaussianSequence

    asset = open_asset(options.asset, fps=options.fps, up=options.input_up)
    start, stop = _frame_range(options, asset)
    if not to_folder and options.format not in FOR_SEQUENCES and stop - start > 1:
        raise InputError(
            f"{options.out}: a {options.format} file holds one frame and {asset.path} has "
            f"{asset.num_frames}; choose one with --frame, or give a folder"
        )
    if options.format in MESHES:
        counts = _export_meshes(options, asset, start, stop)
        print(
            f"{options.out}: {stop - start} frames of {_range_text(counts)} triangles, "
            f"{size_text(options.out)}"
        )
        return
    sequence = GaussianSequence(asset.frames(start, stop), asset.fps)
    save(
        sequence,
        options.out,
        frame_format=options.format if to_folder else "ply",
        layout=options.layout,
        up=options.up,
        scale=options.scale,
        title=options.title,
    )
    print(
        f"{options.out}: {stop - start} frames of {_range_text(_counts(options, sequence))} "
        f"Gaussians, {size_text(options.out)}"
    )


def _counts(options: Options, sequence: GaussianSequence) -> list[int]:
    """How many Gaussians each frame of the file holds."""
    from l4gm.gaussians.visible import visible

    if options.format in KEEP_INVISIBLE:
        return [sequence.gaussians.num_gaussians]
    return visible(sequence.gaussians).sum(-1).clamp(min=1).tolist()


def _range_text(counts: list[int]) -> str:
    """ "3200", or "2900 to 3400"."""
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _export_meshes(options: Options, asset: Asset, start: int, stop: int) -> list[int]:
    """Write meshes of frames start..stop - 1; returns the triangles of each."""
    from l4gm.cli.progress import Progress
    from l4gm.meshes.export import MeshSource, export_meshes

    with Progress() as progress:
        source = MeshSource(
            num_frames=stop - start,
            fps=asset.fps,
            frame=lambda index: asset.frames(start + index, start + index + 1)[0],
            max_triangles=options.triangles,
            on_frame=lambda done, total: progress("mesh", done, total),
        )
        return export_meshes(
            options.out,
            cast("MeshFormat", options.format),
            source,
            up=options.up,
            scale=options.scale,
        )


def _frame_range(options: Options, asset: Asset) -> tuple[int, int]:
    if options.frame is None:
        return 0, asset.num_frames
    if not 0 <= options.frame < asset.num_frames:
        raise InputError(
            f"--frame {options.frame}: {asset.path} has frames 0 to {asset.num_frames - 1}"
        )
    return options.frame, options.frame + 1


def _check_name(options: Options) -> bool:
    """Whether it names a folder. It must say the same as --format: so it will be read back."""
    suffixes = SUFFIXES[options.format]
    name = options.out.name.lower()
    if name.endswith(suffixes) and not (
        options.format == "ply" and name.endswith(SUFFIXES["compressed-ply"])
    ):
        if options.out.is_dir():
            raise InputError(f"{options.out}: is a folder; give a file name inside it")
        return False
    if options.format in FOR_SEQUENCES:
        raise InputError(
            f"{options.out}: --format {options.format} writes {' or '.join(suffixes)} files; "
            f"give {options.out.with_suffix(suffixes[0])}"
        )
    if options.out.suffix and not options.out.is_dir():
        raise InputError(
            f"{options.out}: give a folder (no suffix), or a name that ends in {suffixes[0]} for "
            "one frame"
        )
    if options.out.is_file():
        raise InputError(f"{options.out}: is a file; give a folder")
    return True
