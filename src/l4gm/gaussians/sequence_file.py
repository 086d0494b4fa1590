"""An animated object as one lossless `.safetensors` file (docs/format.md).

Tensors `means`, `quats`, `scales`, `opacities`, `colors`, [T, N, ...] in the type they have, and
optionally the input cameras; fps, camera size and the format's version in the metadata. Frames lie
one after the other within each tensor, so they can be written and read a few at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import Cameras
from l4gm.io.budget import BUDGET, MAX_FRAMES
from l4gm.io.rates import FPS_RANGE, is_frame_rate

FORMAT = "l4gm-gaussian-sequence"
FORMAT_VERSION = 1

_FIELDS = tuple(field.name for field in fields(Gaussians))
_TRAILING = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
_CAMERA_TENSORS = {"world_from_camera": (4, 4), "intrinsics": (3, 3)}
_CAMERA_NUMBERS = {"width": int, "height": int, "near": float, "far": float}
_TYPE_NAMES = {
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}


@dataclass(frozen=True, kw_only=True)
class SequenceInfo:
    """What a sequence file says about itself, read without its Gaussians.

    Args:
        num_frames: T.
        num_gaussians: N.
        fps: frames per second.
        cameras: the input video's cameras, [T] or [], or none.
        metadata: the writer's own strings.
    """

    num_frames: int
    num_gaussians: int
    fps: float
    cameras: Cameras | None
    metadata: Mapping[str, str]


def write_sequence(
    path: str | os.PathLike[str],
    sequence: GaussianSequence,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a sequence, whole or not at all; reading it gives the same bits.

    Args:
        path: the file to write; replaced if it exists.
        sequence: [T, N], float16, bfloat16, float32 or float64.
        metadata: further strings to keep with it; names must not start with "l4gm.".

    Raises:
        ValueError: values that are not finite, or a reserved metadata name.
        InputError: the file cannot be made there.
    """
    gaussians = sequence.gaussians
    writer = SequenceWriter(
        path,
        len(sequence),
        gaussians.num_gaussians,
        sequence.fps,
        sequence.cameras,
        metadata=metadata,
    )
    with writer:
        writer.append(gaussians)


class SequenceWriter:
    """Writes a sequence a few frames at a time, without holding the clip.

    A context manager: the file appears under its name when the block ends well, with all frames;
    when it raises, the partial file is deleted.

    Args:
        path: the file to write; replaced if it exists.
        num_frames: T, how many frames will be appended in all.
        num_gaussians: N, of every frame.
        fps: frames per second, > 0.
        cameras: optional [T] or [], the cameras of the input video.
        metadata: further strings to keep; names must not start with "l4gm.".
        resume_at: write under the name itself, and keep what was written when the block raises;
            the first so many frames are there, from a writer made with the same arguments.

    Raises:
        ValueError: counts or fps that are not positive, cameras that do not fit, a reserved name.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        num_frames: int,
        num_gaussians: int,
        fps: float,
        cameras: Cameras | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        resume_at: int | None = None,
    ) -> None:
        if num_frames < 1 or num_gaussians < 0:
            raise ValueError(f"need frames and Gaussians, got {num_frames} x {num_gaussians}")
        if not is_frame_rate(fps):
            raise ValueError(f"fps must be {FPS_RANGE}, got {fps}")
        if cameras is not None and cameras.shape not in ((), (num_frames,)):
            raise ValueError(f"cameras must be [] or [{num_frames}], got {list(cameras.shape)}")
        reserved = [name for name in metadata or {} if name.startswith("l4gm.")]
        if reserved:
            raise ValueError(f"metadata names must not start with 'l4gm.': {reserved}")
        self.path = Path(path)
        self.num_frames = num_frames
        self.num_gaussians = num_gaussians
        self.frames_written = resume_at or 0
        self._in_place = resume_at is not None
        self._fps = float(fps)
        self._cameras = cameras
        self._metadata = dict(metadata or {})
        self._resources: ExitStack | None = None
        self._stream: BinaryIO | None = None
        self._offsets: dict[str, int] = {}  # of each field's first byte in the file
        self._types: dict[str, torch.dtype] = {}

    def __enter__(self) -> SequenceWriter:
        with ExitStack() as stack:
            place, mode = self.path, "r+b" if self.frames_written else "wb"
            if not self._in_place:
                opened: AbstractContextManager[Path] = atomic_file(self.path)
                place = stack.enter_context(opened)
            stack.enter_context(_complete_on_exit(self))
            self._stream = cast(BinaryIO, stack.enter_context(place.open(mode)))
            self._resources = stack.pop_all()
        return self

    def append(self, gaussians: Gaussians) -> list[tuple[int, int]]:
        """Write the next frames [t, N].

        Returns:
            offset and length in bytes of each stretch of the file that was written.

        Raises:
            ValueError: another N or type than the first frames, more than `num_frames` in all, or
                values that are not finite.
        """
        if self._stream is None:
            raise ValueError("append inside the writer's with block")
        if len(gaussians.shape) != 1 or gaussians.num_gaussians != self.num_gaussians:
            raise ValueError(
                f"append takes frames [t, {self.num_gaussians}], "
                f"got {[*gaussians.shape, gaussians.num_gaussians]}"
            )
        count = gaussians.shape[0]
        if self.frames_written + count > self.num_frames:
            raise ValueError(
                f"{self.frames_written} + {count} frames do not fit into {self.num_frames}"
            )
        types = {name: getattr(gaussians, name).dtype for name in _FIELDS}
        stretches = [] if self._types else [(0, self._write_header(types))]
        if types != self._types:
            raise ValueError(f"frames of another type: {types}, the first had {self._types}")
        for name in _FIELDS:
            tensor = getattr(gaussians, name)
            if not tensor.isfinite().all():
                raise ValueError(f"{name} hold values that are not finite")
            frame_bytes = tensor[:1].numel() * tensor.element_size()
            offset = self._offsets[name] + self.frames_written * frame_bytes
            self._stream.seek(offset)
            _write_tensor(self._stream, tensor)
            stretches.append((offset, count * frame_bytes))
        self._stream.flush()
        self.frames_written += count
        return stretches

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        resources, self._resources, self._stream = self._resources, None, None
        assert resources is not None
        resources.__exit__(kind, error, trace)

    def _write_header(self, types: dict[str, torch.dtype]) -> int:
        """Header and cameras; returns the header's length in bytes."""
        assert self._stream is not None
        unknown = {str(kind) for kind in types.values()} - {str(kind) for kind in _TYPE_NAMES}
        if unknown:
            raise ValueError(f"cannot store {sorted(unknown)}; use a floating-point type")
        metadata = {
            **self._metadata,
            "l4gm.format": FORMAT,
            "l4gm.format_version": str(FORMAT_VERSION),
            "l4gm.fps": repr(self._fps),
        }
        camera_tensors: dict[str, Tensor] = {}
        if self._cameras is not None:
            for name in _CAMERA_TENSORS:
                camera_tensors[f"cameras.{name}"] = getattr(self._cameras, name)
            for name in _CAMERA_NUMBERS:
                metadata[f"l4gm.cameras.{name}"] = repr(getattr(self._cameras, name))
        shapes = {
            name: (types[name], [self.num_frames, self.num_gaussians, *_TRAILING[name]])
            for name in _FIELDS
        }
        shapes |= {name: (t.dtype, list(t.shape)) for name, t in camera_tensors.items()}
        header, offsets, size = _layout(shapes, metadata)
        self._stream.write(header)
        self._stream.truncate(size)
        for name, tensor in camera_tensors.items():
            self._stream.seek(offsets[name])
            _write_tensor(self._stream, tensor)
        self._offsets, self._types = offsets, types
        return len(header)


class _complete_on_exit:  # noqa: N801  (reads as the verb it is)
    """Raises when the block ends well but frames are missing, before the file is renamed."""

    def __init__(self, writer: SequenceWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        writer = self._writer
        if kind is None and writer.frames_written != writer.num_frames:
            raise ValueError(
                f"{writer.path}: {writer.frames_written} of {writer.num_frames} frames "
                "were appended; nothing is kept"
            )


def read_sequence(path: str | os.PathLike[str]) -> GaussianSequence:
    """Read a whole sequence, bit for bit as it was written.

    Raises:
        InputError: no file, not such a file, cut off, of a newer version, or with values that are
            not finite (the tensor is named).
    """
    info = read_sequence_info(path)
    BUDGET.check(path, Path(path).stat().st_size * 2)
    frames = read_frames(path, 0, info.num_frames)
    return GaussianSequence(frames, info.fps, info.cameras)


def read_frames(path: str | os.PathLike[str], start: int, stop: int) -> Gaussians:
    """Read frames start..stop - 1 alone: Gaussians [stop - start, N].

    Raises:
        ValueError: the range is empty or lies outside the sequence.
        InputError: as `read_sequence`.
    """
    path = Path(path)
    with _Opened(path) as opened:
        if not 0 <= start < stop <= opened.num_frames:
            raise ValueError(f"need 0 <= start < stop <= {opened.num_frames}, got {start}:{stop}")
        tensors = {name: opened.file.get_slice(name)[start:stop] for name in _FIELDS}
    for name, tensor in tensors.items():
        if not tensor.float().isfinite().all():  # float64 holds what rendering cannot
            raise InputError(f"{path}: {name} hold values that are not finite; write it anew")
    return Gaussians(**tensors)


def read_sequence_info(path: str | os.PathLike[str]) -> SequenceInfo:
    """Read what a sequence file says about itself, without its Gaussians.

    Raises:
        InputError: as `read_sequence`.
    """
    path = Path(path)
    with _Opened(path) as opened:
        return SequenceInfo(
            num_frames=opened.num_frames,
            num_gaussians=opened.num_gaussians,
            fps=opened.fps(),
            cameras=opened.cameras(),
            metadata={k: v for k, v in opened.metadata.items() if not k.startswith("l4gm.")},
        )


class _Opened:
    """A sequence file opened and checked: the one place that knows what may be wrong with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected a .safetensors sequence")
        try:
            self.file: Any = safe_open(str(path), framework="pt")
            self.file.__enter__()
        except (SafetensorError, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"{path}: not a whole .safetensors file ({reason}); write it anew"
            ) from None
        self.metadata: dict[str, str] = self.file.metadata() or {}
        self._check_format()
        shape = self.file.get_slice("means").get_shape()
        self.num_frames, self.num_gaussians = shape[:2]

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.__exit__(*error)

    def number(self, name: str, kind: type) -> Any:
        """A number of the metadata, positive."""
        try:
            value = kind(self.metadata[name])
        except (KeyError, ValueError):
            value = -1
        if not 0 < value < float("inf"):
            raise InputError(
                f"{self.path}: metadata {name} must be a positive number, "
                f"got {self.metadata.get(name)!r}; write the file anew"
            )
        return value

    def fps(self) -> float:
        value = self.number("l4gm.fps", float)
        if not is_frame_rate(value):
            raise InputError(f"{self.path}: fps must be {FPS_RANGE}, got {value}; write it anew")
        return float(value)

    def cameras(self) -> Cameras | None:
        """[T], [] or none."""
        names = {f"cameras.{name}" for name in _CAMERA_TENSORS}
        if not names & set(self.file.keys()):
            return None
        numbers = {n: self.number(f"l4gm.cameras.{n}", kind) for n, kind in _CAMERA_NUMBERS.items()}
        try:
            tensors = {name: self.file.get_tensor(f"cameras.{name}") for name in _CAMERA_TENSORS}
            if not all(tensor.float().isfinite().all() for tensor in tensors.values()):
                raise ValueError("values that are not finite")
            cameras = Cameras(**tensors, **numbers)
            if cameras.shape not in ((), (self.num_frames,)):
                raise ValueError(f"one for all or one per frame, got {list(cameras.shape)}")
        except (SafetensorError, ValueError) as error:
            raise InputError(f"{self.path}: bad cameras ({error}); write the file anew") from None
        return cameras

    def _check_format(self) -> None:
        if self.metadata.get("l4gm.format") != FORMAT:
            raise InputError(
                f"{self.path}: a .safetensors file, but not a Gaussian sequence "
                "(model weights?); give one written by l4gm.save"
            )
        version = self.number("l4gm.format_version", int)
        if version > FORMAT_VERSION:
            raise InputError(
                f"{self.path}: format version {version}, this l4gm reads up to "
                f"{FORMAT_VERSION}; update l4gm"
            )
        missing = [name for name in _FIELDS if name not in self.file.keys()]  # noqa: SIM118
        if missing:
            raise InputError(f"{self.path}: tensors missing: {', '.join(missing)}; write it anew")
        lead = self.file.get_slice("means").get_shape()[:2]
        for name in _FIELDS:
            piece = self.file.get_slice(name)
            shape, expected = piece.get_shape(), [*lead, *_TRAILING[name]]
            if shape != expected or len(lead) != 2 or lead[0] < 1:
                raise InputError(
                    f"{self.path}: {name} must be [T, N{', k' * len(_TRAILING[name])}], T > 0, "
                    f"alike in all tensors; got {shape}"
                )
            if lead[0] > MAX_FRAMES:
                raise InputError(
                    f"{self.path}: {lead[0]} frames, at most {MAX_FRAMES} can be; write it anew"
                )
            if piece.get_dtype() not in _TYPE_NAMES.values():
                raise InputError(
                    f"{self.path}: {name} must be floating point, got {piece.get_dtype()}"
                )


def _layout(
    shapes: dict[str, tuple[torch.dtype, list[int]]], metadata: dict[str, str]
) -> tuple[bytes, dict[str, int], int]:
    """The safetensors header, each tensor's place in the file, and the file's size, in bytes."""
    entries: dict[str, Any] = {"__metadata__": metadata}
    begin = 0
    # Wide types first, so that every tensor is aligned to its type, as safetensors itself does.
    for name, (kind, shape) in sorted(shapes.items(), key=lambda item: -item[1][0].itemsize):
        end = begin + kind.itemsize * torch.Size(shape).numel()
        entries[name] = {
            "dtype": _TYPE_NAMES[kind],
            "shape": shape,
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data_start = 8 + len(text)
    offsets = {name: data_start + entries[name]["data_offsets"][0] for name in shapes}
    return len(text).to_bytes(8, "little") + text, offsets, data_start + begin


def _write_tensor(stream: BinaryIO, tensor: Tensor) -> None:
    tensor = tensor.detach().cpu().contiguous()
    stream.write(tensor.reshape(-1).view(torch.uint8).numpy().data)
