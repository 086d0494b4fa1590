"""Prepared frames, kept while they pass, since decoding and cutting them out again costs more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from l4gm.pipeline.frames import CutoutSource, FrameSource


class FrameTape:
    """A prepared video that can be replayed in 8 bits, on white; itself such a source.

    The frames lie in a file, so that memory does not grow with the video, and that a run which was
    cut off finds them again. A context manager.

    Args:
        source: the prepared video.
        path: the file; made if it does not exist, left where it is.
        size: width and height of the source's frames.
    """

    def __init__(self, source: FrameSource | CutoutSource, path: Path, size: int) -> None:
        self._source = source
        path.touch()
        self._file = path.open("r+b")
        self._shape = (size, size, 3)
        self._frame_bytes = size * size * 3

    def __enter__(self) -> FrameTape:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def fps(self) -> float:
        return self._source.fps

    @property
    def num_frames(self) -> int:
        return self._source.num_frames

    @property
    def has_alpha(self) -> bool:
        return bool(getattr(self._source, "has_alpha", False))

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        """The source's frames from `start` on, float [3, S, S]; recording goes on from there.

        Raises:
            ValueError: earlier frames have not passed.
        """
        return self._recorded(self._source.frames(start), start)

    def cutouts(self, start: int = 0) -> Iterator[Tensor]:
        """As `frames`, but [4, S, S]: colour premultiplied by alpha, and alpha."""
        return self._recorded(self._source.cutouts(start), start)  # type: ignore[union-attr]

    def _recorded(self, frames: Iterator[Tensor], start: int) -> Iterator[Tensor]:
        recorded = self._file.seek(0, 2) // self._frame_bytes
        if recorded < start:
            raise ValueError(f"{recorded} frames were recorded, cannot go on from {start}")
        self._file.seek(start * self._frame_bytes)
        self._file.truncate()
        for frame in frames:
            color = (frame[:3] + 1 - frame[3:]).clamp(0, 1) if len(frame) == 4 else frame
            levels = color.mul(255).round().byte().permute(1, 2, 0).contiguous()
            self._file.write(levels.numpy().tobytes())
            self._file.flush()
            yield frame

    def stretch(self, start: int, stop: int) -> tuple[int, int]:
        """Offset and length in bytes of frames start..stop - 1 in the file."""
        return start * self._frame_bytes, (stop - start) * self._frame_bytes

    def replay(self) -> Iterator[Tensor]:
        """The frames that have passed, uint8 [S, S, 3]."""
        self._file.seek(0)
        while data := self._file.read(self._frame_bytes):
            yield torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(self._shape)
