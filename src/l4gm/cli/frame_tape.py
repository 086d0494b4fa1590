"""Prepared frames, kept while they pass, since decoding and cutting them out again costs more."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from l4gm.pipeline.frames import FrameSource


class FrameTape:
    """A prepared video that can be replayed in 8 bits; itself a `FrameSource`.

    The frames lie in a temporary file without a name, so that memory does not grow with the video.
    A context manager.

    Args:
        source: the prepared video.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by __exit__)
        self._shape: tuple[int, int, int] = (0, 0, 0)

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

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        """The source's frames from `start` on, float [3, S, S]; recording begins anew."""
        self._file.seek(0)
        self._file.truncate()
        for frame in self._source.frames(start):
            levels = frame.mul(255).round().byte().permute(1, 2, 0).contiguous()
            self._shape = (levels.shape[0], levels.shape[1], levels.shape[2])
            self._file.write(levels.numpy().tobytes())
            yield frame

    def replay(self) -> Iterator[Tensor]:
        """The frames that have passed, uint8 [S, S, 3]."""
        self._file.seek(0)
        height, width, channels = self._shape
        while data := self._file.read(height * width * channels):
            yield torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(self._shape)
