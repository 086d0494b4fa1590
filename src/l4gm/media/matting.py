"""Background removal: how much of each pixel is the object.

A ladder of methods, best first; `choose_matting` takes the first that fits the clip and whose
result can be believed (`judge`):

1. the video's own alpha channel;
2. a background of one colour, keyed with soft edges (`PlainKey`), or
3. of colours that change smoothly: a gradient, a vignette; without soft shadows, if it has some;
4. a cluttered background before which the object moves while the camera stands still
   (`StillBackground`) or turns slowly (`PanningBackground`), a segmenter's word taken in as well;
5. a trained segmenter, if its weights are on this machine (`SegmentedFrames`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media import vision
from l4gm.media.judge import Verdict, judge
from l4gm.media.matte import WHOLE, Matte, Matting, Window
from l4gm.media.overlays import without_marks
from l4gm.media.panning_background import PanningBackground
from l4gm.media.plain_key import PlainKey
from l4gm.media.segmenter import (
    Segment,
    SegmentedFrames,
    find_segmenter,
    how_to_get,
)
from l4gm.media.still_background import StillBackground

logger = logging.getLogger(__name__)

JUDGED_FRAMES = 12
MOTION_FRAMES = 16  # in which motion is looked for
_TRANSPARENT = 128  # alpha below
_LEAST_TRANSPARENT = 0.01  # of the frame: less are rounded corners, no background


@dataclass(frozen=True)
class Choice:
    """How the background of a clip is removed.

    Args:
        method: does it.
        verdict: what was seen of its silhouettes.
        notes: what else was found, for people, one phrase each.
    """

    method: Matting
    verdict: Verdict
    notes: tuple[str, ...] = ()


def choose_matting(frames: Sequence[Tensor], source: str) -> Choice:
    """The best method for a clip.

    Args:
        frames: from all over the clip, uint8 [H, W, 3 or 4], of one size.
        source: name of the clip, for the message.

    Raises:
        InputError: if no method fits; the message says what was seen.
    """
    if not frames:
        raise ValueError("need at least one frame")
    step = max(1, -(-len(frames) // JUDGED_FRAMES))
    judged = list(frames[::step])
    faults: list[str] = []
    for method in _ladder(frames, source):
        masks = [method.mask(frame) for frame in judged]
        verdict = judge(judged, masks)
        if isinstance(method, PlainKey) and verdict.may_hold_shadow:
            method, masks, verdict = _less_shadow(method, masks, verdict, judged)
        if verdict.fault is not None and not isinstance(method, AlphaChannel):
            faults.append(f"by {method.name} the outline {verdict.fault}")
            logger.info("%s: %s", source, faults[-1])
            continue
        return _without_marks(method, masks, verdict, judged)
    seen = f" ({'; '.join(faults)})" if faults else ""
    remedy = f"{how_to_get()}, " if find_segmenter() is None else ""
    raise InputError(
        f"{source}: no background that can be removed{seen}: it is not transparent, even or "
        f"smooth, and the object does not move before a still camera; {remedy}remove the "
        "background first (white or an alpha channel), or take the frames as they are with "
        "--no-matting"
    )


def _ladder(frames: Sequence[Tensor], source: str) -> Iterator[Matting]:
    """Methods that may fit, best first; each is made when it is asked for."""
    if frames[0].shape[-1] == 4:
        clear = [float((frame[..., 3] < _TRANSPARENT).float().mean()) for frame in frames]
        if max(clear) > _LEAST_TRANSPARENT:
            opaque = [
                frame[..., :3] for frame, share in zip(frames, clear, strict=True) if share == 0
            ]
            yield AlphaChannel(PlainKey.estimate(opaque) if opaque else None)
            return
        frames = [frame[..., :3] for frame in frames]
    for make in (PlainKey.estimate, PlainKey.estimate_smooth):
        key = make(frames)
        if key is not None:
            yield key
    segment = find_segmenter()
    chosen = frames[:: max(1, -(-len(frames) // MOTION_FRAMES))]
    objects = _moving_object(chosen, segment)
    if objects is None:
        still = StillBackground.estimate(frames)
        if still is not None:
            yield still
    else:
        for method in (StillBackground, PanningBackground):
            found = method.estimate(chosen, objects)
            if found is not None:
                yield found
    if segment is not None:
        yield SegmentedFrames.estimate(chosen, segment)


def _moving_object(frames: Sequence[Tensor], segment: Segment | None) -> Tensor | None:
    """[S, 1, H, W] bool: roughly what moves, a network's word taken in for every second frame; None
    where nothing moves."""
    if len(frames) < 3:
        return None
    words = [
        None if segment is None or index % 2 else segment(np.ascontiguousarray(frame.numpy()))
        for index, frame in enumerate(frames)
    ]
    masks = vision.moving_object([frame.numpy() for frame in frames], words)
    return None if masks is None else torch.from_numpy(np.stack(masks))[:, None]


def _less_shadow(
    key: PlainKey,
    masks: list[NDArray[np.bool_]],
    verdict: Verdict,
    frames: Sequence[Tensor],
) -> tuple[PlainKey, list[NDArray[np.bool_]], Verdict]:
    """The key that drops soft shadows, if its outline follows edges better."""
    other = replace(key, drops_shadows=True)
    other_masks = [other.mask(frame) for frame in frames]
    without = judge(frames, other_masks)
    if without.fault is None and without.without_edge < 0.7 * verdict.without_edge:
        return other, other_masks, without
    return key, masks, verdict


def _without_marks(
    method: Matting, masks: list[NDArray[np.bool_]], verdict: Verdict, frames: Sequence[Tensor]
) -> Choice:
    """The method without logos and watermarks, and what there is to say of it."""
    notes = []
    if isinstance(method, PlainKey) and method.drops_shadows:
        notes.append("soft shadows on the background are left out")
    marked = None if isinstance(method, AlphaChannel) else without_marks(method, masks)
    if marked is None:
        return Choice(method, verdict, tuple(notes))
    notes.append(f"a mark that never moves is left out at the {marked.place}")
    masks = [marked.mask(frame) for frame in frames]
    return Choice(marked, judge(frames, masks), tuple(notes))


def keep_as_is(frames: Sequence[Tensor]) -> Matting:
    """No background removal: an alpha channel is used, else the whole frame is the object."""
    return AlphaChannel() if frames[0].shape[-1] == 4 else Opaque()


@dataclass(frozen=True)
class AlphaChannel:
    """The video's own alpha channel.

    Args:
        of_opaque: for frames that have none of it.
    """

    of_opaque: PlainKey | None = None

    name = "alpha channel"

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        if self._keys(frame):
            return self.of_opaque.mask(frame[..., :3])  # type: ignore[union-attr]
        return frame[..., 3].numpy() >= 128

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        if self._keys(frame):
            return self.of_opaque.matte(frame[..., :3], window)  # type: ignore[union-attr]
        image = frame.permute(2, 0, 1).float() / 255
        return Matte(color=image[:3] * image[3:], alpha=image[3:])

    def _keys(self, frame: Tensor) -> bool:
        return self.of_opaque is not None and int(frame[..., 3].min()) == 255


class Opaque:
    """No background removal: the whole frame is the object."""

    name = "none"

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return np.ones(frame.shape[:2], bool)

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        return Matte(color=image, alpha=torch.ones_like(image[:1]))
