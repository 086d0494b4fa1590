"""Saving and loading by file name: the public `save` and `load`."""

from __future__ import annotations

import os
from pathlib import Path

from l4gm.errors import InputError
from l4gm.gaussians.compact_file import read_compact, write_compact
from l4gm.gaussians.fourdgs_file import write_4dgs
from l4gm.gaussians.frame_folder import is_frame_folder, read_frame_folder, write_frame_folder
from l4gm.gaussians.orientation import Up, from_file_axes, to_file_axes
from l4gm.gaussians.sequence_file import read_sequence, write_sequence
from l4gm.gaussians.still_formats import STILL_FORMATS, still_format_of
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.usd import SUFFIXES as USD_SUFFIXES
from l4gm.gaussians.usd import read_usd, write_usd
from l4gm.gaussians.visible import without_invisible
from l4gm.viewer.player import write_player

_ONE_FRAME_FPS = 1.0
_KNOWN = (
    f"{', '.join(still.suffix for still in STILL_FORMATS.values())} (one set of Gaussians), "
    "a folder (frame_0000.ply ...), .safetensors (lossless), .l4gm (small), "
    f"{', '.join(USD_SUFFIXES)}, .4dgs, .html (player)"
)
_SEQUENCE_KINDS = {
    ".safetensors": "safetensors",
    ".l4gm": "l4gm",
    ".html": "html",
    ".4dgs": "4dgs",
} | dict.fromkeys(USD_SUFFIXES, "usd")
_WITH_AXES = ("usd", "4dgs")
_Y_UP_KINDS = ("glb", "safetensors", "l4gm", "html")  # by their definition


def save(
    result: Gaussians | GaussianSequence,
    path: str | os.PathLike[str],
    *,
    frame_format: str = "ply",
    layout: str | None = None,
    up: Up = "y",
    scale: float = 1.0,
    prune: bool = True,
    title: str | None = None,
    input_video: str | os.PathLike[str] | None = None,
) -> None:
    """Write a result in the format its path asks for, whole or not at all.

    - `cat.ply`, `.compressed.ply`, `.splat`, `.spz`, `.sog`, `.glb`: one set of Gaussians (or a
      sequence of one frame);
    - a folder (it exists, or the path has no suffix, or ends in a slash): frame_0000.ply ..., and
      beside the folder its index, cat.json;
    - `cat.safetensors`: the sequence without loss, with fps and cameras;
    - `cat.l4gm`: the sequence and its fps, 8 to 18 times smaller than PLY files, slightly rounded;
    - `cat.usdc`, `.usd`, `.usda`: the sequence as time samples (needs usd-core);
    - `cat.4dgs`: the sequence as key frames and differences (needs fourdgs);
    - `cat.html`: one page that plays it, offline.

    One set is taken as a sequence of one frame where the format is one for sequences.

    Args:
        result: Gaussians [N] or a GaussianSequence.
        path: where to write; missing folders are made, a file of that name is replaced.
        frame_format: folders only: what the frames are, a key of `STILL_FORMATS`.
        layout: "full" for PLY with all 62 properties, "v4" for SPZ version 4.
        up: the file's up axis, "y", "-y" (for viewers that take y down), "z" or "-z". glTF, l4gm's
            own files and pages are y up by definition, USD is "y" or "z".
        scale: the file's units in one of ours; not of l4gm's own files and pages.
        prune: files of one set, folders and USD: leave out what is invisible (opacity below 1/255),
            so that files are small and the frames' counts differ; else every file holds all
            Gaussians in order.
        title: player only: the page's heading; by default the file's name.
        input_video: player only: a video file to show beside the object.

    Raises:
        InputError: an unknown suffix, a sequence for a file of one set, an axis or a scale that the
            format does not have, or a place that cannot be written to.
        ValueError: an unknown axis, frame format or layout, or a scale that is not positive.
    """
    kind = _kind(path)
    path = Path(path)
    if frame_format not in STILL_FORMATS:
        known = ", ".join(STILL_FORMATS)
        raise ValueError(f"frame_format must be one of {known}, got {frame_format!r}")
    _check_axes(path, frame_format if kind == "folder" else kind, up, scale)
    if kind in STILL_FORMATS:
        one = to_file_axes(_single(result, path).detach().to("cpu"), up, scale)
        STILL_FORMATS[kind].writer(layout)(path, without_invisible(one) if prune else one)
        return
    if layout is not None and kind != "folder":
        raise ValueError(f"{path}: such files have one layout, got {layout!r}")
    sequence = _sequence(result)
    if kind == "folder":
        write_frame_folder(
            path, sequence, frame_format, layout=layout, up=up, scale=scale, prune=prune
        )
    elif kind == "safetensors":
        write_sequence(path, sequence)
    elif kind == "l4gm":
        write_compact(path, sequence)
    elif kind == "4dgs":
        write_4dgs(path, sequence, up=up, scale=scale)
    elif kind == "usd":
        write_usd(path, sequence, up=up, scale=scale, prune=prune)
    else:
        write_player(path, sequence, title=title or path.stem, input_video=input_video)


def load(
    path: str | os.PathLike[str],
    *,
    fps: float | None = None,
    up: Up | None = None,
    scale: float | None = None,
) -> Gaussians | GaussianSequence:
    """Read what `save` or another program wrote, in our world's axes.

    A folder is read as a sequence of frames; one without frames but with `sequence.safetensors`, as
    that.

    Args:
        path: a file of any kind that `save` writes but .4dgs and pages, or a folder.
        fps: frames per second of a folder from another program, which has no index.
        up, scale: the up axis and the units in one of ours, of files that do not say: single ones
            and folders without index. "y" and 1 when left out.

    Returns:
        Gaussians [N] from a file of one set, a GaussianSequence from anything else.

    Raises:
        InputError: no such file, an unknown suffix, a page (which cannot be read back), or a
            damaged file.
        ValueError: an unknown axis, or a scale that is not positive.
    """
    kind = _kind(path)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        inner = path / "sequence.safetensors"
        if not is_frame_folder(path) and inner.is_file():
            return read_sequence(inner)
        return read_frame_folder(path, fps=fps, up=up, scale=scale)
    if kind in STILL_FORMATS:
        return from_file_axes(STILL_FORMATS[kind].read(path), up or "y", scale or 1.0)
    if kind == "safetensors":
        return read_sequence(path)
    if kind == "l4gm":
        return read_compact(path)
    if kind == "usd":
        return read_usd(path)
    if kind == "4dgs":
        raise InputError(f"{path}: .4dgs is written, not read; load what it was made of")
    if kind == "html":
        raise InputError(f"{path}: a page is for looking; load the .safetensors or .ply it was of")
    raise InputError(f"{path}: a file without suffix; known are {_KNOWN}")


def _kind(path: str | os.PathLike[str]) -> str:
    """A key of `STILL_FORMATS`, a value of `_SEQUENCE_KINDS`, or "folder"."""
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir() or not suffix or str(path).endswith(("/", os.sep)):
        return "folder"
    kind = still_format_of(path) or _SEQUENCE_KINDS.get(suffix)
    if kind is None:
        raise InputError(f"{path}: unknown kind of file {suffix!r}; known are {_KNOWN}")
    return kind


def _check_axes(path: Path, kind: str, up: str, scale: float) -> None:
    if kind in _Y_UP_KINDS and up != "y":
        raise InputError(f"{path}: such files are y up by definition; leave out up {up!r}")
    if kind in _SEQUENCE_KINDS.values() and kind not in _WITH_AXES and scale != 1:
        raise InputError(f"{path}: such files keep the object's own size; leave out the scale")


def _single(result: Gaussians | GaussianSequence, path: Path) -> Gaussians:
    if isinstance(result, Gaussians):
        return result
    if len(result) == 1:
        return result.gaussians[0]
    raise InputError(
        f"{path}: a {path.suffix} holds one set of Gaussians, this sequence has {len(result)}; "
        f"give a folder ({path.with_suffix('')}) or a .safetensors file"
    )


def _sequence(result: Gaussians | GaussianSequence) -> GaussianSequence:
    if isinstance(result, GaussianSequence):
        return result
    if not result.shape:
        result = result.reshape(1)
    return GaussianSequence(result, _ONE_FRAME_FPS)
