"""What is known of a video before its frames are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

FALLBACK_FPS = 15.0
"""Frame rate of sources that have none: a folder of images, a single image."""

MIN_SIDE_PX = 16
"""Smaller pictures hold no object that could be reconstructed."""


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video before its frames are read.

    Args:
        width, height: size in pixels of the frames as they are shown: turned by the rotation flag,
            with square pixels.
        fps: frames per second; for a variable frame rate the average, to which frames are
            resampled.
        num_frames: as the container declares it; None where it says nothing. A cut off file has
            fewer.
        duration_seconds: as the container declares it; None where it says nothing.
        codec: name of the codec ("h264", "vp9", "png", ...).
        has_alpha: frames have 4 channels.
        rotation_degrees: how far frames are turned counterclockwise before they are shown: 0, 90,
            180 or 270.
    """

    width: int
    height: int
    fps: float
    num_frames: int | None
    duration_seconds: float | None
    codec: str
    has_alpha: bool
    rotation_degrees: int = 0


class FrameRateResampler:
    """Put frames with timestamps on the even lattice of a constant frame rate.

    Frame k of the output is shown at k / fps seconds after the first frame. A frame that comes at
    most `TOLERANCE` of a frame interval away from the next free place takes it, so that an even
    stream passes unchanged whatever the rounding of its timestamps; an early one is dropped, and
    before a late one the last frame is repeated. No frame is interpolated.
    """

    TOLERANCE = 0.75
    MAX_REPEATS = 250  # a jump of the clock, not a still picture

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._start: float | None = None
        self._next_place = 0
        self._last: Tensor | None = None

    def push(self, frame: Tensor, time_seconds: float | None) -> Iterator[Tensor]:
        """The output frames that are settled by the next input frame.

        Args:
            frame: any tensor; handed on as it is.
            time_seconds: when it is shown; None takes the next place.
        """
        if self._start is None and time_seconds is not None:
            self._start = time_seconds - self._next_place / self.fps
        if time_seconds is not None and self._start is not None:
            lateness = (time_seconds - self._start) * self.fps - self._next_place
            if lateness < -self.MAX_REPEATS or lateness > self.MAX_REPEATS:
                self._start = time_seconds - self._next_place / self.fps
                lateness = 0.0
            if lateness < -self.TOLERANCE and self._last is not None:
                return
            while lateness > self.TOLERANCE and self._last is not None:
                yield self._last
                self._next_place += 1
                lateness -= 1
        self._last = frame
        self._next_place += 1
        yield frame
