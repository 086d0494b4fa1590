"""From any video to the square frames on white that the networks expect.

Passes over the video instead of one list of its frames, so that memory does not grow with its
length: a first look finds shots, bars and the background, a survey the bounding box of the object
in each frame, the last pass yields the frames. One crop serves the whole clip, since the camera of
the paper stands still and a crop that followed the object would hide its motion; but an object
that crosses the frame is followed, or it would be tiny.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS
from l4gm.media.matte import Matting, Window
from l4gm.media.matting import Choice, choose_matting, keep_as_is
from l4gm.media.resample import Crop, crop_and_resize
from l4gm.media.video import Source
from l4gm.pipeline.framing import Framing, choose_framing
from l4gm.pipeline.source_clip import SourceClip, open_clip, shrunk, thinning_step
from l4gm.pipeline.survey import (
    Look,
    choose_shot,
    look_at,
    mask_scale,
    survey,
    warn,
    within,
    without_bars,
)

__all__ = ["OBJECT_SHARE", "PreparedVideo", "prepare_video", "thinning_step"]

logger = logging.getLogger(__name__)

OBJECT_SHARE = 0.5 / (RADIUS * math.tan(math.radians(FOV_Y_DEGREES) / 2))
"""Share of the picture that the middle section of a unit cube fills in the orbit rig: 0.73.

Training objects are scaled to the unit cube over all their frames.
"""

_PANEL_MOVES = 0.98  # overlap of two silhouettes; below it what is inside a panel has moved


@dataclass(frozen=True)
class PreparedVideo:
    """A clip as the networks expect it; frames are decoded each time they are asked for.

    Args:
        fps: frames per second after thinning.
        num_frames: T.
        size: width and height of the frames in pixels.
        report: what was found in the video and what was decided, for `report.json`.
        has_alpha: whether the background was removed, so that alpha is known.
        motion: [T, 2] how far the object was followed, to the right and up in units of the world,
            relative to its mean place; None where one crop serves all frames.
    """

    fps: float
    num_frames: int
    size: int
    report: dict[str, Any]
    has_alpha: bool
    motion: Tensor | None
    _read: Callable[[int, int], Iterator[Tensor]] = field(repr=False)
    _matting: Matting = field(repr=False)
    _framing: Framing = field(repr=False)

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Frames float32 [3, size, size] in [0, 1], on white (or on their own background where
        background removal was off).

        Args:
            start, stop: as in `range`; earlier frames are decoded and dropped.
        """
        for rgba in self.cutouts(start, stop):
            yield (rgba[:3] + 1 - rgba[3:]).clamp(0, 1)

    def cutouts(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Frames float32 [4, size, size] in [0, 1]: colour premultiplied by alpha, and alpha."""
        stop = self.num_frames if stop is None else min(stop, self.num_frames)
        for index, frame in enumerate(self._read(start, stop), start):
            yield _cut_out(frame, self._matting, self._framing.crop(index), self.size)

    def alphas(self) -> Iterator[Tensor]:
        """Alpha float32 [1, size, size] in [0, 1] of each frame."""
        return (rgba[3:] for rgba in self.cutouts())

    @cached_property
    def first_frame(self) -> Tensor:
        """[3, size, size]."""
        return next(self.frames(0, 1))

    def stack(self) -> Tensor:
        """All frames at once, [T, 3, size, size]."""
        return torch.stack(list(self.frames()))


def prepare_video(
    source: Source | Tensor,
    *,
    size: int = 256,
    max_fps: float = 15.0,
    matting: bool = True,
    object_share: float = OBJECT_SHARE,
    max_frames: int | None = None,
    fps: float | None = None,
    rate: float | None = None,
    shot: int | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> PreparedVideo:
    """Choose a shot, remove bars and background, crop and resize a clip.

    The object's bounding box over the whole clip is put in the middle and its longer side gets
    `object_share` of the picture, unless the clip is square and its object already lies well
    (offset at most 10 %, longer side 45 to 95 % of the frame). An object that travels further than
    its own size is followed by the crop. Frames are resized by area.

    Args:
        source: as for `l4gm.media.video.read_frames`, or raw frames uint8 [T, H, W, 3 or 4].
        size: width and height of the result in pixels.
        max_fps: higher frame rates are thinned to every (fps // max_fps)th frame, as in the
            released pipeline; up to just under twice this rate may be left.
        matting: remove the background; without it the frames are taken as they are, whole, with
            white beside them if they are not square and behind them if they have an alpha channel.
        object_share: see above.
        max_frames: later frames are left out; None takes all.
        fps: frame rate of the source where it says none or a wrong one.
        rate: frames per second wanted, instead of thinning.
        shot: which shot of several is taken, from 1; None takes the longest.
        on_frame: called with the number of frames looked at during the first pass.

    Raises:
        InputError: if the source cannot be read, its background cannot be removed, or there is no
            object.
        ValueError: if an argument is out of range.
    """
    if size < 1 or max_fps <= 0 or not 0 < object_share <= 1 or (rate is not None and rate <= 0):
        raise ValueError(
            "need size >= 1, max_fps > 0, rate > 0, 0 < object_share <= 1; "
            f"got {size}, {max_fps}, {rate}, {object_share}"
        )
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")
    clip = open_clip(source, fps=fps, max_fps=max_fps, rate=rate)
    if not matting:
        return _prepare_as_is(clip.limited(max_frames), size, on_frame)
    if shot is None:  # a chosen shot may begin after the frames that are asked for
        clip = clip.limited(max_frames)
    found = look_at(clip, on_frame)
    if not found.spread:
        raise InputError(f"{clip.name}: no frames")
    scene = _choose_scene(clip, found, shot, max_frames)
    place = survey(scene.clip, scene.choice.method)
    height, width = next(scene.clip.read(0, 1)).shape[:2]
    framing = choose_framing(place, width, height, object_share, clip.name)
    warn(place, clip.name)
    motion = framing.motion(2 * RADIUS * math.tan(math.radians(FOV_Y_DEGREES) / 2))
    report = scene.clip.report | {
        "matting": scene.choice.method.name,
        "frames": place.num_frames,
        **place.report(),
        "notes": [*scene.notes, *framing.notes],
        "outline_without_edge": round(scene.choice.verdict.without_edge, 3),
        "crop": framing.report(),
        "size_px": size,
    }
    if motion is not None:
        report["motion"] = [[round(float(value), 4) for value in step] for step in motion]
    return PreparedVideo(
        fps=clip.fps,
        num_frames=place.num_frames,
        size=size,
        report=report,
        has_alpha=True,
        motion=motion,
        _read=scene.clip.read,
        _matting=scene.choice.method,
        _framing=framing,
    )


@dataclass(frozen=True)
class _Scene:
    """What of a clip is used, and how its background is removed.

    Args:
        clip: one shot, within its bars.
        choice: the way.
        notes: what there is to say, one phrase each.
    """

    clip: SourceClip
    choice: Choice
    notes: tuple[str, ...]


def _choose_scene(
    clip: SourceClip, found: Look, shot: int | None, max_frames: int | None
) -> _Scene:
    chosen, said_of_shots = choose_shot(found, shot, clip.name)
    if len(chosen) < len(found.thumbs):
        clip = clip.part(chosen.start, chosen.stop).limited(max_frames)
        found = look_at(clip)
    clip, found, said_of_bars = without_bars(clip, found)
    choice = choose_matting(found.spread, clip.name)
    said_of_panel = None
    if choice.verdict.rectangle is not None:
        inner = _inside_panel(clip, found, choice.verdict.rectangle)
        if inner is not None:
            clip, choice = inner
            said_of_panel = "a still rectangle was found: what moves inside it is taken"
    said = [said_of_shots, said_of_bars, said_of_panel, *choice.notes]
    remarks = tuple(each for each in said if each)
    for remark in remarks:
        logger.warning("%s: %s", clip.name, remark)
    return _Scene(clip, choice, (*clip.notes, *remarks))


def _inside_panel(clip: SourceClip, found: Look, panel: Window) -> tuple[SourceClip, Choice] | None:
    """What moves inside a still rectangle, on a background of its own, if anything does."""
    inner_clip, inner = within(clip, found, panel)
    if min(inner.spread[0].shape[:2]) < 16 or len(inner.spread) < 2:
        return None
    try:
        choice = choose_matting(inner.spread, clip.name)
    except InputError:
        return None
    masks = [choice.method.mask(frame) for frame in (inner.spread[0], inner.spread[-1])]
    union = (masks[0] | masks[1]).sum()
    if not all(mask.any() for mask in masks) or choice.verdict.rectangle is not None:
        return None
    moves = (masks[0] & masks[1]).sum() < _PANEL_MOVES * union
    return (inner_clip, choice) if moves else None


def _prepare_as_is(
    clip: SourceClip, size: int, on_frame: Callable[[int], None] | None
) -> PreparedVideo:
    """Whole frames, on white where they are not square."""
    first: Tensor | None = None
    count = 0
    for frame in clip.read():
        first = frame if first is None else first
        count += 1
        if on_frame is not None:
            on_frame(count)
    if first is None:
        raise InputError(f"{clip.name}: no frames")
    height, width = first.shape[:2]
    side = max(width, height)
    crop = Crop((width - side) / 2, (height - side) / 2, side)
    method = keep_as_is([first])
    framing = Framing((crop,), "whole frame")
    report = clip.report | {
        "matting": method.name,
        "frames": count,
        "notes": list(clip.notes),
        "crop": framing.report(),
        "size_px": size,
    }
    return PreparedVideo(
        fps=clip.fps,
        num_frames=count,
        size=size,
        report=report,
        has_alpha=False,
        motion=None,
        _read=clip.read,
        _matting=method,
        _framing=framing,
    )


def _cut_out(frame: Tensor, method: Matting, crop: Crop, size: int) -> Tensor:
    """[4, size, size]: colour premultiplied by alpha, and alpha, of the crop."""
    # The background is removed where it matters only, at up to twice the final resolution.
    height, width = frame.shape[:2]
    left, top = max(0, math.floor(crop.left)), max(0, math.floor(crop.top))
    right = min(width, math.ceil(crop.left + crop.side))
    bottom = min(height, math.ceil(crop.top + crop.side))
    part = frame[top:bottom, left:right]
    factor = 1 if frame.shape[2] == 4 else max(1, int(crop.side / (2 * size)))
    # What shrinking cuts off at the right and bottom is no part of the window either.
    rows, columns = part.shape[0] // factor * factor, part.shape[1] // factor * factor
    window = Window(left / width, top / height, (left + columns) / width, (top + rows) / height)
    whole = shrunk(frame, mask_scale(frame))
    matte = method.matte(shrunk(part, factor), window, whole)
    inner = Crop((crop.left - left) / factor, (crop.top - top) / factor, crop.side / factor)
    return crop_and_resize(torch.cat([matte.color, matte.alpha]), inner, size)
