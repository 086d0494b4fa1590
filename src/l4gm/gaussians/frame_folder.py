"""A sequence as a folder of still files, frame_0000.ply onwards, the layout of 4D splat viewers.

Players take such a folder for a sequence only if it holds nothing else. How fast it plays is
therefore told by a file beside it: `cat.json` is the index of the folder `cat`.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.orientation import UPS, Up, from_file_axes, to_file_axes
from l4gm.gaussians.still_formats import STILL_FORMATS, still_format_of
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import stack_padded, without_invisible
from l4gm.io.budget import check_in_memory
from l4gm.io.json_file import read_json
from l4gm.io.names import name_fault
from l4gm.io.rates import FPS_RANGE, is_frame_rate

OLD_INDEX_NAME = "sequence.json"  # inside the folder, where earlier versions wrote it

_NUMBERED = re.compile(r"(.*?)(\d+)(\.[a-z.]+)", re.IGNORECASE)
_OURS = "frame_"
_ONE_FRAME_FPS = 1.0
_BYTES_PER_GAUSSIAN = 3 * 56  # frames, the same filled up, and their stack
_MAX_INDEX_BYTES = 1 << 16


def frame_name(index: int, kind: str = "ply") -> str:
    """The file name of a frame: four digits, more where four do not suffice."""
    return f"{_OURS}{index:04d}{STILL_FORMATS[kind].suffix}"


def index_path(folder: str | os.PathLike[str]) -> Path:
    """Where the index of a folder of frames lies: beside it, by its name."""
    folder = Path(folder).resolve()
    return folder.with_name(f"{folder.name}.json")


def write_frame_folder(
    folder: str | os.PathLike[str],
    sequence: GaussianSequence,
    kind: str = "ply",
    *,
    layout: str | None = None,
    up: Up = "y",
    scale: float = 1.0,
    prune: bool = True,
) -> int:
    """Write frame_0000.ply ... into a folder, and the folder's index beside it.

    Frames of an earlier sequence in the same folder are replaced or removed, other files are left
    alone. The index comes last, so a folder that has one is whole.

    Args:
        folder: made if it does not exist.
        sequence: [T, N].
        kind: one of `STILL_FORMATS`.
        layout: one of that format's `layouts`.
        up, scale: the files' up axis and units in one of ours, as in `to_file_axes`.
        prune: leave out what is invisible, so that files are small and their counts differ; else
            the n-th of one frame is the n-th of the next, as in the sequence.

    Returns:
        how many Gaussians the files hold together.

    Raises:
        ValueError: values that are not finite.
        InputError: the folder cannot be made or written to, or holds frames of another kind; or
            its index would replace a file of somebody else.
    """
    write = STILL_FORMATS[kind].writer(layout)
    folder = Path(folder)
    beside = index_path(folder)
    if fault := name_fault(str(beside)):
        raise InputError(f"{beside.name}: {fault}; the index of the folder is called so")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
    earlier, there = _frames(folder)
    if earlier and there != kind:
        raise InputError(f"{folder}: holds frames of another kind ({there}); give another folder")
    if beside.exists() and not _is_index(beside):
        raise InputError(f"{beside}: is not an index of frames; move it, or give another folder")
    for path in (beside, folder / OLD_INDEX_NAME):
        path.unlink(missing_ok=True)
    gaussians = sequence.gaussians.detach().to("cpu", torch.float32)
    total = 0
    for index in range(len(sequence)):
        frame = to_file_axes(gaussians[index], up, scale)
        if prune:
            frame = without_invisible(frame)
        write(folder / frame_name(index, kind), frame)
        total += frame.num_gaussians
    written = {frame_name(index, kind) for index in range(len(sequence))}
    for path in earlier.values():
        if path.name not in written:
            path.unlink()
    write_index(folder, num_frames=len(sequence), fps=sequence.fps, kind=kind, up=up, scale=scale)
    return total


def write_index(
    folder: Path,
    *,
    num_frames: int,
    fps: float,
    kind: str = "ply",
    up: Up = "y",
    scale: float = 1.0,
) -> None:
    """Write the index beside a folder of frames that were written one by one.

    Args:
        folder: holds frame_0000.ply ...
        num_frames: T.
        fps: frames per second.
        kind: one of `STILL_FORMATS`.
        up, scale: as in `write_frame_folder`.
    """
    document = {
        "format": _format(kind),
        "version": 2,
        "fps": fps,
        "num_frames": num_frames,
        "up": up,
        "scale": scale,
    }
    with atomic_file(index_path(folder)) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n")


def read_frame_folder(
    folder: str | os.PathLike[str],
    *,
    fps: float | None = None,
    up: Up | None = None,
    scale: float | None = None,
) -> GaussianSequence:
    """Read a folder of numbered files of one format as a sequence, in the order of the numbers.

    Any names that differ in a number before the suffix will do: frame_0000.ply, time_00003.ply,
    7.spz. Frames of fewer Gaussians than the largest are filled up with invisible ones.

    Args:
        folder: holds the frames; the first may have any number, the others follow in even steps.
        fps, up, scale: of a folder without index (from another program): frames per second, the up
            axis, and the files' units in one of ours; those given win.

    Raises:
        InputError: no folder, no frames, several sequences, a gap, no frame rate known, or a
            damaged file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with frame_0000.ply ...")
    frames, kind = _frames(folder)
    if not frames:
        raise InputError(
            f"{folder}: no frames; expected numbered files such as frame_0000.ply, frame_0001.ply"
        )
    document = _read_index(folder, kind)
    numbers = _without_gaps(folder, frames, document.get("num_frames"))
    rate = fps if fps is not None else document.get("fps")
    if rate is None and len(numbers) == 1:
        rate = _ONE_FRAME_FPS
    if rate is None:
        raise InputError(
            f"{folder}: no {index_path(folder).name} beside it, so the frame rate is unknown or "
            "the folder is not whole; give fps"
        )
    if not is_frame_rate(rate):
        raise InputError(f"{folder}: fps must be {FPS_RANGE}, got {str(rate)[:40]}")
    scale = _positive(document.get("scale", 1.0) if scale is None else scale, folder, "scale")
    up = document.get("up", "y") if up is None else up
    if up not in UPS:
        raise InputError(
            f"{folder}: up must be one of {', '.join(UPS)}, got {up!r:.40} in its index"
        )
    read = STILL_FORMATS[kind].read
    sets: list[Gaussians] = []
    largest = 0
    for number in numbers:
        sets.append(from_file_axes(read(frames[number]), up, scale))
        largest = max(largest, sets[-1].num_gaussians)
        check_in_memory(folder, len(numbers) * largest * _BYTES_PER_GAUSSIAN)
    return GaussianSequence(stack_padded(sets), float(rate))


def is_frame_folder(folder: Path) -> bool:
    """Whether a folder holds frames by name."""
    return bool(_frames(folder)[0])


def _frames(folder: Path) -> tuple[dict[int, Path], str]:
    """The frames of a folder by their numbers, and their kind ("ply" when there are none).

    Of several sequences, the one of our own names; else that is an error.
    """
    groups: dict[tuple[str, str], dict[int, Path]] = defaultdict(dict)
    for path in sorted(folder.iterdir()):
        match = _NUMBERED.fullmatch(path.name)
        kind = still_format_of(path) if match else None
        if match is None or kind is None or match[3].lower() != STILL_FORMATS[kind].suffix:
            continue
        group = groups[match[1], kind]
        number = int(match[2])
        if number in group:
            raise InputError(f"{folder}: {group[number].name} and {path.name} are one frame")
        if path.is_file():
            group[number] = path
    found = {key: group for key, group in groups.items() if group}
    ours = {key: group for key, group in found.items() if key[0] == _OURS}
    found = ours or found
    if not found:
        return {}, "ply"
    if len(found) > 1:
        firsts = [group[min(group)].name for group in list(found.values())[:2]]
        raise InputError(f"{folder}: frames of two kinds, {' and '.join(firsts)}; keep one of them")
    ((_, kind), frames) = next(iter(found.items()))
    return frames, kind


def _without_gaps(folder: Path, frames: dict[int, Path], expected: Any) -> list[int]:
    """The numbers in order; they must lie in even steps, as many as the index says."""
    numbers = sorted(frames)
    steps = {second - first for first, second in itertools.pairwise(numbers)}
    step = min(steps, default=1)
    if expected is None:
        expected = (numbers[-1] - numbers[0]) // step + 1
    if len(steps) > 1:
        missing = next(n for n in range(numbers[0], numbers[-1], step) if n not in frames)
        match = _NUMBERED.fullmatch(frames[numbers[0]].name)
        assert match is not None
        name = f"{match[1]}{missing:0{len(match[2])}d}{match[3]}"
        raise InputError(
            f"{folder}: expected {expected!s:.40} frames, but {name} is missing; write it anew"
        )
    if len(numbers) != expected:
        raise InputError(
            f"{folder}: expected {expected!s:.40} frames, but there are {len(numbers)}; write it "
            "anew"
        )
    return numbers


def _format(kind: str) -> str:
    return f"l4gm-{kind}-sequence"


def _positive(value: Any, folder: Path, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise InputError(f"{folder}: {name} must be a positive number, got {value!r:.40}")
    return float(value)


def _is_index(path: Path) -> bool:
    """Whether a file says that it is an index; any other of that name is somebody else's."""
    if name_fault(str(path)):
        return False
    try:
        document = read_json(path, _MAX_INDEX_BYTES)
    except InputError:
        return False
    kind = document.get("format") if isinstance(document, dict) else None
    return isinstance(kind, str) and kind in map(_format, STILL_FORMATS)


def _read_index(folder: Path, kind: str) -> dict[str, Any]:
    """What the folder's index says; nothing where there is none."""
    path = folder / OLD_INDEX_NAME
    if not path.is_file():
        path = index_path(folder)
        if not _is_index(path):
            return {}
    document = read_json(path, _MAX_INDEX_BYTES)
    if not isinstance(document, dict) or document.get("format") != _format(kind):
        raise InputError(f"{path}: expected a JSON object with format {_format(kind)!r}")
    return document
