"""Cuts and fades of a clip, found on tiny images of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

THUMB_PX = 32
_STRONG_LEVELS = 48.0  # a pixel that changes by this much counts fully
_CHANGED, _RECOLOURED = 0.15, 0.10  # shares of the image at a cut: of pixels, of the histogram
_TIMES_NEIGHBOURS, _STILL = 3.0, 0.02  # a cut stands out from the motion around it
_NEIGHBOURS = 2
_SAME_LEVELS = 12
_FADED = 0.985  # of the final brightness: the fade is over
_DARK = 0.6  # of it: a fade begins (or ends) below
_HALFWAY = (0.1, 0.97)  # a fade passes through between these
_PROPORTIONAL = 0.15


@dataclass(frozen=True)
class Shot:
    """Frames between two cuts, without those that fade in or out.

    Args:
        start, stop: as in `range`.
        faded: how many frames of a fade were left out.
    """

    start: int
    stop: int
    faded: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


def thumbnail(frame: Tensor) -> NDArray[np.uint8]:
    """[32, 32, 3] uint8 of a frame uint8 [H, W, 3 or 4], on white where it is transparent."""
    levels = frame[..., :3].permute(2, 0, 1)[None].float()
    if frame.shape[-1] == 4:  # the colour of what is transparent may be anything
        levels = 255 + (levels - 255) * frame[..., 3].float() / 255
    small = functional.interpolate(levels, (THUMB_PX, THUMB_PX), mode="area")[0]
    return small.round().byte().permute(1, 2, 0).numpy()


def find_shots(thumbs: Sequence[NDArray[np.uint8]]) -> list[Shot]:
    """The shots of a clip in their order, at least one.

    Args:
        thumbs: of every frame.
    """
    cuts = [0, *_find_cuts(thumbs), len(thumbs)]
    shots = []
    for start, stop in pairwise(cuts):
        first, last = _without_fades(thumbs[start:stop])
        faded = stop - start - (last - first)
        shots.append(Shot(start + first, start + last, faded))
    return shots


def _find_cuts(thumbs: Sequence[NDArray[np.uint8]]) -> list[int]:
    """The first frame of each shot but the first.

    At a cut much of the image changes, and so does what colours are in it (a lag in which the
    object jumps leaves those), far more than from frame to frame before and after it (a flash
    changes it twice).
    """
    changed, recoloured = [0.0], [0.0]
    for before, after in pairwise(thumbs):
        difference = np.abs(before.astype(np.float32) - after).max(-1)
        changed.append(float((difference / _STRONG_LEVELS).clip(0, 1).mean()))
        histograms = [
            np.bincount((thumb // 64 @ [16, 4, 1]).ravel(), minlength=64)
            for thumb in (before, after)
        ]
        recoloured.append(float(np.abs(histograms[0] - histograms[1]).sum() / 2 / THUMB_PX**2))
    cuts = []
    for index in range(1, len(thumbs)):
        around = [
            changed[other]
            for other in range(max(1, index - _NEIGHBOURS), index + _NEIGHBOURS + 1)
            if other != index and other < len(thumbs)
        ]
        if _comes_or_goes(thumbs[index - 1], thumbs[index]):
            continue
        stands_out = changed[index] > _TIMES_NEIGHBOURS * max([*around, _STILL])
        if stands_out and changed[index] > _CHANGED and recoloured[index] > _RECOLOURED:
            cuts.append(index)
    return cuts


def _comes_or_goes(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
    """Whether one of two frames shows but the background of the other."""
    for one, other in ((before, after), (after, before)):
        edge = np.concatenate([other[0], other[-1], other[:, 0], other[:, -1]])
        if np.abs(one - np.median(edge, 0)).max() < _SAME_LEVELS:
            return True
    return False


def _without_fades(thumbs: Sequence[NDArray[np.uint8]]) -> tuple[int, int]:
    """First frame and past-the-last frame of a shot that are neither fading in nor out."""
    luma = np.stack([thumb.astype(np.float32).mean(-1).ravel() for thumb in thumbs])
    first, last = 0, len(thumbs)
    for light in (luma, 255 - luma):  # from black, from white
        first = max(first, _fade_length(light))
        last = min(last, len(thumbs) - _fade_length(light[::-1]))
    return (first, last) if last > first else (0, len(thumbs))


def _fade_length(light: NDArray[np.float32]) -> int:
    """How many frames at the start come out of black, of levels [T, pixels].

    All levels grow in proportion; where something bright comes into a dark image, or grows in it,
    the brightest level and the mean do not go together, or not by and by.
    """
    count = len(light)
    bright = np.quantile(light, 0.98, axis=1)
    plateau = float(np.quantile(bright, 0.9))
    reached = np.flatnonzero(bright >= _FADED * plateau)
    if not len(reached) or reached[0] == 0:
        return 0
    end = int(reached[0])
    share = bright[:end] / max(plateau, 1)
    rises = share[0] < _DARK and bool((np.diff(share) > -0.02).all())
    halfway = int(((share > _HALFWAY[0]) & (share < _HALFWAY[1])).sum())
    whole = light[:end].mean(1) / max(float(light[end].mean()), 1)
    proportional = bool((np.abs(whole - share) < _PROPORTIONAL).all())
    # The last step is too small to be seen here, but not for a key of the background's colour.
    return min(end + 1, count - 1) if rises and halfway >= 2 and proportional else 0
