"""A sequence as a folder of PLY files, frame_0000.ply onwards, the layout of 4D splat viewers.

Every frame holds all Gaussians in the same order, so that the n-th of one frame is the n-th of the
next. A small `sequence.json` beside them says how many frames there are and how fast they play.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.ply import Up, read_ply, write_ply
from l4gm.gaussians.types import Gaussians, GaussianSequence

INDEX_NAME = "sequence.json"
FORMAT = "l4gm-ply-sequence"

_FRAME = re.compile(r"frame_(\d{4,})\.ply")


def frame_name(index: int) -> str:
    """The file name of a frame: four digits, more where four do not suffice."""
    return f"frame_{index:04d}.ply"


def write_ply_sequence(
    folder: str | os.PathLike[str], sequence: GaussianSequence, *, up: Up = "y"
) -> None:
    """Write frame_0000.ply ... and sequence.json into a folder; nothing is pruned.

    Frames of an earlier sequence in the same folder are replaced or removed, other files are left
    alone. sequence.json comes last, so a folder that has one is whole.

    Args:
        folder: made if it does not exist.
        sequence: [T, N].
        up: the files' up axis, as in `write_ply`.

    Raises:
        ValueError: values that are not finite.
        InputError: the folder cannot be made or written to.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    (folder / INDEX_NAME).unlink(missing_ok=True)
    for index in range(len(sequence)):
        write_ply(folder / frame_name(index), sequence.gaussians[index], prune=False, up=up)
    for index, path in _frames(folder).items():
        if index >= len(sequence):
            path.unlink()
    write_index(
        folder,
        num_frames=len(sequence),
        num_gaussians=sequence.gaussians.num_gaussians,
        fps=sequence.fps,
        up=up,
    )


def write_index(
    folder: Path, *, num_frames: int, num_gaussians: int, fps: float, up: Up = "y"
) -> None:
    """Write sequence.json beside frames that were written one by one; it makes the folder whole.

    Args:
        folder: holds frame_0000.ply ..., written by `write_ply` without pruning.
        num_frames, num_gaussians: T and N.
        fps: frames per second.
        up: the files' up axis.
    """
    document = {
        "format": FORMAT,
        "version": 1,
        "fps": fps,
        "num_frames": num_frames,
        "num_gaussians": num_gaussians,
        "up": up,
    }
    with atomic_file(folder / INDEX_NAME) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n")


def read_ply_sequence(
    folder: str | os.PathLike[str], *, fps: float | None = None
) -> GaussianSequence:
    """Read a folder of frame_*.ply as a sequence, frames in the order of their numbers.

    Args:
        folder: holds the frames; the first may have any number, the others must follow without gap.
        fps: frames per second of a folder without sequence.json (from another program).

    Raises:
        InputError: no folder, no frames, a gap, frames that differ in their number of Gaussians, no
            frame rate known, or a damaged file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with frame_0000.ply ...")
    frames = _frames(folder)
    if not frames:
        raise InputError(f"{folder}: no frames; expected files frame_0000.ply, frame_0001.ply ...")
    document = _read_index(folder)
    numbers = sorted(frames)
    gaps = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    expected = document.get("num_frames", len(numbers) + len(gaps))
    if gaps or len(numbers) != expected:
        what = f"{frame_name(gaps[0])} is missing" if gaps else f"there are {len(numbers)}"
        raise InputError(f"{folder}: expected {expected} frames, but {what}; write it anew")
    rate = fps if fps is not None else document.get("fps")
    if rate is None:
        raise InputError(
            f"{folder}: no {INDEX_NAME}, so the frame rate is unknown or the folder is not "
            "whole; give fps"
        )
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e6:
        raise InputError(f"{folder}: fps must be a positive number, got {rate!r}")
    up = document.get("up", "y")
    if up not in ("y", "-y"):
        raise InputError(f"{folder / INDEX_NAME}: up must be 'y' or '-y', got {up!r}")
    sets = []
    for number in numbers:
        sets.append(read_ply(frames[number], up=up))
        if sets[-1].num_gaussians != sets[0].num_gaussians:
            raise InputError(
                f"{frames[number]}: {sets[-1].num_gaussians} Gaussians, but the first frame has "
                f"{sets[0].num_gaussians}; a sequence needs the same in every frame "
                "(export without pruning)"
            )
    return GaussianSequence(Gaussians.stack(sets), float(rate))


def is_ply_sequence(folder: Path) -> bool:
    """Whether a folder holds frames by name."""
    return bool(_frames(folder))


def _frames(folder: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FRAME.fullmatch(path.name)
        if match and path.is_file():
            number = int(match[1])
            if number in found:
                raise InputError(f"{folder}: {found[number].name} and {path.name} are one frame")
            found[number] = path
    return found


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX_NAME
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); write the sequence anew") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: expected a JSON object with format {FORMAT!r}")
    return document
