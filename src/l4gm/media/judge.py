"""Is a matte to be believed? Seen from the outline that it draws in frames of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.media.components import border
from l4gm.media.matte import Window
from l4gm.media.windows import dilate, erode

_REACH_PX = 3  # of the neighbourhood in which an outline must have an edge
_FAINT_EDGE = 9.0  # levels above what the background itself varies by: less is no edge
_QUIET = 8.0  # levels: what varies by more is no noise
_NO_EDGE_SHARE = 0.3  # of an outline; a pale object on white has some
_SHADOW_SHARE = 0.04  # more of it without an edge may be a soft shadow
_COVER = 0.97  # of the frame: a larger silhouette is none
_FAULTY_FRAMES = 0.34
_FILLED = 0.985  # of its bounding box: a rectangle
_SAME_PX = 2


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was seen of a matte.

    Args:
        fault: why it is not to be believed, as the end of "the outline ..."; None if it is.
        without_edge: share of the outline along which the image has no edge.
        rectangle: the part of the frame that the silhouette fills in every frame, where that is a
            rectangle.
    """

    fault: str | None
    without_edge: float
    rectangle: Window | None

    @property
    def may_hold_shadow(self) -> bool:
        """Whether to look what it is without soft shadows."""
        return self.without_edge > _SHADOW_SHARE


def judge(frames: Sequence[Tensor], masks: Sequence[NDArray[np.bool_]]) -> Verdict:
    """Look at silhouettes of frames from all over the clip.

    Args:
        frames: uint8 [H, W, 3 or 4], of one size.
        masks: [H, W], a silhouette of each.
    """
    shares = np.array([mask.mean() for mask in masks])
    seen = [index for index, share in enumerate(shares) if 0 < share <= _COVER]
    if not seen:
        fault = None if not shares.any() else "takes in the whole frame"
        return Verdict(fault=fault, without_edge=0.0, rectangle=None)
    faint = [_without_edge(frames[index], masks[index]) for index in seen]
    without_edge = float(np.median(faint))
    fault = None
    if float((shares > _COVER).mean()) > _FAULTY_FRAMES:
        fault = "takes in the whole frame in many frames"
    elif without_edge > _NO_EDGE_SHARE:
        fault = f"runs through even colour along {without_edge:.0%} of its length"
    return Verdict(
        fault=fault,
        without_edge=without_edge,
        rectangle=_rectangle([masks[index] for index in seen]) if len(seen) == len(masks) else None,
    )


def _without_edge(frame: Tensor, mask: NDArray[np.bool_]) -> float:
    """The share of a silhouette's outline beside which the image does not change."""
    levels = frame[..., :3].permute(2, 0, 1).float()
    change = (dilate(levels, _REACH_PX) - erode(levels, _REACH_PX)).amax(0).numpy()
    inside = torch.from_numpy(mask).float()[None]
    outline = mask & ~(erode(inside, 1)[0].numpy() > 0) & ~border(*mask.shape)
    beyond = dilate(inside, 2 * _REACH_PX)[0].numpy() == 0
    quiet = float(np.median(change[beyond])) if beyond.any() else 0.0
    if not outline.any():
        return 0.0
    return float((change[outline] < min(quiet, _QUIET) + _FAINT_EDGE).mean())


def _rectangle(masks: Sequence[NDArray[np.bool_]]) -> Window | None:
    """The rectangle, upright and the same in all frames, that the silhouettes fill."""
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        if mask[top:bottom, left:right].mean() < _FILLED:
            return None
        boxes.append((left, top, right, bottom))
    spread = np.ptp(np.array(boxes), axis=0)
    if spread.max() > _SAME_PX:
        return None
    left, top, right, bottom = np.median(np.array(boxes), axis=0).astype(int).tolist()
    height, width = masks[0].shape
    return Window(left / width, top / height, right / width, bottom / height)
