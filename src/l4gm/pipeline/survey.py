"""The passes over a clip before its frames are made: what it shows, and where the object is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.bars import picture_window
from l4gm.media.matte import WHOLE, Matting, Window
from l4gm.media.shots import THUMB_PX, Shot, find_shots, thumbnail
from l4gm.pipeline.source_clip import SourceClip, shrunk

logger = logging.getLogger(__name__)

SPREAD_FRAMES = 40  # from which background and bars are found
_THUMBS_PER_BLOCK = 1024
MASK_SIDE_PX = 512  # silhouettes are found on frames shrunk to about this
MAX_COVER = 0.97  # a silhouette that fills more of the frame is a failure of the key

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the frame


@dataclass
class Look:
    """A first look at a clip.

    Args:
        thumbs: tiny images of all frames.
        spread: frames from all over the clip, shrunk as for silhouettes.
    """

    thumbs: list[NDArray[np.uint8]] = field(default_factory=list)
    spread: list[Tensor] = field(default_factory=list)


def look_at(clip: SourceClip, on_frame: Callable[[int], None] | None = None) -> Look:
    """Read a clip once.

    Args:
        on_frame: called with the number of frames seen so far.
    """
    look, step = Look(), 1
    # What is kept lies in blocks: each by itself would be put into the gap that a frame has left,
    # so that the next frame does not fit, and memory grows by a frame each time.
    spread: Tensor | None = None
    count = 0
    block = np.empty((0, THUMB_PX, THUMB_PX, 3), np.uint8)
    for index, frame in enumerate(clip.read()):
        place = index % _THUMBS_PER_BLOCK
        if place == 0:
            block = np.empty((_THUMBS_PER_BLOCK, THUMB_PX, THUMB_PX, 3), np.uint8)
        block[place] = thumbnail(shrunk(frame, mask_scale(frame)))
        look.thumbs.append(block[place])
        if index % step == 0:
            kept = shrunk(frame, mask_scale(frame))
            if spread is None:
                spread = kept.new_empty(SPREAD_FRAMES + 1, *kept.shape)
            spread[count] = kept
            count += 1
            if count > SPREAD_FRAMES:
                step, count = 2 * step, len(range(0, count, 2))
                for number in range(count):
                    spread[number] = spread[2 * number]
        if on_frame is not None:
            on_frame(index + 1)
    look.spread = [] if spread is None else list(spread[:count])
    return look


def mask_scale(frame: Tensor) -> int:
    """By how much a frame is shrunk for its silhouette."""
    return max(1, min(frame.shape[:2]) // MASK_SIDE_PX)


def choose_shot(look: Look, number: int | None, name: str) -> tuple[Shot, str | None]:
    """The shot that is used, and what there is to say of the others.

    Args:
        look: at the whole clip.
        number: of the shot, from 1; None takes the longest.
        name: of the clip, for messages.

    Raises:
        InputError: there is no such shot.
    """
    shots = find_shots(look.thumbs)
    if number is not None and not 1 <= number <= len(shots):
        raise InputError(f"{name}: shot {number} of {len(shots)}; expected 1 to {len(shots)}")
    longest = max(range(len(shots)), key=lambda index: len(shots[index]))
    index = longest if number is None else number - 1
    shot = shots[index]
    said = []
    if len(shots) > 1:
        kind = "the longest" if number is None else "the chosen one"
        said.append(
            f"{len(shots)} shots: {kind}, number {index + 1}, is used (frames {shot.start} to "
            f"{shot.stop - 1} of {len(look.thumbs)}); --shot N takes another"
        )
    if shot.faded:
        said.append(f"{shot.faded} frames of a fade are left out")
    return shot, "; ".join(said) or None


def without_bars(clip: SourceClip, look: Look) -> tuple[SourceClip, Look, str | None]:
    """The clip within its bars, the look at it, and what there is to say of them."""
    window = picture_window(look.spread)
    if window == WHOLE:
        return clip, look, None
    clip, look = within(clip, look, window)
    height, width = look.spread[0].shape[:2]
    return clip, look, f"bars or lines along the frame's edges are left out ({width} x {height} px)"


def within(clip: SourceClip, look: Look, window: Window) -> tuple[SourceClip, Look]:
    """A part of each frame."""
    spread = []
    for frame in look.spread:
        rows, columns = window.slices(*frame.shape[:2])
        spread.append(frame[rows, columns])
    return clip.within(window), Look(look.thumbs, spread)


@dataclass
class Survey:
    """Where the object is in each frame.

    Args:
        boxes: around its silhouette; None where there is none, or no background.
        areas: of its silhouette, as shares of the frame.
    """

    boxes: list[Box | None] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    frames_without_background: int = 0
    frames_touching_the_edge: int = 0

    @property
    def num_frames(self) -> int:
        return len(self.boxes)

    @property
    def frames_without_object(self) -> int:
        return sum(1 for area in self.areas if not area)

    @property
    def box(self) -> Box | None:
        """Around the silhouettes of all frames."""
        seen = [box for box in self.boxes if box is not None]
        if not seen:
            return None
        lows, highs = np.min(seen, 0), np.max(seen, 0)
        return int(lows[0]), int(lows[1]), int(highs[2]), int(highs[3])

    def report(self) -> dict[str, Any]:
        return {
            "object_box_px": list(self.box or ()),
            "frames_without_object": self.frames_without_object,
            "frames_without_background": self.frames_without_background,
            "frames_touching_the_edge": self.frames_touching_the_edge,
        }

    def add(self, mask: NDArray[np.bool_], scale: int) -> None:
        """Take in a silhouette found at 1 / scale of the frame's size."""
        area = float(mask.mean())
        self.areas.append(area)
        if not area or area > MAX_COVER:
            self.frames_without_background += area > MAX_COVER
            self.boxes.append(None)
            return
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        height, width = mask.shape
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        if left == 0 or top == 0 or right == width or bottom == height:
            self.frames_touching_the_edge += 1
        self.boxes.append(tuple(int(edge) * scale for edge in (left, top, right, bottom)))  # type: ignore[arg-type]


def survey(clip: SourceClip, method: Matting) -> Survey:
    """Find the object in all frames."""
    found = Survey()
    for frame in clip.read():
        scale = mask_scale(frame)
        found.add(method.mask(shrunk(frame, scale)), scale)
    return found


def warn(found: Survey, name: str) -> None:
    """Say what of the frames is doubtful."""
    total = found.num_frames
    if found.frames_touching_the_edge:
        logger.warning(
            "%s: the object touches the edge of the frame in %d of %d frames and may be cut off",
            name,
            found.frames_touching_the_edge,
            total,
        )
    if found.frames_without_object:
        logger.warning("%s: no object in %d of %d frames", name, found.frames_without_object, total)
    if found.frames_without_background:
        logger.warning(
            "%s: %d of %d frames are not on the clip's background",
            name,
            found.frames_without_background,
            total,
        )
