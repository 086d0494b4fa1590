"""Background removal for a camera that turns slowly: frames are laid over each other by what they
show of the background, and there it stands still (`StillBackground`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.still_background import StillBackground
from l4gm.media.vision import Affine, laid_over, register, taken_from

_STILL_PX = 1.5  # corners that move by less: the camera stands still
_LARGEST = 3.0  # times the frame: what the camera may turn over
_LOST = 0.15  # of the frames may fail to be laid over the others


@dataclass(frozen=True, kw_only=True)
class PanningBackground:
    """What does not move with the background is object.

    Args:
        still: of the canvas on which all frames lie.
        reference: [H, W, 3] uint8 the frame that others are laid over.
        offset: where its corner lies on the canvas, x and y in pixels.
    """

    still: StillBackground
    reference: NDArray[np.uint8]
    offset: tuple[int, int]

    name = "background of a turning camera"

    @classmethod
    def estimate(cls, frames: Sequence[Tensor], objects: Tensor) -> PanningBackground | None:
        """From frames of the whole clip; None if the camera stands still, turns too far, or frames
        show too little in common.

        Args:
            frames: uint8 [H, W, 3], of one size, evenly over the clip.
            objects: [S, 1, H, W] bool: roughly the object in each.
        """
        images = [frame[..., :3].numpy() for frame in frames]
        reference = images[len(images) // 2]
        matrices = [register(image, reference) for image in images]
        kept = [index for index, matrix in enumerate(matrices) if matrix is not None]
        if len(kept) < max(3, (1 - _LOST) * len(frames)):
            return None
        height, width = reference.shape[:2]
        corners = _corners([matrices[index] for index in kept], height, width)
        low = np.floor(corners.min((0, 1))).astype(int)
        size = np.ceil(corners.max((0, 1))).astype(int) - low
        still = float(np.abs(corners - corners.mean(0)).max()) < _STILL_PX
        if still or size.prod() > _LARGEST * height * width:
            return None
        offset = (int(-low[0]), int(-low[1]))
        canvas = (int(size[1]), int(size[0]))
        stack, seen, known = [], [], []
        for index in kept:
            onto = _shifted(matrices[index], offset)
            stack.append(torch.from_numpy(laid_over(images[index], onto, canvas)))
            everywhere = np.full((height, width), 255, np.uint8)
            seen.append(torch.from_numpy(laid_over(everywhere, onto, canvas) == 255))
            inside = objects[index, 0].numpy().astype(np.uint8)
            known.append(torch.from_numpy(laid_over(inside, onto, canvas) > 0))
        still_background = StillBackground.of_known(
            torch.stack(stack).permute(0, 3, 1, 2),
            torch.stack(seen)[:, None],
            torch.stack(known)[:, None],
        )
        if still_background is None:
            return None
        return cls(still=still_background, reference=reference, offset=offset)

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return self._beneath(frame).mask(frame)

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        return self._beneath(frame if whole is None else whole).matte(frame, window)

    def _beneath(self, frame: Tensor) -> StillBackground:
        """The background behind a whole frame; that of the reference if it is not recognised."""
        matrix = register(frame[..., :3].numpy(), self.reference)
        onto = _shifted(np.eye(2, 3) if matrix is None else matrix, self.offset)
        size = (frame.shape[0], frame.shape[1])

        def part(field: Tensor) -> Tensor:
            image = taken_from(field.permute(1, 2, 0).numpy(), onto, size)
            return torch.from_numpy(image).permute(2, 0, 1)

        return replace(
            self.still,
            plate=part(self.still.plate),
            tolerance=part(self.still.tolerance),
            plate_is_object=(part(self.still.plate_is_object) > 0.5).float(),
        )


def _corners(matrices: Sequence[Affine | None], height: int, width: int) -> NDArray[np.float64]:
    """[S, 4, 2] where the corners of each frame lie."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
    return np.stack([corners @ matrix.T for matrix in matrices if matrix is not None])


def _shifted(matrix: Affine | None, offset: tuple[int, int]) -> Affine:
    """The same, with the target's corner moved."""
    assert matrix is not None
    moved = matrix.copy()
    moved[:, 2] += offset
    return moved
