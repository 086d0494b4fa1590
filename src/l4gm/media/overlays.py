"""Marks laid over a clip: logos, watermarks, clocks, which stay where they are near the edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from l4gm.media.components import label_components
from l4gm.media.matte import WHOLE, Matte, Matting, Window

_MARGIN = 0.25  # of the frame, along each edge: where marks are
_OF_OBJECT = 0.35  # a mark is no larger than this share of the object
_ALWAYS = 0.9  # of the frames in which it is seen
_STILL = 0.5  # of its area is in all of them
_FEWEST_FRAMES, _NOTHING_MOVES = 3, 0.995  # what rests says nothing where all rests
_REACH = 0.012  # of the frame's side: what is this near to a mark belongs to it


@dataclass(frozen=True)
class WithoutMarks:
    """A way of matting, but for places where marks lie.

    Args:
        inner: finds object and marks.
        marks: [1, H, W] float 1 on marks; of any size.
        place: where they are, for people ("bottom right").
    """

    inner: Matting
    marks: Tensor
    place: str

    @property
    def name(self) -> str:
        return self.inner.name

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        free = self._free(frame, WHOLE)[0].numpy() > 0.5
        return self.inner.mask(frame) & free

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        found = self.inner.matte(frame, window, whole)
        free = self._free(frame, window)
        return Matte(color=found.color * free, alpha=found.alpha * free)

    def _free(self, frame: Tensor, window: Window) -> Tensor:
        """[1, h, w] 1 where no mark lies."""
        rows, columns = window.slices(*self.marks.shape[-2:])
        size = (frame.shape[0], frame.shape[1])
        part = self.marks[None, :, rows, columns]
        return 1 - functional.interpolate(part, size, mode="nearest")[0]


def without_marks(method: Matting, masks: Sequence[NDArray[np.bool_]]) -> WithoutMarks | None:
    """The method without the marks that its silhouettes hold; None if they hold none.

    A mark is small, lies near the frame's edge, apart from the object, and is in nearly every
    frame at the same place, while the object moves.

    Args:
        method: made the silhouettes.
        masks: [H, W], of frames from all over the clip.
    """
    seen = [mask for mask in masks if mask.any()]
    if len(seen) < _FEWEST_FRAMES:
        return None
    always = np.mean(seen, axis=0) >= _ALWAYS
    ever = np.any(seen, axis=0)
    if always.sum() > _NOTHING_MOVES * ever.sum():
        return None
    height, width = ever.shape
    reach = max(1, round(_REACH * max(height, width)))
    # Letters of one mark are joined by widening them.
    square = torch.from_numpy(ever)[None, None].float()
    wide = functional.max_pool2d(square, 2 * reach + 1, 1, reach)[0, 0].numpy() > 0
    labels, _ = label_components(wide)
    areas = np.bincount(labels[ever], minlength=labels.max() + 1)
    stay = np.bincount(labels[always & ever], minlength=labels.max() + 1)
    areas[0] = 0
    marks = np.zeros_like(ever)
    for label in np.flatnonzero(areas):
        if areas[label] > _OF_OBJECT * areas.max() or stay[label] < _STILL * areas[label]:
            continue
        region = labels == label
        rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
        if _beside_an_edge(rows, height) or _beside_an_edge(columns, width):
            marks |= region
    if not marks.any():
        return None
    rows, columns = np.nonzero(marks)
    place = _place(rows.mean() / height, columns.mean() / width)
    return WithoutMarks(method, torch.from_numpy(marks)[None].float(), place)


def _beside_an_edge(places: NDArray[np.int64], length: int) -> bool:
    return bool(places[-1] < _MARGIN * length or places[0] >= (1 - _MARGIN) * length)


def _place(y: float, x: float) -> str:
    vertical = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    horizontal = "left" if x < 0.4 else "right" if x > 0.6 else ""
    return " ".join(filter(None, (vertical, horizontal))) or "middle"
