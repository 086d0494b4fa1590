"""Saving and loading by file name: the public `save` and `load`."""

from __future__ import annotations

import os
from pathlib import Path

from l4gm.errors import InputError
from l4gm.gaussians.compact_file import read_compact, write_compact
from l4gm.gaussians.ply import Up, read_ply, write_ply
from l4gm.gaussians.ply_sequence import is_ply_sequence, read_ply_sequence, write_ply_sequence
from l4gm.gaussians.sequence_file import read_sequence, write_sequence
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.viewer.player import write_player

_ONE_FRAME_FPS = 1.0
_KNOWN = (
    ".ply (one set of Gaussians), a folder (frame_0000.ply ...), .safetensors (lossless), "
    ".l4gm (small), .html (player)"
)


def save(
    result: Gaussians | GaussianSequence,
    path: str | os.PathLike[str],
    *,
    up: Up = "y",
    prune: bool = True,
    title: str | None = None,
    input_video: str | os.PathLike[str] | None = None,
) -> None:
    """Write a result in the format its path asks for, whole or not at all.

    - `cat.ply`: one set of Gaussians (or a sequence of one frame);
    - a folder (it exists, or the path has no suffix, or ends in a slash): frame_0000.ply ... and
      sequence.json, the same Gaussians in the same order in every file;
    - `cat.safetensors`: the sequence without loss, with fps and cameras;
    - `cat.l4gm`: the sequence and its fps, 20 to 45 times smaller than PLY files, slightly rounded;
    - `cat.html`: one page that plays it, offline.

    One set is taken as a sequence of one frame where the format is one for sequences.

    Args:
        result: Gaussians [N] or a GaussianSequence.
        path: where to write; missing folders are made, a file of that name is replaced.
        up: PLY only: the file's up axis, "y" or "-y" (for viewers that take y down).
        prune: single PLY only: leave out opacities below 0.005, as the released code does.
        title: player only: the page's heading; by default the file's name.
        input_video: player only: a video file to show beside the object.

    Raises:
        InputError: an unknown suffix, a sequence for a single .ply, or a place that cannot be
            written to.
    """
    kind = _kind(path)
    path = Path(path)
    if kind == ".ply":
        write_ply(path, _single(result, path), up=up, prune=prune)
        return
    sequence = _sequence(result)
    if kind == "folder":
        write_ply_sequence(path, sequence, up=up)
    elif kind == ".safetensors":
        write_sequence(path, sequence)
    elif kind == ".l4gm":
        write_compact(path, sequence)
    else:
        write_player(path, sequence, title=title or path.stem, input_video=input_video)


def load(path: str | os.PathLike[str], *, fps: float | None = None) -> Gaussians | GaussianSequence:
    """Read what `save` wrote: Gaussians [N] from a .ply, a GaussianSequence from anything else.

    A folder is read as a PLY sequence; one without frames but with `sequence.safetensors`, as that.

    Args:
        path: a .ply, .safetensors or .l4gm file, or a folder.
        fps: frames per second of a folder from another program, which has no sequence.json.

    Raises:
        InputError: no such file, an unknown suffix, a page (which cannot be read back), or a
            damaged file.
    """
    kind = _kind(path)
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        inner = path / "sequence.safetensors"
        if not is_ply_sequence(path) and inner.is_file():
            return read_sequence(inner)
        return read_ply_sequence(path, fps=fps)
    if kind == ".ply":
        return read_ply(path)
    if kind == ".safetensors":
        return read_sequence(path)
    if kind == ".l4gm":
        return read_compact(path)
    if kind == ".html":
        raise InputError(f"{path}: a page is for looking; load the .safetensors or .ply it was of")
    raise InputError(f"{path}: a file without suffix; known are {_KNOWN}")


def _kind(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if Path(path).is_dir() or not suffix or str(path).endswith(("/", os.sep)):
        return "folder"
    if suffix not in (".ply", ".safetensors", ".l4gm", ".html"):
        raise InputError(f"{path}: unknown kind of file {suffix!r}; known are {_KNOWN}")
    return suffix


def _single(result: Gaussians | GaussianSequence, path: Path) -> Gaussians:
    if isinstance(result, Gaussians):
        return result
    if len(result) == 1:
        return result.gaussians[0]
    raise InputError(
        f"{path}: a .ply holds one set of Gaussians, this sequence has {len(result)}; "
        f"give a folder ({path.with_suffix('')}) or a .safetensors file"
    )


def _sequence(result: Gaussians | GaussianSequence) -> GaussianSequence:
    if isinstance(result, GaussianSequence):
        return result
    if not result.shape:
        result = result.reshape(1)
    return GaussianSequence(result, _ONE_FRAME_FPS)
