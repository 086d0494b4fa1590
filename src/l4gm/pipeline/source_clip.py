"""A clip as it is read again and again: which frames of the source, and which part of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.media.info import MIN_SIDE_PX
from l4gm.media.matte import WHOLE, Window
from l4gm.media.timing import FALLBACK_FPS
from l4gm.media.video import Source, probe_video, read_frames, source_name

# read(start, stop, step): frames uint8 [H, W, 3 or 4] of a source, on an even lattice of time.
Read = Callable[[int, "int | None", int], Iterator[Tensor]]


@dataclass(frozen=True, kw_only=True)
class SourceClip:
    """Frames of a source at the working rate.

    Args:
        name: of the source, for messages.
        fps: working rate.
        source_fps: of what `source` gives.
        source: gives frames.
        first, limit: which frames at the working rate are the clip's; no limit: all to the end.
        window: the part of each frame.
        report: what is known of the source, for `report.json`.
        notes: what there is to say of it, one phrase each.
    """

    name: str
    fps: float
    source_fps: float
    source: Read = field(repr=False)
    first: int = 0
    limit: int | None = None
    window: Window = WHOLE
    report: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Frames [H, W, C] of the clip, start and stop as in `range`."""
        if self.limit is not None:
            stop = self.limit if stop is None else min(stop, self.limit)
        last = None if stop is None else self.first + stop
        for frame in self._at_rate(self.first + start, last):
            rows, columns = self.window.slices(*frame.shape[:2])
            yield frame[rows, columns]

    def part(self, start: int, stop: int) -> SourceClip:
        """The frames of `range(start, stop)`."""
        stop = stop if self.limit is None else min(stop, self.limit)
        return replace(self, first=self.first + start, limit=stop - start)

    def limited(self, count: int | None) -> SourceClip:
        """No more than so many frames."""
        if count is None or (self.limit is not None and self.limit <= count):
            return self
        return replace(self, limit=count)

    def within(self, window: Window) -> SourceClip:
        """A part of each frame, given as a part of what is read now."""
        old = self.window
        width, height = old.right - old.left, old.bottom - old.top
        return replace(
            self,
            window=Window(
                old.left + window.left * width,
                old.top + window.top * height,
                old.left + window.right * width,
                old.top + window.bottom * height,
            ),
        )

    def _at_rate(self, start: int, stop: int | None) -> Iterator[Tensor]:
        """Frame k is the one that the source shows at k / fps, or the nearest one."""
        ratio = self.source_fps / self.fps
        step = round(ratio)
        if step and math.isclose(ratio, step, rel_tol=1e-9):
            yield from self.source(start * step, None if stop is None else stop * step, step)
            return
        place = start
        first = math.floor(place * ratio + 0.5)
        for index, frame in enumerate(self.source(first, None, 1), first):
            while math.floor(place * ratio + 0.5) == index:
                if stop is not None and place >= stop:
                    return
                yield frame
                place += 1


def open_clip(
    source: Source | Tensor, *, fps: float | None, max_fps: float, rate: float | None
) -> SourceClip:
    """A source at its working rate.

    Args:
        source: as for `read_frames`, or raw frames uint8 [T, H, W, 3 or 4].
        fps: of the source where it says none or a wrong one; its timestamps are then ignored.
        max_fps: higher rates are thinned to every (fps // max_fps)th frame.
        rate: frames per second wanted instead; frames are repeated or left out to get it.

    Raises:
        InputError: if the source cannot be read.
    """
    clip = _open_tensor(source, fps) if isinstance(source, Tensor) else _open_file(source, fps)
    step = thinning_step(clip.source_fps, max_fps)
    working = clip.source_fps / step if rate is None else rate
    report = clip.report | {"every_nth_frame": clip.source_fps / working, "fps": working}
    if rate is None:
        report["every_nth_frame"] = step
    notes = clip.notes
    if step > 1 and rate is None:
        notes = (*notes, f"every {_ordinal(step)} of {clip.source_fps:.4g} frames per second")
    return replace(clip, fps=working, report=report, notes=notes)


def _open_file(source: Source, fps: float | None) -> SourceClip:
    info = probe_video(source)

    def read(start: int, stop: int | None, step: int) -> Iterator[Tensor]:
        return read_frames(source, start=start, stop=stop, step=step, timed=fps is None)

    source_fps = fps or info.fps
    name = source_name(source)
    report = {
        "source": name.rpartition("/")[2],
        "source_width_px": info.width,
        "source_height_px": info.height,
        "source_fps": source_fps,
        "source_frames": info.num_pictures,
        "source_seconds": info.duration_seconds,
        "source_codec": info.codec,
    }
    return SourceClip(
        name=name,
        fps=source_fps,
        source_fps=source_fps,
        source=read,
        report=report,
        notes=info.notes,
    )


def _open_tensor(frames: Tensor, fps: float | None) -> SourceClip:
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] not in (3, 4):
        raise ValueError(
            f"frames must be uint8 [T, H, W, 3 or 4], got {frames.dtype} {list(frames.shape)}"
        )
    if min(frames.shape[1:3]) < MIN_SIDE_PX:
        raise InputError(
            f"frames of {frames.shape[2]} x {frames.shape[1]} px; expected at least "
            f"{MIN_SIDE_PX} px on each side"
        )

    def read(start: int, stop: int | None, step: int) -> Iterator[Tensor]:
        return iter(frames[start:stop:step])

    source_fps = fps or FALLBACK_FPS
    report = {
        "source": "frames",
        "source_width_px": frames.shape[2],
        "source_height_px": frames.shape[1],
        "source_fps": source_fps,
    }
    return SourceClip(
        name="the frames", fps=source_fps, source_fps=source_fps, source=read, report=report
    )


def thinning_step(fps: float, max_fps: float = 15.0) -> int:
    """Every how many frames one is taken: fps // max_fps, at least 1; 29.97 counts as 30."""
    return max(1, int(round(fps) // max_fps))


def shrunk(frame: Tensor, factor: int) -> Tensor:
    """Means of blocks of factor x factor pixels, uint8 [H // factor, W // factor, C]."""
    if factor == 1:
        return frame
    height, width = (side // factor * factor for side in frame.shape[:2])
    rows = max(1, _STRIP_PIXELS // max(1, width * factor)) * factor
    strips = []
    for top in range(0, height, rows):  # floats of a whole 8K frame would fill the memory
        strip = frame[top : min(top + rows, height), :width].permute(2, 0, 1).float()
        strips.append(functional.avg_pool2d(strip, factor).round().to(torch.uint8))
    return torch.cat(strips, 1).permute(1, 2, 0)


_STRIP_PIXELS = 1 << 21


def _ordinal(number: int) -> str:
    return f"{number}{ {2: 'nd', 3: 'rd'}.get(number % 10, 'th') if number < 11 else 'th' }"
