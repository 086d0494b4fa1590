"""An animated object as one small `.l4gm` file (docs/format.md): a zip of one picture a frame.

`index.json` comes first and the frames in order after it, all stored as they are: whoever gets the
file from the start can show the first frame when it is there, and whoever has all of it finds any
frame by the zip's directory. `compact_codec` has the pictures.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from l4gm.errors import InputError
from l4gm.gaussians.archive import Archive
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.compact_codec import (
    KEY_EVERY,
    MAX_GAUSSIANS,
    TILES,
    DamagedPictureError,
    Precision,
    Ranges,
    decode_group,
    encode_group,
    measure_ranges,
    picture_width,
)
from l4gm.gaussians.order import rows_correspond, spatially_ordered
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.io.budget import BUDGET, MAX_FRAMES, READ_BYTES_PER_GAUSSIAN
from l4gm.io.rates import FPS_RANGE, is_frame_rate

SUFFIX = ".l4gm"
FORMAT = "l4gm-compact"
FORMAT_VERSION = 1
INDEX_NAME = "index.json"

_MAX_INDEX_BYTES = 1 << 16
_MOST = 1e30  # float32 holds it, and what is worked out from it
_MAX_KEY_EVERY = 64  # so many frames are decoded at most to show one
# Bytes in memory for each of the file. What is invisible or stands still is stored as nearly
# nothing: one honest frame comes to hundreds, a sequence to thousands.
_FRAME_RATIO, _SEQUENCE_RATIO = 1000, 20_000
_BYTES_PER_GAUSSIAN = 56
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same sequence gives the same bytes


@dataclass(frozen=True, kw_only=True)
class CompactInfo:
    """What a compact file says about itself.

    Args:
        num_frames: T.
        num_gaussians: N.
        fps: frames per second.
        width: pixels in a row of a tile.
        key_every: frame k needs the pictures from k - k % key_every on.
        ranges, precision: what the pictures' numbers mean.
    """

    num_frames: int
    num_gaussians: int
    fps: float
    width: int
    key_every: int
    ranges: Ranges
    precision: Precision


def frame_name(index: int) -> str:
    """The member that holds a frame."""
    return f"frame_{index:04d}.webp"


def write_compact(
    path: str | os.PathLike[str],
    sequence: GaussianSequence,
    *,
    precision: Precision | None = None,
    keep_rows: bool = False,
) -> None:
    """Write a sequence as one small file, whole or not at all; frames are coded on all cores.

    Gaussians of an opacity below 1/255, which are drawn nowhere, come back with opacity 0. The
    input cameras are not kept, nor is the order of the Gaussians where it has no meaning from frame
    to frame (`order.rows_correspond`).

    Args:
        path: the file to write; replaced if it exists.
        sequence: [T, N].
        precision: bits of each property; the defaults of `Precision` when left out.
        keep_rows: keep the order of the Gaussians, whatever it costs.

    Raises:
        ValueError: values that are not finite.
        InputError: the file cannot be made there, or a frame has more than 14 million Gaussians.
    """
    gaussians = sequence.gaussians.detach().to("cpu")
    count = len(sequence)
    if gaussians.num_gaussians > MAX_GAUSSIANS:
        raise InputError(
            f"{path}: {gaussians.num_gaussians} Gaussians a frame, but a {SUFFIX} file holds "
            f"{MAX_GAUSSIANS}; take another format"
        )
    in_step = keep_rows or rows_correspond(count, gaussians.__getitem__)
    info = CompactInfo(
        num_frames=count,
        num_gaussians=gaussians.num_gaussians,
        fps=float(sequence.fps),
        width=picture_width(gaussians.num_gaussians),
        key_every=KEY_EVERY if in_step else 1,
        ranges=measure_ranges(gaussians[index] for index in range(count)),
        precision=precision or Precision(),
    )

    def encode(start: int) -> list[bytes]:
        frames = [gaussians[index] for index in range(start, min(start + info.key_every, count))]
        if not in_step:
            frames = [spatially_ordered(frame) for frame in frames]
        return encode_group(frames, info.ranges, info.precision, info.width)

    with atomic_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(zipfile.ZipInfo(INDEX_NAME, _EPOCH), _index(info))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            groups = pool.map(encode, range(0, count, info.key_every))
            pictures = (picture for group in groups for picture in group)
            for index, picture in enumerate(pictures):
                archive.writestr(zipfile.ZipInfo(frame_name(index), _EPOCH), picture)


def read_compact(path: str | os.PathLike[str]) -> GaussianSequence:
    """Read a whole sequence, float32.

    Raises:
        InputError: no file, not such a file, cut off, of a newer version, or damaged.
    """
    info = read_compact_info(path)
    whole = 2 * info.num_frames * info.num_gaussians * _BYTES_PER_GAUSSIAN
    BUDGET.check(path, whole, ratio=_SEQUENCE_RATIO)
    return GaussianSequence(read_compact_frames(path, 0, info.num_frames), info.fps)


def read_compact_frames(path: str | os.PathLike[str], start: int, stop: int) -> Gaussians:
    """Read frames start..stop - 1 alone: Gaussians [stop - start, N].

    Raises:
        ValueError: the range is empty or lies outside the sequence.
        InputError: as `read_compact`.
    """
    with Archive(path, "a compact l4gm file") as archive:
        info = _parse_index(archive)
        if not 0 <= start < stop <= info.num_frames:
            raise ValueError(f"need 0 <= start < stop <= {info.num_frames}, got {start}:{stop}")
        return Gaussians.stack(list(_decoded(archive, info, start, stop)))


def read_compact_info(path: str | os.PathLike[str]) -> CompactInfo:
    """Read what a file says about itself, without its frames.

    Raises:
        InputError: as `read_compact`.
    """
    with Archive(path, "a compact l4gm file") as archive:
        return _parse_index(archive)


def _decoded(archive: Archive, info: CompactInfo, start: int, stop: int) -> Iterator[Gaussians]:
    """Frames start..stop - 1, one after the other."""
    # Lossless WebP of noise is hardly larger than the pixels themselves.
    limit = 4 * TILES * (info.num_gaussians + info.width) + 4096
    for first in range(start - start % info.key_every, stop, info.key_every):
        last = min(first + info.key_every, stop)
        names = [frame_name(index) for index in range(first, last)]
        pictures = (archive.read(name, limit) for name in names)
        frames = decode_group(pictures, info.num_gaussians, info.ranges, info.precision, info.width)
        try:
            for index, frame in zip(range(first, last), frames, strict=True):
                if index >= start:
                    yield frame
        except DamagedPictureError as error:
            raise InputError(
                f"{archive.path}: a frame of {names[0]} to {names[-1]} is damaged ({error}); "
                "export it anew"
            ) from None


def _index(info: CompactInfo) -> str:
    ranges, bits = info.ranges, info.precision
    document = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "fps": info.fps,
        "num_frames": info.num_frames,
        "num_gaussians": info.num_gaussians,
        "width": info.width,
        "key_every": info.key_every,
        "bits": asdict(bits),
        "means": {"lower": ranges.lower, "upper": ranges.upper},
        "log_scales": {"lower": ranges.log_scale_lower, "upper": ranges.log_scale_upper},
        "rotations": {"reference": ranges.reference},
    }
    return json.dumps(document, indent=1) + "\n"


def _parse_index(archive: Archive) -> CompactInfo:
    text = archive.read(INDEX_NAME, _MAX_INDEX_BYTES)
    bad = f"{archive.path}: not a compact l4gm file, or damaged"
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{bad}: {INDEX_NAME} is not JSON; export it anew") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{bad}: expected format {FORMAT!r} in {INDEX_NAME}")
    version = document.get("version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{archive.path}: format version {version!r:.40}, this l4gm reads {FORMAT_VERSION}; "
            "update l4gm"
        )
    try:
        info = _info(document)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{bad}: bad {INDEX_NAME} ({error}); export it anew") from None
    archive.check_members(frame_name(index) for index in range(info.num_frames))
    BUDGET.check(archive.path, info.num_gaussians * READ_BYTES_PER_GAUSSIAN, ratio=_FRAME_RATIO)
    return info


def _info(document: dict[str, Any]) -> CompactInfo:
    log_scales = document["log_scales"]
    x, y, z = _numbers(document["means"]["lower"], 3)
    x1, y1, z1 = _numbers(document["means"]["upper"], 3)
    w, i, j, k = _numbers(document["rotations"]["reference"], 4)
    low, high = _numbers([log_scales["lower"], log_scales["upper"]], 2)
    if max(abs(low), abs(high)) > 80:  # their exponentials stay finite
        raise ValueError(f"log_scales must lie within [-80, 80], got {low} to {high}")
    fps = document["fps"]
    if not is_frame_rate(fps):
        raise ValueError(f"fps must be {FPS_RANGE}, got {str(fps)[:40]}")
    num_gaussians = _integer(document, "num_gaussians", 0, MAX_GAUSSIANS)
    return CompactInfo(
        num_frames=_integer(document, "num_frames", 1, MAX_FRAMES),
        num_gaussians=num_gaussians,
        fps=float(fps),
        width=_integer(document, "width", 1, 16383),
        key_every=_integer(document, "key_every", 1, _MAX_KEY_EVERY),
        ranges=Ranges(
            lower=(x, y, z),
            upper=(x1, y1, z1),
            log_scale_lower=low,
            log_scale_upper=high,
            reference=(w, i, j, k),
        ),
        precision=Precision(**document["bits"]),
    )


def _integer(document: dict[str, Any], name: str, low: int, high: int) -> int:
    value = document[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, got {str(value)[:40]}")
    return value


def _numbers(values: Any, count: int) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) != count or not all(abs(value) <= _MOST for value in numbers):
        raise ValueError(f"expected {count} numbers up to {_MOST:g}, got {str(values)[:80]}")
    return numbers
