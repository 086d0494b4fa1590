"""When frames are shown: the rate of a clip, and its frames on an even lattice of that rate.

Rates come from timestamps. An average says nothing of a recorder that stops while nothing
happens, of a GIF that holds its last frame, or of a container that declares 1000 frames a second.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from l4gm.errors import InputError
from l4gm.io.budget import MAX_FRAMES

T = TypeVar("T")

FALLBACK_FPS = 15.0
"""Frame rate of sources that have none: a folder of images, a single image."""

MAX_PAUSE_SECONDS = 30.0
"""A longer step forward is a jump of the clock (or a pause in which nothing was recorded)."""

COMMON_RATES = (10, 12, 12.5, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)
NTSC_RATES = (24000 / 1001, 30000 / 1001, 60000 / 1001)
# Relative differences of the measured rate from the one that is meant.
_DECLARED_WITHIN, _NTSC_WITHIN, _COMMON_WITHIN = 0.01, 0.0005, 0.03
_MAX_RATE = 1000.0  # of what a source says or its timestamps mean; a faster one is damage
_OUTLIER = 1.5  # times the lower quartile: a longer interval is a pause, not the rate


@dataclass(frozen=True, kw_only=True)
class FrameTimes:
    """When the frames of a clip are shown.

    Args:
        seconds: start of each frame, in the order in which they are shown; None where the source
            says nothing. Backward steps are the joints of clips with a clock each.
        last_seconds: how long the last frame is shown; None where the source says nothing.
        declared_fps: rates that the source states, best first.
    """

    seconds: Sequence[float | None]
    last_seconds: float | None = None
    declared_fps: Sequence[float] = ()

    def fps(self) -> float:
        """Frames per second of the even lattice that shows (nearly) every frame.

        The mean of the usual intervals between frames, replaced by a declared or a common rate if
        that is what it means within the rounding of timestamps.
        """
        known = np.array([time for time in self.seconds if time is not None])
        steps = np.diff(known)
        steps = steps[(steps > 1e-6) & (steps <= MAX_PAUSE_SECONDS)]
        declared = [rate for rate in self.declared_fps if 0 < rate <= _MAX_RATE]
        if not len(steps):
            if self.last_seconds and self.last_seconds <= MAX_PAUSE_SECONDS and not declared:
                return min(1 / self.last_seconds, _MAX_RATE)
            return declared[0] if declared else FALLBACK_FPS
        usual = steps[steps <= _OUTLIER * np.quantile(steps, 0.25)]
        measured = float(1 / usual.mean())
        for rate in declared:
            if abs(measured / rate - 1) < _DECLARED_WITHIN:
                return rate
        for rates, within in ((NTSC_RATES, _NTSC_WITHIN), (COMMON_RATES, _COMMON_WITHIN)):
            near = min(rates, key=lambda rate: abs(measured / rate - 1))
            if abs(measured / near - 1) < within:
                return float(near)
        return min(measured, _MAX_RATE)

    def num_frames(self, fps: float, source: str | os.PathLike[str]) -> int:
        """How many frames `FrameRateResampler(fps)` makes of these.

        Args:
            fps: of the lattice.
            source: whose times these are, for the message.

        Raises:
            InputError: more than `MAX_FRAMES`: a few stored frames, pauses between them, and a
                high rate may claim billions.
        """
        count = sum(1 for _ in islice(self._on_lattice(fps), MAX_FRAMES + 1))
        if count > MAX_FRAMES:
            raise InputError(
                f"{source}: more than {MAX_FRAMES} frames at {fps:g} frames per second; its "
                "timestamps are damaged, or cut it into parts"
            )
        return count

    def _on_lattice(self, fps: float) -> Iterator[None]:
        resampler: FrameRateResampler[None] = FrameRateResampler(fps)
        for time in self.seconds:
            yield from resampler.push(None, time)
        yield from resampler.finish(self.last_seconds)


@dataclass
class FrameRateResampler(Generic[T]):
    """Put frames with timestamps on the even lattice of a constant frame rate.

    Frame k of the output is shown at k / fps seconds after the first frame. A frame that comes at
    most `TOLERANCE` of a frame interval away from the next free place takes it, so that an even
    stream passes unchanged whatever the rounding of its timestamps; an early one is dropped, and
    before a late one the last frame is repeated. No frame is interpolated. Where the clock steps
    back, or forward by more than `MAX_PAUSE_SECONDS`, the next frame follows at once.

    Args:
        fps: of the lattice.
    """

    fps: float
    TOLERANCE = 0.75
    _origin: float | None = field(default=None, init=False)  # time of place 0 by the present clock
    _places: int = field(default=0, init=False)  # taken so far
    _last_time: float | None = field(default=None, init=False)
    _last: list[T] = field(default_factory=list, init=False)

    def push(self, frame: T, time_seconds: float | None) -> Iterator[T]:
        """The output frames that are settled by the next input frame.

        Args:
            frame: handed on as it is.
            time_seconds: when it is shown; None takes the next place.
        """
        if time_seconds is not None:
            if self._jumps(time_seconds):
                self._origin = time_seconds - self._places / self.fps
            assert self._origin is not None
            self._last_time = time_seconds
            lateness = (time_seconds - self._origin) * self.fps - self._places
            if lateness < -self.TOLERANCE and self._last:
                # Shown from its place on all the same, should that place come to be repeated.
                self._last = [frame]
                return
            while lateness > self.TOLERANCE and self._last:
                yield self._last[0]
                self._places += 1
                lateness -= 1
        self._last = [frame]
        self._places += 1
        yield frame

    def finish(self, last_seconds: float | None) -> Iterator[T]:
        """The repetitions of the last frame, which is shown for this long."""
        if last_seconds is None or self._last_time is None or last_seconds > MAX_PAUSE_SECONDS:
            return
        assert self._origin is not None
        end = self._last_time + last_seconds
        for _ in range(round((end - self._origin) * self.fps) - self._places):
            yield self._last[0]

    def _jumps(self, time_seconds: float) -> bool:
        """Whether the clock starts, or starts anew."""
        if self._last_time is None:
            return True
        step = time_seconds - self._last_time
        return step < -0.5 / self.fps or step > MAX_PAUSE_SECONDS


def in_order_of_showing(
    decode_times: Sequence[float | None], show_times: Sequence[float]
) -> list[float]:
    """Sort times of packets, which come in the order of decoding, between the clock's jumps.

    Args:
        decode_times, show_times: of each packet, in seconds.
    """
    ordered: list[float] = []
    start, before = 0, None
    for decode, show in zip(decode_times, show_times, strict=True):
        if decode is not None:
            if before is not None and not 0 <= decode - before <= MAX_PAUSE_SECONDS:
                start = len(ordered)
            before = decode
        bisect.insort(ordered, show, lo=start)
    return ordered
