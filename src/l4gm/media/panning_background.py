"""Background removal for a camera that turns slowly: frames are laid over each other by what they
show of the background, and there the object is what moves (`StillBackground`).

The only module of this part that imports OpenCV; without it nothing is found.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.still_background import StillBackground

_FRAMES = 24  # of the estimate
_FEATURES = 1500
_INLIER_PX = 2.0
_LEAST_INLIERS, _LEAST_SHARE = 20, 0.2
_STILL_PX = 1.5  # corners that move by less: the camera stands still
_LARGEST = 3.0  # times the frame: what the camera turns over
_LOST = 0.15  # of the frames may fail to be laid over the others


@dataclass(frozen=True, kw_only=True)
class PanningBackground:
    """What does not move with the background is object.

    Args:
        still: of the canvas on which all frames lie.
        reference: [H, W] uint8 the frame that others are laid over, and `offset` where its corner
            lies on the canvas, x and y in pixels.
    """

    still: StillBackground
    reference: NDArray[np.uint8]
    offset: tuple[int, int]

    name = "background of a turning camera"

    @classmethod
    def estimate(
        cls, frames: Sequence[Tensor], salient: Sequence[Tensor | None] = ()
    ) -> PanningBackground | None:
        """From frames of the whole clip; None if they cannot be laid over each other, the camera
        stands still, or nothing moves but it. Arguments as of `StillBackground.estimate`."""
        if importlib.util.find_spec("cv2") is None or len(frames) < 3:
            return None
        import cv2

        step = max(1, -(-len(frames) // _FRAMES))
        pairs = list(zip(frames, [*salient, *[None] * len(frames)], strict=False))[::step]
        reference = _gray(pairs[len(pairs) // 2][0])
        placed = [(frame, word, _register(_gray(frame), reference)) for frame, word in pairs]
        kept = [each for each in placed if each[2] is not None]
        if len(kept) < max(3, (1 - _LOST) * len(placed)):
            return None
        height, width = reference.shape
        rectangle = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        corners = np.stack([rectangle @ matrix.T for _, _, matrix in kept])  # type: ignore[union-attr]
        if np.abs(corners - corners.mean(0)).max() < _STILL_PX:
            return None
        low = np.floor(corners.min((0, 1))).astype(int)
        size = np.ceil(corners.max((0, 1))).astype(int) - low
        if size.prod() > _LARGEST * height * width:
            return None
        offset = (int(-low[0]), int(-low[1]))
        stack, seen, words = [], [], []
        for frame, word, matrix in kept:
            onto = _shifted(matrix, offset)  # type: ignore[arg-type]

            def laid(image: NDArray[np.generic], fill: float, onto: NDArray[np.float64] = onto):  # type: ignore[no-untyped-def]
                return cv2.warpAffine(
                    np.ascontiguousarray(image), onto, size.tolist(), borderValue=[fill] * 4
                )

            stack.append(torch.from_numpy(laid(frame[..., :3].numpy(), 0)).permute(2, 0, 1))
            inside = laid(np.full((height, width), 255, np.uint8), 0)
            seen.append(torch.from_numpy(inside == 255)[None])
            if word is not None:
                words.append(torch.from_numpy(laid(word[0].numpy(), float("nan")))[None])
        still = StillBackground.of_stack(torch.stack(stack), torch.stack(seen), words)
        if still is None:
            return None
        return cls(still=still, reference=reference, offset=offset)

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return self._under(frame).mask(frame)

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        return self._under(frame if whole is None else whole).matte(frame, window)

    def _under(self, frame: Tensor) -> StillBackground:
        """The background beneath a whole frame; that of the reference if it cannot be found."""
        import cv2

        gray = _gray(frame)
        height, width = self.reference.shape
        matrix = _register(cv2.resize(gray, (width, height)), self.reference)
        onto = _shifted(np.eye(2, 3) if matrix is None else matrix, self.offset)

        def lifted(field: Tensor, smooth: bool = True) -> Tensor:
            kind = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
            image = cv2.warpAffine(
                field.permute(1, 2, 0).numpy(),
                onto,
                (width, height),
                flags=kind | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            return torch.from_numpy(image.reshape(height, width, -1)).permute(2, 0, 1)

        return replace(
            self.still,
            plate=lifted(self.still.plate),
            tolerance=lifted(self.still.tolerance),
            plate_is_object=lifted(self.still.plate_is_object, smooth=False),
            prior=lifted(self.still.prior),
        )


def _gray(frame: Tensor) -> NDArray[np.uint8]:
    import cv2

    gray: NDArray[np.uint8] = cv2.cvtColor(frame[..., :3].numpy(), cv2.COLOR_RGB2GRAY)
    return gray


def _register(gray: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """[2, 3] from pixels of one frame to those of another by shift, turn and scale; None if they
    show too little in common."""
    import cv2

    detector = cv2.ORB_create(_FEATURES, fastThreshold=8)
    found = [detector.detectAndCompute(image, None) for image in (gray, reference)]
    if any(descriptors is None or len(points) < 8 for points, descriptors in found):
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(found[0][1], found[1][1])
    if len(matches) < _LEAST_INLIERS:
        return None
    source = np.float32([found[0][0][match.queryIdx].pt for match in matches])
    target = np.float32([found[1][0][match.trainIdx].pt for match in matches])
    matrix, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if matrix is None or inliers.sum() < max(_LEAST_INLIERS, _LEAST_SHARE * len(matches)):
        return None
    return np.asarray(matrix, np.float64)


def _shifted(matrix: NDArray[np.float64], offset: tuple[int, int]) -> NDArray[np.float64]:
    """The same, with the target's corner moved."""
    moved = matrix.copy()
    moved[:, 2] += offset
    return moved
