"""A sequence as a folder of still files, frame_0000.ply onwards, the layout of 4D splat viewers.

Every frame holds all Gaussians in the same order, so that the n-th of one frame is the n-th of the
next. A small `sequence.json` beside them says how many frames there are and how fast they play.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.orientation import UPS, Up, from_file_axes, to_file_axes
from l4gm.gaussians.still_formats import STILL_FORMATS, still_format_of
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.io.budget import check_in_memory
from l4gm.io.rates import FPS_RANGE, is_frame_rate

INDEX_NAME = "sequence.json"

_BYTES_PER_GAUSSIAN = 2 * 56  # frames, and their stack

_FRAME = re.compile(r"frame_(\d{4,})\.[a-z.]+")


def frame_name(index: int, kind: str = "ply") -> str:
    """The file name of a frame: four digits, more where four do not suffice."""
    return f"frame_{index:04d}{STILL_FORMATS[kind].suffix}"


def write_frame_folder(
    folder: str | os.PathLike[str],
    sequence: GaussianSequence,
    kind: str = "ply",
    *,
    up: Up = "y",
    scale: float = 1.0,
) -> None:
    """Write frame_0000.ply ... and sequence.json into a folder; nothing is pruned.

    Frames of an earlier sequence in the same folder are replaced or removed, other files are left
    alone. sequence.json comes last, so a folder that has one is whole.

    Args:
        folder: made if it does not exist.
        sequence: [T, N].
        kind: one of `STILL_FORMATS`.
        up, scale: the files' up axis and units in one of ours, as in `to_file_axes`.

    Raises:
        ValueError: values that are not finite.
        InputError: the folder cannot be made or written to, or holds frames of another kind.
    """
    still = STILL_FORMATS[kind]
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    earlier, there = _frames(folder)
    if earlier and there != kind:
        raise InputError(f"{folder}: holds frames of another kind ({there}); give another folder")
    (folder / INDEX_NAME).unlink(missing_ok=True)
    gaussians = sequence.gaussians.detach().to("cpu", torch.float32)
    for index in range(len(sequence)):
        frame = to_file_axes(gaussians[index], up, scale)
        still.write(folder / frame_name(index, kind), frame)
    for index, path in earlier.items():
        if index >= len(sequence):
            path.unlink()
    write_index(
        folder,
        num_frames=len(sequence),
        num_gaussians=sequence.gaussians.num_gaussians,
        fps=sequence.fps,
        kind=kind,
        up=up,
        scale=scale,
    )


def write_index(
    folder: Path,
    *,
    num_frames: int,
    num_gaussians: int,
    fps: float,
    kind: str = "ply",
    up: Up = "y",
    scale: float = 1.0,
) -> None:
    """Write sequence.json beside frames that were written one by one; it makes the folder whole.

    Args:
        folder: holds frame_0000.ply ..., written without pruning.
        num_frames, num_gaussians: T and N.
        fps: frames per second.
        kind: one of `STILL_FORMATS`.
        up, scale: as in `write_frame_folder`.
    """
    document = {
        "format": _format(kind),
        "version": 1,
        "fps": fps,
        "num_frames": num_frames,
        "num_gaussians": num_gaussians,
        "up": up,
        "scale": scale,
    }
    with atomic_file(folder / INDEX_NAME) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n")


def read_frame_folder(
    folder: str | os.PathLike[str],
    *,
    fps: float | None = None,
    up: Up | None = None,
    scale: float | None = None,
) -> GaussianSequence:
    """Read a folder of frame_*.ply (.spz ...) as a sequence, frames in the order of their numbers.

    Args:
        folder: holds the frames; the first may have any number, the others must follow without gap.
        fps, up, scale: of a folder without sequence.json (from another program): frames per second,
            the up axis, and the files' units in one of ours; those given win.

    Raises:
        InputError: no folder, no frames, frames of two kinds, a gap, frames that differ in their
            number of Gaussians, no frame rate known, or a damaged file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with frame_0000.ply ...")
    frames, kind = _frames(folder)
    if not frames:
        raise InputError(f"{folder}: no frames; expected files frame_0000.ply, frame_0001.ply ...")
    document = _read_index(folder, kind)
    numbers = sorted(frames)
    span = range(numbers[0], numbers[-1] + 1)
    gap = next((number for number in span if number not in frames), None)
    expected = document.get("num_frames", len(span))
    if gap is not None or len(numbers) != expected:
        what = f"there are {len(numbers)}" if gap is None else f"{frame_name(gap, kind)} is missing"
        raise InputError(f"{folder}: expected {expected} frames, but {what}; write it anew")
    rate = fps if fps is not None else document.get("fps")
    if rate is None:
        raise InputError(
            f"{folder}: no {INDEX_NAME}, so the frame rate is unknown or the folder is not "
            "whole; give fps"
        )
    if not is_frame_rate(rate):
        raise InputError(f"{folder}: fps must be {FPS_RANGE}, got {str(rate)[:40]}")
    scale = _positive(document.get("scale", 1.0) if scale is None else scale, folder, "scale")
    up = document.get("up", "y") if up is None else up
    if up not in UPS:
        raise InputError(f"{folder / INDEX_NAME}: up must be one of {', '.join(UPS)}, got {up!r}")
    sets = []
    for number in numbers:
        frame = STILL_FORMATS[kind].read(frames[number])
        sets.append(from_file_axes(frame, up, scale))
        check_in_memory(folder, len(numbers) * sets[0].num_gaussians * _BYTES_PER_GAUSSIAN)
        if sets[-1].num_gaussians != sets[0].num_gaussians:
            raise InputError(
                f"{frames[number]}: {sets[-1].num_gaussians} Gaussians, but the first frame has "
                f"{sets[0].num_gaussians}; a sequence needs the same in every frame "
                "(export without pruning)"
            )
    return GaussianSequence(Gaussians.stack(sets), float(rate))


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder holds frames by name."""
    return bool(_frames(folder)[0])


def _frames(folder: Path) -> tuple[dict[int, Path], str]:
    """The frames of a folder by their numbers, and their kind ("ply" when there are none)."""
    found: dict[int, Path] = {}
    kinds: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _FRAME.fullmatch(path.name)
        kind = still_format_of(path) if match else None
        if match is None or kind is None or not path.is_file():
            continue
        kinds.setdefault(kind, path)
        if len(kinds) > 1:
            names = " and ".join(first.name for first in kinds.values())
            raise InputError(f"{folder}: frames of two kinds, {names}; keep one of them")
        number = int(match[1])
        if number in found:
            raise InputError(f"{folder}: {found[number].name} and {path.name} are one frame")
        found[number] = path
    return found, next(iter(kinds), "ply")


def _format(kind: str) -> str:
    return f"l4gm-{kind}-sequence"


def _positive(value: Any, folder: Path, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"{folder}: {name} must be a positive number, got {value!r}")
    return float(value)


def _read_index(folder: Path, kind: str) -> dict[str, Any]:
    path = folder / INDEX_NAME
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); write the sequence anew") from None
    if not isinstance(document, dict) or document.get("format") != _format(kind):
        raise InputError(f"{path}: expected a JSON object with format {_format(kind)!r}")
    return document
