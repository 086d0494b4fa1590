"""How a clip lies on disk. The only module that knows.

A clip is one sample of a WebDataset tar: a JSON file that says everything but the pictures, then
the pictures of every view, and for clips of our own renderer their depth.

    KEY.json                     facts, cameras, and size and CRC-32 of every file that follows
    KEY.view00.webp              all frames of a view as one animation, or
    KEY.view00.frame000.png ...  the frames one by one, as a renderer leaves them
    KEY.view00.depth             distances (see `pack_depth`)

A tar of one clip is what a renderer writes (`write_clip`); a shard holds thousands. Both are read
in the same way. Because the JSON comes first and lists the sizes, the files of a few views can be
fetched without reading the others. Tars hold no times, owners or other traces of the machine, so
equal clips are equal bytes.

Only the standard library and NumPy are used: this also runs inside Blender's own Python.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file

FORMAT_VERSION = 1
BLOCK = tarfile.BLOCKSIZE
FIRST_READ_BYTES = 32 * 1024  # takes in the JSON of a clip with 48 views
MAX_JSON_BYTES = 1 << 24
MAX_KEY_LENGTH = 64
DEPTH_STEP = 1.0 / 4096  # world units; a pixel at 256 px is 0.005 wide

Read = Callable[[int, int], bytes]
"""(offset, size) -> the bytes there, fewer at the end of the file."""


class DamagedClipError(InputError):
    """A clip that cannot be read as it was written; the message names it and says why."""


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What is known of a clip besides its pictures: one row of a manifest.

    Args:
        key: its name in files, from `clip_key`; no two clips of a set share one.
        uid: the object; all clips of an object fall into the same split.
        animation: which of the object's animations, by name or number.
        clip: which second of that animation.
        fps: frames per second.
        num_frames: T.
        source: file, dataset or generator the object is from.
        renderer: what made the pictures.
        licence: of the object.
        motion: how much moves, see `l4gm.datagen.motion`; None if not measured.
        motion_method: how that was measured.
        details: anything else that JSON holds, kept as it is.
    """

    key: str
    uid: str
    animation: str = ""
    clip: int = 0
    fps: float
    num_frames: int
    source: str = ""
    renderer: str = ""
    licence: str = ""
    motion: float | None = None
    motion_method: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoredCameras:
    """The still cameras of a clip, as `l4gm.geometry.cameras.Cameras` but in NumPy.

    Args:
        world_from_camera: [V, 4, 4] float32, OpenCV camera axes (x right, y down, z forward).
        intrinsics: [V, 3, 3] float32, pixels; pixel centres lie at +0.5.
        width, height: of the pictures, pixels.
        near, far: camera z outside which nothing is drawn.
        num_fixed: the first views, at elevation 0 with even azimuths from 0 on; the others are
            free.
    """

    world_from_camera: NDArray[np.float32]
    intrinsics: NDArray[np.float32]
    width: int
    height: int
    near: float
    far: float
    num_fixed: int

    def __post_init__(self) -> None:
        views = len(self.world_from_camera)
        if self.world_from_camera.shape != (views, 4, 4) or not views:
            raise ValueError(
                f"world_from_camera must be [V, 4, 4], got {list(self.world_from_camera.shape)}"
            )
        if self.intrinsics.shape != (views, 3, 3):
            raise ValueError(f"intrinsics must be [{views}, 3, 3], got {self.intrinsics.shape}")
        if not 0 <= self.num_fixed <= views:
            raise ValueError(f"num_fixed must lie in 0..{views}, got {self.num_fixed}")
        finite = np.isfinite(self.world_from_camera).all() and np.isfinite(self.intrinsics).all()
        if not finite or self.width < 1 or self.height < 1 or not 0 < self.near < self.far:
            raise ValueError("cameras need finite numbers, a size, and 0 < near < far")


@dataclass(frozen=True, kw_only=True)
class StoredView:
    """The encoded pictures of one view.

    Args:
        pictures: one animation of all frames, or one picture for each frame.
        suffix: of the pictures' format: "webp", "png".
        depth: from `pack_depth`, where it is known.
    """

    pictures: tuple[bytes, ...]
    suffix: str
    depth: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class StoredClip:
    """A clip as it is written and read.

    Args:
        facts: about it.
        cameras: [V].
        views: one for each camera; when only some were read, those of `view_numbers`.
        view_numbers: which of the cameras `views` belong to; by default all.
    """

    facts: ClipFacts
    cameras: StoredCameras
    views: tuple[StoredView, ...]
    view_numbers: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ClipHeader:
    """The JSON of a clip, and where its files lie.

    Args:
        facts, cameras: of the clip.
        files: (offset in the tar, size, CRC-32) by name without key, such as "view00.webp".
        end: offset of the next clip.
    """

    facts: ClipFacts
    cameras: StoredCameras
    files: dict[str, tuple[int, int, int]]
    end: int


def clip_key(uid: str, animation: str | int = 0, clip: int = 0) -> str:
    """A name that is safe in any file system and tar, and differs for different clips.

    Letters, digits, `-` and `_` stay; where anything had to be replaced or cut off, a part of the
    SHA-256 of the original keeps names apart.
    """
    parts = (uid, str(animation), f"{clip:03d}")
    plain = "_".join(re.sub(r"[^A-Za-z0-9-]+", "-", part) for part in parts)
    if plain == "_".join(parts) and len(plain) <= MAX_KEY_LENGTH:
        return plain
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
    return f"{plain[: MAX_KEY_LENGTH - 13]}_{digest}"


def is_key(text: str) -> bool:
    """Whether a text can be a clip's key: what `clip_key` gives, and nothing that is a path."""
    return re.fullmatch(rf"[A-Za-z0-9_-]{{1,{MAX_KEY_LENGTH}}}", text) is not None


def pack_depth(depth: NDArray[np.floating]) -> bytes:
    """Encode distances [T, H, W] (camera z, 0 where there is no surface) of one view.

    Kept in steps of 1/4096, up to 15.99; differences along the rows, deflated.

    Raises:
        ValueError: a number that is negative, not finite or too large.
    """
    steps = np.rint(np.asarray(depth, np.float64) / DEPTH_STEP)
    if depth.ndim != 3 or not (steps >= 0).all() or not (steps < 1 << 16).all():
        raise ValueError(f"depth must be [T, H, W] in 0..15.99, got {list(depth.shape)}")
    levels = steps.astype(np.uint16)
    differences = np.diff(levels, axis=2, prepend=np.uint16(0))
    low, high = (differences & 0xFF).astype(np.uint8), (differences >> 8).astype(np.uint8)
    return struct.pack("<3I", *depth.shape) + zlib.compress(low.tobytes() + high.tobytes(), 6)


def unpack_depth(data: bytes, frames: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Distances [T, H, W] from `pack_depth`, of some frames or all.

    Raises:
        DamagedClipError: if the data is not what `pack_depth` made, or has fewer frames.
    """
    try:
        shape = struct.unpack_from("<3I", data)
        count = int(np.prod(shape, dtype=np.int64))
        inflater = zlib.decompressobj()
        raw = inflater.decompress(data[12:], 2 * count + 1) if count < 1 << 31 else b""
    except (struct.error, zlib.error) as error:
        raise DamagedClipError(f"damaged depth ({error})") from error
    if len(raw) != 2 * count:
        raise DamagedClipError(f"damaged depth: {len(raw)} bytes for {list(shape)} distances")
    both = np.frombuffer(raw, np.uint8).reshape(2, *shape)
    if frames is not None:
        if max(frames) >= shape[0]:
            raise DamagedClipError(f"damaged depth: {shape[0]} frames, no {max(frames)}")
        both = both[:, list(frames)]
    low, high = both.astype(np.uint16)
    levels = np.cumsum(low | high << 8, axis=2, dtype=np.uint16)
    return levels.astype(np.float32) * np.float32(DEPTH_STEP)


def clip_bytes(clip: StoredClip) -> bytes:
    """A clip as its stretch of a tar, a whole number of blocks.

    Raises:
        ValueError: a key that is not from `clip_key`, or views that do not fit the cameras.
    """
    if not is_key(clip.facts.key):
        raise ValueError(f"{clip.facts.key!r} is no key; make one with clip_key")
    if len(clip.views) != len(clip.cameras.world_from_camera) or clip.view_numbers is not None:
        raise ValueError(f"{clip.facts.key}: {len(clip.views)} views, not one for each camera")
    files = dict(_view_files(clip))
    description = {
        "format": FORMAT_VERSION,
        "facts": asdict(clip.facts),
        "cameras": _cameras_to_json(clip.cameras),
        "files": {name: [len(data), zlib.crc32(data)] for name, data in files.items()},
    }
    text = json.dumps(description, allow_nan=False, separators=(",", ":")).encode()
    members = [("json", text), *files.items()]
    return b"".join(_member(f"{clip.facts.key}.{name}", data) for name, data in members)


def write_clip(path: str | Path, clip: StoredClip) -> None:
    """Write a tar of one clip, whole or not at all.

    Raises:
        InputError: the place cannot be written to.
        OSError: it is full, or fails otherwise.
    """
    with shard_writer(path) as writer:
        writer.add(clip)


@dataclass
class ShardWriter:
    """An open tar that clips are added to; made by `shard_writer`."""

    file: BinaryIO
    size: int = 0

    def add(self, clip: StoredClip) -> tuple[int, int]:
        """Append a clip; returns its offset and size in bytes."""
        data = clip_bytes(clip)
        offset = self.size
        self.file.write(data)
        self.size += len(data)
        return offset, len(data)


@contextmanager
def shard_writer(path: str | Path) -> Iterator[ShardWriter]:
    """Write a tar of clips; it appears under its name when the block ends well, or not at all."""
    with atomic_file(path) as partial, partial.open("wb") as file:
        yield ShardWriter(file)
        file.write(bytes(2 * BLOCK))  # the end of a tar
        file.flush()


def read_header(read: Read, offset: int = 0) -> ClipHeader:
    """What a clip says of itself, without its pictures.

    Args:
        read: of the tar.
        offset: where the clip begins.

    Raises:
        DamagedClipError: there is no clip there, it is cut off, or from a later version.
    """
    start = read(offset, FIRST_READ_BYTES)
    name, size = _parse_member(start[:BLOCK], offset)
    if not name.endswith(".json") or size > MAX_JSON_BYTES:
        raise DamagedClipError(f"no clip at byte {offset}, but {name[:80]!r}")
    key = name[: -len(".json")]
    text = start[BLOCK : BLOCK + size]
    if len(text) < size:
        text += read(offset + BLOCK + len(text), size - len(text))
    if len(text) < size:
        raise DamagedClipError(f"{key}: cut off at byte {offset + BLOCK + len(text)}")
    try:
        description = json.loads(text)
        if description["format"] > FORMAT_VERSION:
            raise DamagedClipError(
                f"{key}: written by a later version (format {description['format']}); update l4gm"
            )
        facts = ClipFacts(**description["facts"])
        cameras = _cameras_from_json(description["cameras"])
        listed = {str(k): (int(v[0]), int(v[1])) for k, v in description["files"].items()}
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        if isinstance(error, DamagedClipError):
            raise
        raise DamagedClipError(f"{key}: damaged description ({error})") from error
    if facts.key != key or not is_key(key) or min((n for n, _ in listed.values()), default=0) < 0:
        raise DamagedClipError(f"{key}: the description is of {facts.key[:80]!r}")
    files = {}
    place = offset + BLOCK + _padded(size)
    for name, (length, checksum) in listed.items():
        files[name] = (place + BLOCK, length, checksum)
        place += BLOCK + _padded(length)
    return ClipHeader(facts, cameras, files, place)


def read_views(
    read: Read, header: ClipHeader, views: Sequence[int] | None = None, *, depth: bool = True
) -> StoredClip:
    """The encoded pictures of some views.

    Args:
        read: of the tar that `header` is from.
        views: which, in this order; by default all.
        depth: read it where there is some.

    Raises:
        DamagedClipError: a file is cut off, or its checksum is not the one it was written with.
    """
    key = header.facts.key
    numbers = tuple(range(len(header.cameras.world_from_camera)) if views is None else views)
    stored = []
    for number in numbers:
        names = [name for name in header.files if name.startswith(_view_name(number) + ".")]
        pictures = [name for name in names if not name.endswith(".depth")]
        if not pictures:
            raise DamagedClipError(f"{key}: no pictures of view {number}")
        depth_name = f"{_view_name(number)}.depth"
        stored.append(
            StoredView(
                pictures=tuple(_read_file(read, header, name) for name in pictures),
                suffix=pictures[0].rpartition(".")[2],
                depth=_read_file(read, header, depth_name)
                if depth and depth_name in header.files
                else None,
            )
        )
    return StoredClip(
        facts=header.facts,
        cameras=header.cameras,
        views=tuple(stored),
        view_numbers=None if views is None else numbers,
    )


def headers(read: Read) -> Iterator[tuple[int, ClipHeader]]:
    """Offset and header of every clip of a tar, in order.

    Raises:
        DamagedClipError: where the tar is cut off or damaged, after the clips before that place.
    """
    offset = 0
    while True:
        block = read(offset, BLOCK)
        if len(block) == BLOCK and not any(block):
            return
        header = read_header(read, offset)
        yield offset, header
        offset = header.end


@contextmanager
def open_tar(path: str | Path) -> Iterator[Read]:
    """A local tar, to be read at any place.

    Raises:
        InputError: there is no such file, or it cannot be opened.
    """
    try:
        file = Path(path).open("rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    with file:

        def read(offset: int, size: int) -> bytes:
            file.seek(offset)
            return file.read(size)

        yield read


def read_clip(path: str | Path) -> StoredClip:
    """The clip that `write_clip` wrote.

    Raises:
        DamagedClipError: it is damaged; the message names the file.
        InputError: there is no such file.
    """
    with open_tar(path) as read:
        try:
            return read_views(read, read_header(read))
        except DamagedClipError as error:
            raise DamagedClipError(f"{path}: {error}") from error


def with_facts(clip: StoredClip, **changes: Any) -> StoredClip:
    """The same clip with some of its facts changed."""
    return replace(clip, facts=replace(clip.facts, **changes))


def _view_name(number: int) -> str:
    return f"view{number:02d}"


def _view_files(clip: StoredClip) -> Iterator[tuple[str, bytes]]:
    """(name without key, content) of all files of a clip but the JSON, in their order."""
    for number, view in enumerate(clip.views):
        name = _view_name(number)
        if len(view.pictures) not in (1, clip.facts.num_frames):
            raise ValueError(
                f"{clip.facts.key}: view {number} has {len(view.pictures)} pictures for "
                f"{clip.facts.num_frames} frames"
            )
        if len(view.pictures) == 1:
            yield f"{name}.{view.suffix}", view.pictures[0]
        else:
            for frame, picture in enumerate(view.pictures):
                yield f"{name}.frame{frame:03d}.{view.suffix}", picture
        if view.depth is not None:
            yield f"{name}.depth", view.depth


def _cameras_to_json(cameras: StoredCameras) -> dict[str, Any]:
    def numbers(array: NDArray[np.float32]) -> list[Any]:
        # The shortest decimals that give the same float32 again.
        return [float(str(value)) for value in np.asarray(array, np.float32).ravel()]

    matrix = cameras.intrinsics
    lenses = np.stack([matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]], 1)
    return {
        "width": cameras.width,
        "height": cameras.height,
        "near": cameras.near,
        "far": cameras.far,
        "num_fixed": cameras.num_fixed,
        "fx_fy_cx_cy": numbers(lenses),
        "world_from_camera": numbers(cameras.world_from_camera[:, :3]),
    }


def _cameras_from_json(values: dict[str, Any]) -> StoredCameras:
    rows = np.array(values["world_from_camera"], np.float32).reshape(-1, 3, 4)
    lenses = np.array(values["fx_fy_cx_cy"], np.float32).reshape(len(rows), 4)
    poses = np.tile(np.eye(4, dtype=np.float32), (len(rows), 1, 1))
    poses[:, :3] = rows
    intrinsics = np.tile(np.eye(3, dtype=np.float32), (len(rows), 1, 1))
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = lenses[:, 0], lenses[:, 1]
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = lenses[:, 2], lenses[:, 3]
    return StoredCameras(
        world_from_camera=poses,
        intrinsics=intrinsics,
        width=int(values["width"]),
        height=int(values["height"]),
        near=float(values["near"]),
        far=float(values["far"]),
        num_fixed=int(values["num_fixed"]),
    )


def _padded(size: int) -> int:
    """A size rounded up to whole blocks."""
    return -(-size // BLOCK) * BLOCK


def _member(name: str, data: bytes) -> bytes:
    """A file as a stretch of a tar, without anything that depends on when and where."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    header = info.tobuf(tarfile.USTAR_FORMAT)
    return header + data + bytes(_padded(len(data)) - len(data))


def _parse_member(block: bytes, offset: int) -> tuple[str, int]:
    """Name and size from a tar header."""
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise DamagedClipError(f"cut off or damaged at byte {offset} ({error})") from error
    return info.name, info.size


def _read_file(read: Read, header: ClipHeader, name: str) -> bytes:
    offset, size, checksum = header.files[name]
    data = read(offset, size)
    if len(data) != size:
        raise DamagedClipError(f"{header.facts.key}: {name} is cut off")
    if zlib.crc32(data) != checksum:
        raise DamagedClipError(f"{header.facts.key}: {name} is damaged (checksum)")
    return data
