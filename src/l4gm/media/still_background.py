"""Background removal for a moving object before a still, cluttered background.

The camera stands still, so the median over time of each pixel shows the background wherever the
object covers it less than half of the time: the plate. What differs from the plate is object.
Where the object always covers the plate (the trunk of someone who waves), colours decide, as in
GrabCut (Rother et al. 2004): the object's are those that were seen to differ from the plate,
the background's those of the frame's border, and neighbours of one colour get one label.

Everything is found once, from frames of the whole clip. Frames are then judged one by one with the
same plate, noise and colours, so that the silhouette is steady and any frame can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from l4gm.media.components import label_components
from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.windows import box_sum, dilate, erode

_BINS = 16  # of a colour histogram along each channel
_MIN_TOLERANCE = 6.0  # levels: less is compression noise
_EDGE_BAND_PX = 2
_REACH_PX = 7  # from how far the object's colour behind an edge pixel is taken
_SMOOTHING_ROUNDS = 8
_COUPLING = 1.2  # how much a pixel's neighbours count against its own evidence
_CERTAIN = 4.0  # evidence of a pixel that leaves no doubt
_RESTING = 0.5  # of a pixel that shows what was taken for resting object

_ROUNDS = 2  # of finding the object and then the plate without it
_SELDOM = 0.1  # background seen in a smaller share of the frames may be a mistake

RESTLESS_BORDER = 30.0  # levels of tolerance: as much varies by a camera that moves, not by noise
MOVING_BORDER = 0.25  # more of the border moves: the camera does not stand still
LEAST_MOTION = 0.002  # of the frame: less has moved to tell an object by
OBJECT_SHARES = (0.002, 0.75)  # of the frame: other silhouettes are failures


@dataclass(frozen=True, kw_only=True)
class StillBackground:
    """What does not move is background.

    Args:
        plate: [3, H, W] float32, levels 0 to 255: the median over time.
        tolerance: [1, H, W] levels by which the background itself varies.
        plate_is_object: [1, H, W] 1 where the object never leaves the plate, else 0.
        evidence: [16, 16, 16] log of how much likelier each colour (red, green, blue) is on the
            object than on the background.
    """

    plate: Tensor
    tolerance: Tensor
    plate_is_object: Tensor
    evidence: Tensor

    name = "still background"

    @classmethod
    def estimate(
        cls, frames: Sequence[Tensor], objects: Tensor | None = None
    ) -> StillBackground | None:
        """From frames of the whole clip; None if the camera moves, or nothing else does.

        Args:
            frames: uint8 [H, W, 3], of one size, evenly over the clip.
            objects: [S, 1, H, W] bool where the object is in each, if that is known roughly; else
                it is found by what leaves the plate, and its colours.
        """
        if len(frames) < 3:
            return None
        stack = torch.stack([frame[..., :3].permute(2, 0, 1) for frame in frames])
        blank = cls.plain(stack)
        differs = torch.stack([blank.differs(each.float()) > 1 for each in stack]).float()
        differs = box_sum(differs, 1) >= 5  # no lonely pixels
        moved = differs.float().mean(0)
        ring = _ring(*moved.shape[-2:])
        restless = float(blank.tolerance[0][ring].median()) > RESTLESS_BORDER
        if restless or float(moved[0][ring].mean()) > MOVING_BORDER:
            return None
        if float((moved > 0).float().mean()) < LEAST_MOTION:
            return None
        if objects is not None:
            seen = torch.ones_like(objects)
            return cls.of_known(stack, seen, objects)
        evidence = _evidence(stack, differs[:, 0], blank.plate, ring)
        is_object = _object_on_plate(blank.plate, moved, evidence)
        found = replace(blank, plate_is_object=is_object, evidence=evidence)
        for _ in range(_ROUNDS):  # the object taken out of the plate wherever it ever leaves it
            objects = torch.stack([found._silhouette(each.float()) for each in stack]) > 0
            found = cls._around(stack, ~objects, torch.ones_like(objects))
            evidence = _evidence(stack, objects[:, 0], found.plate, ring)
            found = replace(found, evidence=evidence)
        return found if found._is_plausible(stack) else None

    @classmethod
    def of_known(cls, stack: Tensor, seen: Tensor, objects: Tensor) -> StillBackground | None:
        """From frames that lie over each other and the object in each; None if what comes of it is
        no object.

        Args:
            stack: [S, 3, H, W] levels.
            seen: [S, 1, H, W] bool: what of the place each frame shows.
            objects: [S, 1, H, W] bool.
        """
        ring = _ring(*stack.shape[-2:])
        for _ in range(_ROUNDS):
            found = cls._around(stack, ~_grown(objects) & seen, seen)
            found = replace(found, evidence=_evidence(stack, objects[:, 0], found.plate, ring))
            objects = torch.stack([found._silhouette(each.float()) for each in stack]) > 0
            objects &= seen
        return found if found._is_plausible(stack) else None

    def _is_plausible(self, stack: Tensor) -> bool:
        """Whether the silhouettes in [S, 3, H, W] levels have the size of an object."""
        shares = [float(self._silhouette(each.float()).mean()) for each in stack]
        low, high = OBJECT_SHARES
        return low <= float(np.median(shares)) <= high

    @classmethod
    def plain(cls, stack: Tensor) -> StillBackground:
        """Without any object: what [S, 3, H, W] levels show most of the time."""
        seen = torch.ones_like(stack[:, :1], dtype=torch.bool)
        return cls._around(stack, seen, seen)

    @classmethod
    def _around(cls, stack: Tensor, visible: Tensor, seen: Tensor) -> StillBackground:
        """The plate of what is visible, [S, 3, H, W] levels and [S, 1, H, W] bool.

        Where less than a tenth of the frames that show the place see the background there, the
        plate is taken for object.
        """
        seldom = visible.float().sum(0) < _SELDOM * seen.float().sum(0)
        used = visible | (seldom & seen)
        plate = _median(stack, used)
        spread = torch.stack([(each.float() - plate).abs().amax(0, keepdim=True) for each in stack])
        spread = _median(spread, used)
        tolerance = (_MIN_TOLERANCE + 1.5 * float(spread.median()) + spread).clamp(max=60)
        return cls(
            plate=plate,
            tolerance=tolerance,
            plate_is_object=_clean(seldom) if bool(seldom.any()) else seldom.float(),
            evidence=torch.zeros(_BINS, _BINS, _BINS),
        )

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        image = frame[..., :3].permute(2, 0, 1).float()
        here, _ = self.at(image.shape, WHOLE, self.plate_is_object)
        return here._silhouette(image)[0].numpy() > 0

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        image = frame[..., :3].permute(2, 0, 1).float()
        here, _ = self.at(image.shape, window, self.plate_is_object)
        inside = here._silhouette(image)
        alpha, color = _soft_edges(image / 255, here.plate / 255, inside)
        return Matte(color=color, alpha=alpha)

    def at(
        self, shape: Sequence[int], window: Window, beside: Tensor
    ) -> tuple[StillBackground, Tensor]:
        """The same, cut to a part of the frame and brought to a picture's size [.., h, w], and so
        a map [1, H, W] beside it."""
        rows, columns = window.slices(*self.plate.shape[-2:])
        size = (int(shape[-2]), int(shape[-1]))
        parts = []
        for field in (self.plate, self.tolerance, self.plate_is_object, beside):
            part = field[None, :, rows, columns]
            mode = "area" if size[0] <= part.shape[-2] else "bilinear"
            parts.append(functional.interpolate(part, size, mode=mode)[0])
        plate, tolerance, is_object, beside = parts
        here = StillBackground(
            plate=plate,
            tolerance=tolerance,
            plate_is_object=(is_object > 0.5).float(),
            evidence=self.evidence,
        )
        return here, beside

    def differs(self, image: Tensor) -> Tensor:
        """[1, H, W] by how many tolerances a picture leaves the plate, nearby pixels allowed."""
        low, high = erode(self.plate, 1), dilate(self.plate, 1)
        outside = torch.maximum(image - high, low - image).clamp_min(0).amax(0, keepdim=True)
        # Flat places have no neighbours to hide behind: there each channel counts.
        plain = (image - self.plate).abs().mean(0, keepdim=True)
        return torch.maximum(outside, torch.minimum(plain, outside + 2)) / self.tolerance

    def _silhouette(self, image: Tensor) -> Tensor:
        """[1, H, W] 1 on the object, else 0, of levels [3, H, W]."""
        differs = self.differs(image)
        by_color = _look_up(self.evidence, image).clamp(-_CERTAIN, _CERTAIN)
        by_plate = (3 * (differs - 1)).clamp(-_CERTAIN, _CERTAIN)
        on_background = by_plate + 0.25 * by_color
        # What never left its place is object, unless its colours are those of the background.
        on_object = by_color + torch.where(differs > 1, 0.0, _RESTING)
        own = torch.where(self.plate_is_object > 0, on_object, on_background)
        return _clean(_smoothed(own) > 0)


def _median(stack: Tensor, used: Tensor) -> Tensor:
    """[C, H, W] float32: the median over [S, C, H, W] of those used, [S, 1, H, W]; by rows, since
    the sorted copy is large."""
    rows = []
    for values, mask in zip(stack.split(32, -2), used.split(32, -2), strict=True):
        filled = torch.where(mask, values.float(), torch.tensor(float("nan")))
        rows.append(filled.nanmedian(0).values.nan_to_num(0.0))
    return torch.cat(rows, -2)


def _grown(objects: Tensor) -> Tensor:
    """[S, 1, H, W] bool with the soft edge that is neither object nor background."""
    return dilate(objects.float(), _EDGE_BAND_PX) > 0


def _evidence(stack: Tensor, differs: Tensor, plate: Tensor, ring: Tensor) -> Tensor:
    """[16, 16, 16] log ratio of colours on the object and on the background.

    Args:
        stack: [S, 3, H, W] levels.
        differs: [S, H, W] bool, where they leave the plate.
        plate: [3, H, W] levels.
        ring: [H, W] bool, the frame's border.
    """
    on_object = stack.permute(0, 2, 3, 1)[differs].float()
    never = ~differs.any(0)
    on_background = torch.cat(
        [plate.permute(1, 2, 0)[ring & never], plate.permute(1, 2, 0)[differs.any(0)]]
    )
    counts = []
    for colors in (on_object, on_background):
        bins = (colors / (256 / _BINS)).long().clamp(0, _BINS - 1)
        flat = (bins[:, 0] * _BINS + bins[:, 1]) * _BINS + bins[:, 2]
        histogram = torch.bincount(flat, minlength=_BINS**3).float().reshape(1, 1, *[_BINS] * 3)
        histogram = functional.avg_pool3d(histogram, 3, 1, 1)[0, 0]
        counts.append(histogram / histogram.sum().clamp_min(1) + 1e-5)
    return (counts[0] / counts[1]).log()


def _look_up(evidence: Tensor, image: Tensor) -> Tensor:
    """[1, H, W] the evidence of each colour of [3, H, W] levels, linear between the bins."""
    places = ((image + 0.5) / 128 - 1).flip(0).permute(1, 2, 0)[None, None]  # x is blue
    volume = evidence[None, None]
    return functional.grid_sample(volume, places, padding_mode="border", align_corners=False)[0, 0]


def _object_on_plate(plate: Tensor, moved: Tensor, evidence: Tensor) -> Tensor:
    """[1, H, W] 1 where the plate shows the object.

    The object's resting parts have its colours, and are joined with places where something moved.
    """
    size = max(plate.shape[-2:])
    near = dilate((moved > 0).float(), max(1, size // 40))
    own = _look_up(evidence, plate).clamp(-_CERTAIN, _CERTAIN) - 0.5
    own = own - 4 * (1 - _filled_box(near))  # far from all motion only clear colours count
    own = torch.where(moved > 0.5, torch.maximum(own, torch.ones(())), own)
    labels, _ = label_components((_smoothed(own) > 0)[0].numpy())
    touched = np.unique(labels[(near[0] > 0).numpy()])
    kept = np.isin(labels, touched[touched > 0])
    return _clean(torch.from_numpy(kept)[None])


def _filled_box(mask: Tensor) -> Tensor:
    """[1, H, W] 1 in the box around a mask."""
    box = torch.zeros_like(mask)
    rows = mask[0].any(1).nonzero()[:, 0]
    columns = mask[0].any(0).nonzero()[:, 0]
    if len(rows):
        box[0, int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1] = 1
    return box


def _smoothed(own: Tensor) -> Tensor:
    """[1, H, W] evidence in which neighbours agree: mean field of a grid of coupled labels."""
    field = own
    for _ in range(_SMOOTHING_ROUNDS):
        field = own + _COUPLING * (box_sum(torch.tanh(field / 2), 1) / 9)
    return field


def _clean(mask: Tensor) -> Tensor:
    """[1, H, W] float: without specks and pinholes."""
    array = mask[0].numpy()
    labels, areas = label_components(array)
    areas[0] = 0
    if not areas.any():
        return torch.zeros_like(mask, dtype=torch.float32)
    kept = areas >= max(0.02 * areas.max(), 2e-4 * array.size)
    array = kept[labels]
    holes, sizes = label_components(~array)
    small = sizes < max(0.01 * areas.max(), 16)
    small[0] = False
    return torch.from_numpy(array | small[holes])[None].float()


def _soft_edges(image: Tensor, plate: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha [1, H, W] and premultiplied colour [3, H, W] of a silhouette, by the compositing
    equation along its edge: how far the pixel lies from the plate towards the object's colour."""
    core = erode(inside, _EDGE_BAND_PX)
    band = dilate(inside, _EDGE_BAND_PX) - core
    weight = core + 1e-3 * inside + 1e-9
    sums = box_sum(torch.cat([image * weight, weight]), _REACH_PX)
    full = sums[:3] / sums[3:] - plate
    contrast = full.square().sum(0, keepdim=True)
    share = ((image - plate) * full).sum(0, keepdim=True) / contrast.clamp_min(1e-4)
    geometric = box_sum(inside, 1) / 9
    # Where object and plate are of one colour, only the silhouette tells.
    trust = (contrast / 0.06).clamp(0, 1)
    alpha = torch.lerp(geometric, share.clamp(0, 1), trust)
    alpha = torch.where(band > 0, alpha * dilate(inside, 1), inside)
    color = (image - (1 - alpha) * plate).clamp_min(0)
    # What is left of the plate shows on white: faint pixels take the object's colour nearby.
    color = alpha * torch.lerp(full + plate, color / alpha.clamp_min(0.1), alpha.square())
    return alpha, torch.minimum(color.clamp_min(0), alpha)


def _ring(height: int, width: int) -> Tensor:
    """[H, W] bool: the outermost 4 % of the smaller side."""
    ring = torch.ones(height, width, dtype=torch.bool)
    border = max(1, min(height, width) // 25)
    ring[border:-border, border:-border] = False
    return ring
