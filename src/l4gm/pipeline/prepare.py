"""From any video to the square frames on white that the networks expect.

Two passes over the video, so that memory does not grow with its length: the first finds the
bounding box of all silhouettes, the second yields the frames. One crop serves the whole clip: the
camera of the paper stands still, and a crop that followed the object would hide its motion.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS
from l4gm.media.info import MIN_SIDE_PX
from l4gm.media.matte import Window
from l4gm.media.matting import Matting, choose_matting, keep_as_is
from l4gm.media.resample import Crop, crop_and_resize
from l4gm.media.timing import FALLBACK_FPS
from l4gm.media.video import probe_video, read_frames

logger = logging.getLogger(__name__)

OBJECT_SHARE = 0.5 / (RADIUS * math.tan(math.radians(FOV_Y_DEGREES) / 2))
"""Share of the picture that the middle section of a unit cube fills in the orbit rig: 0.73.

Training objects are scaled to the unit cube over all their frames.
"""

# A square clip whose object already lies like this is left uncropped, so that clips prepared for
# the released code (five of them come with it) give its results.
PREPARED_SHARE = (0.45, 0.95)
PREPARED_OFFSET = 0.1

SAMPLE_FRAMES = 16  # from which the background is found
SPREAD_FRAMES = 40  # from which a cluttered background is found
MASK_SIDE_PX = 512  # silhouettes are found on frames shrunk to about this
MAX_COVER = 0.97  # a silhouette that fills more of the frame is a failure of the key


@dataclass(frozen=True)
class PreparedVideo:
    """A clip as the networks expect it; frames are decoded each time they are asked for.

    Args:
        fps: frames per second after thinning.
        num_frames: T.
        size: width and height of the frames in pixels.
        report: what was found in the video and what was decided, for `report.json`.
        has_alpha: whether the background was removed, so that alpha is known.
    """

    fps: float
    num_frames: int
    size: int
    report: dict[str, Any]
    has_alpha: bool
    _read: Callable[[int, int], Iterator[Tensor]] = field(repr=False)
    _matting: Matting = field(repr=False)
    _crop: Crop = field(repr=False)

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
        for frame in self._read(start, stop):
            yield _cut_out(frame, self._matting, self._crop, self.size)

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
    source: str | Path | Tensor,
    *,
    size: int = 256,
    max_fps: float = 15.0,
    matting: bool = True,
    object_share: float = OBJECT_SHARE,
    max_frames: int | None = None,
    fps: float | None = None,
    on_frame: Callable[[int], None] | None = None,
) -> PreparedVideo:
    """Remove the background, crop and resize a clip.

    The object's bounding box over the whole clip is put in the middle and its longer side gets
    `object_share` of the picture, unless the clip is square and its object already lies well
    (offset at most 10 %, longer side 45 to 95 % of the frame). Frames are resized by area.

    Args:
        source: path of a video, image or folder of images, or raw frames uint8 [T, H, W, 3 or 4].
        size: width and height of the result in pixels.
        max_fps: higher frame rates are thinned to every (fps // max_fps)th frame, as in the
            released pipeline; up to just under twice this rate may be left.
        matting: remove the background; without it the frames are taken as they are, whole, with
            white beside them if they are not square and behind them if they have an alpha channel.
        object_share: see above.
        max_frames: later frames are left out; None takes all.
        fps: frame rate of the source where it says none or a wrong one.
        on_frame: called with the number of frames looked at during the first pass.

    Raises:
        InputError: if the source cannot be read, its background cannot be removed, or there is no
            object.
        ValueError: if an argument is out of range.
    """
    if size < 1 or max_fps <= 0 or not 0 < object_share <= 1:
        raise ValueError(
            "need size >= 1, max_fps > 0, 0 < object_share <= 1; "
            f"got {size}, {max_fps}, {object_share}"
        )
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames must be at least 1, got {max_frames}")
    clip = _open_source(source, fps, max_fps, max_frames)
    sample = list(islice(clip.read(0, None), SAMPLE_FRAMES))
    if not sample:
        raise InputError(f"{clip.name}: no frames")
    if matting:
        method = choose_matting(sample, clip.name, lambda: _spread_frames(clip))
    else:
        method = keep_as_is(sample)
    height, width = sample[0].shape[:2]
    found = _survey(clip, method if matting else None, on_frame)
    report = clip.report | {"matting": method.name, "frames": found.num_frames}
    if matting:
        crop, reason = _choose_crop(found, width, height, object_share, clip.name)
        _warn(found, clip.name)
        report |= found.report()
    else:
        side = max(width, height)
        crop, reason = Crop((width - side) / 2, (height - side) / 2, side), "whole frame"
    report |= {
        "crop": {"left_px": crop.left, "top_px": crop.top, "side_px": crop.side, "why": reason},
        "size_px": size,
    }
    return PreparedVideo(
        fps=clip.fps,
        num_frames=found.num_frames,
        size=size,
        report=report,
        has_alpha=matting,
        _read=clip.read,
        _matting=method,
        _crop=crop,
    )


@dataclass(frozen=True)
class _Clip:
    """A source with its frames thinned: read(start, stop) counts the frames that are left."""

    name: str
    fps: float
    read: Callable[[int, int | None], Iterator[Tensor]]
    report: dict[str, Any]


def _open_source(
    source: str | Path | Tensor, fps: float | None, max_fps: float, max_frames: int | None
) -> _Clip:
    if isinstance(source, Tensor):
        return _open_tensor(source, fps, max_fps, max_frames)
    path = Path(source)
    info = probe_video(path)
    source_fps = fps or info.fps
    step = thinning_step(source_fps, max_fps)

    def read(start: int, stop: int | None) -> Iterator[Tensor]:
        stop = _least(stop, max_frames)
        return read_frames(
            path, start=start * step, stop=None if stop is None else stop * step, step=step
        )

    report = {
        "source": path.name,
        "source_width_px": info.width,
        "source_height_px": info.height,
        "source_fps": source_fps,
        "source_codec": info.codec,
        "every_nth_frame": step,
        "fps": source_fps / step,
    }
    return _Clip(str(path), source_fps / step, read, report)


def _open_tensor(
    frames: Tensor, fps: float | None, max_fps: float, max_frames: int | None
) -> _Clip:
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] not in (3, 4):
        raise ValueError(
            f"frames must be uint8 [T, H, W, 3 or 4], got {frames.dtype} {list(frames.shape)}"
        )
    if min(frames.shape[1:3]) < MIN_SIDE_PX:
        raise InputError(
            f"frames of {frames.shape[2]} x {frames.shape[1]} px; expected at least "
            f"{MIN_SIDE_PX} px on each side"
        )
    source_fps = fps or FALLBACK_FPS
    step = thinning_step(source_fps, max_fps)
    thinned = frames[::step]

    def read(start: int, stop: int | None) -> Iterator[Tensor]:
        return iter(thinned[start : _least(stop, max_frames)])

    report = {
        "source": "frames",
        "source_width_px": frames.shape[2],
        "source_height_px": frames.shape[1],
        "source_fps": source_fps,
        "every_nth_frame": step,
        "fps": source_fps / step,
    }
    return _Clip("the frames", source_fps / step, read, report)


def thinning_step(fps: float, max_fps: float = 15.0) -> int:
    """Every how many frames one is taken: fps // max_fps, at least 1; 29.97 counts as 30."""
    return max(1, int(round(fps) // max_fps))


def _least(first: int | None, second: int | None) -> int | None:
    given = [value for value in (first, second) if value is not None]
    return min(given) if given else None


@dataclass
class _Survey:
    """What the first pass found; the box is left, top, right, bottom in pixels of the frame."""

    num_frames: int = 0
    box: tuple[int, int, int, int] | None = None
    frames_without_object: int = 0
    frames_without_background: int = 0
    frames_touching_the_edge: int = 0

    def report(self) -> dict[str, Any]:
        return {
            "object_box_px": list(self.box or ()),
            "frames_without_object": self.frames_without_object,
            "frames_without_background": self.frames_without_background,
            "frames_touching_the_edge": self.frames_touching_the_edge,
        }

    def add(self, mask: np.ndarray, scale: int) -> None:
        """Take in a silhouette found at 1 / scale of the frame's size."""
        self.num_frames += 1
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if not len(rows):
            self.frames_without_object += 1
            return
        if mask.mean() > MAX_COVER:
            self.frames_without_background += 1
            return
        height, width = mask.shape
        left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        if left == 0 or top == 0 or right == width or bottom == height:
            self.frames_touching_the_edge += 1
        box = tuple(int(edge) * scale for edge in (left, top, right, bottom))
        old = self.box or box
        self.box = (
            min(old[0], box[0]),
            min(old[1], box[1]),
            max(old[2], box[2]),
            max(old[3], box[3]),
        )


def _survey(clip: _Clip, method: Matting | None, on_frame: Callable[[int], None] | None) -> _Survey:
    """Look at all frames; without a method they are only counted."""
    found = _Survey()
    for frame in clip.read(0, None):
        if method is None:
            found.num_frames += 1
        else:
            scale = max(1, min(frame.shape[:2]) // MASK_SIDE_PX)
            found.add(method.mask(_shrink(frame, scale)), scale)
        if on_frame is not None:
            on_frame(found.num_frames)
    return found


def _spread_frames(clip: _Clip) -> list[Tensor]:
    """Up to `SPREAD_FRAMES` frames evenly over the whole clip, shrunk as for silhouettes."""
    kept: list[Tensor] = []
    step = 1
    for index, frame in enumerate(clip.read(0, None)):
        if index % step == 0:
            kept.append(_shrink(frame[..., :3], max(1, min(frame.shape[:2]) // MASK_SIDE_PX)))
        if len(kept) > SPREAD_FRAMES:
            kept, step = kept[::2], 2 * step
    return kept


def _choose_crop(
    found: _Survey, width: int, height: int, object_share: float, name: str
) -> tuple[Crop, str]:
    if found.frames_without_background > found.num_frames / 2:
        raise InputError(
            f"{name}: {found.frames_without_background} of {found.num_frames} frames are not on "
            "the background of the first ones; cut the video to one shot, remove its background, "
            "or take the frames as they are with --no-matting"
        )
    if found.box is None:
        raise InputError(
            f"{name}: no object found, all frames show background only; expected a video of one "
            "object, or take the frames as they are with --no-matting"
        )
    left, top, right, bottom = found.box
    longer = max(right - left, bottom - top)
    center_x, center_y = (left + right) / 2, (top + bottom) / 2
    offset = max(abs(center_x / width - 0.5), abs(center_y / height - 0.5))
    share = longer / max(width, height)
    if (
        width == height
        and offset <= PREPARED_OFFSET
        and PREPARED_SHARE[0] <= share <= PREPARED_SHARE[1]
    ):
        return Crop(0, 0, width), "the object already lies well in a square frame"
    side = longer / object_share
    return Crop(center_x - side / 2, center_y - side / 2, side), "object centred and scaled"


def _warn(found: _Survey, name: str) -> None:
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


def _shrink(frame: Tensor, factor: int) -> Tensor:
    """Means of blocks of factor x factor pixels, uint8 [H // factor, W // factor, C]."""
    if factor == 1:
        return frame
    blocks = functional.avg_pool2d(frame.permute(2, 0, 1).float(), factor)
    return blocks.round().to(torch.uint8).permute(1, 2, 0)


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
    matte = method.matte(_shrink(part, factor), window)
    inner = Crop((crop.left - left) / factor, (crop.top - top) / factor, crop.side / factor)
    return crop_and_resize(torch.cat([matte.color, matte.alpha]), inner, size)
