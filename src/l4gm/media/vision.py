"""What OpenCV does for background removal: motion, the camera's and the object's.

Together with `flow` the only module that imports OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.media.flow import MIN_FLOW_PX, dense_flow

Image = NDArray[np.uint8]
Affine = NDArray[np.float64]  # [2, 3], from pixels of one frame to those of another

_FEATURES = 1500
_INLIER_PX = 2.0
_LEAST_INLIERS, _LEAST_SHARE = 20, 0.2

# Motion against the background from frame to frame, in pixels of frames of 288 px.
_MOVES, _SURELY_MOVES, _MAY_MOVE = 1.0, 1.5, 0.5
_FLOW_GRID_PX = 8
_FLOW_INLIER_PX = 0.7
_BLEED = 0.025  # of the frame's side: flow carries motion this far beyond the object
_AROUND = 2  # frames before and after: a part that rests now moves in one of them
_LEAST_MOTION = 0.002  # of the frame
_OTHER_THINGS = 3.0  # times what moves: a network that sees more sees other things as well
_CUT_ROUNDS = 4


def _opencv() -> Any:
    """The package, whose stubs lack much of it."""
    import cv2

    return cv2


def register(image: Image, reference: Image) -> Affine | None:
    """How a frame lies over another one, by shift, turn and scale; None if they show too little in
    common. Most of what they show stands still.

    Args:
        image, reference: [H, W, 3].
    """
    cv2 = _opencv()

    detector = cv2.ORB_create(_FEATURES, fastThreshold=8)
    found = [detector.detectAndCompute(_gray(each), None) for each in (image, reference)]
    if any(descriptors is None or len(points) < 8 for points, descriptors in found):
        return None
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(found[0][1], found[1][1])
    if len(matches) < _LEAST_INLIERS:
        return None
    source = np.array([found[0][0][match.queryIdx].pt for match in matches], np.float32)
    target = np.array([found[1][0][match.trainIdx].pt for match in matches], np.float32)
    matrix, inliers = cv2.estimateAffinePartial2D(
        source, target, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if matrix is None or inliers.sum() < max(_LEAST_INLIERS, _LEAST_SHARE * len(matches)):
        return None
    return np.asarray(matrix, np.float64)


def laid_over(image: NDArray[np.generic], matrix: Affine, size: tuple[int, int]) -> NDArray:  # type: ignore[type-arg]
    """An image [H, W] or [H, W, C] moved into one of (height, width), 0 beside it."""
    cv2 = _opencv()

    moved: NDArray = cv2.warpAffine(np.ascontiguousarray(image), matrix, (size[1], size[0]))  # type: ignore[type-arg]
    return moved


def taken_from(
    image: NDArray[np.float32], matrix: Affine, size: tuple[int, int]
) -> NDArray[np.float32]:
    """The part [height, width, C] of an image [H, W, C] that `matrix` maps a frame onto; its edge
    goes on beyond it."""
    cv2 = _opencv()

    part = cv2.warpAffine(
        np.ascontiguousarray(image),
        matrix,
        (size[1], size[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(part, np.float32).reshape(*size, -1)


def moving_object(
    frames: Sequence[Image], salient: Sequence[NDArray[np.float32] | None]
) -> list[NDArray[np.bool_]] | None:
    """The object in each frame: what moves against the background, cut out along its edges by its
    colours (GrabCut, Rother et al. 2004); None where too little moves.

    Args:
        frames: [H, W, 3], of one size, in the order of time.
        salient: [H, W] how much of each frame a trained network takes for the object, where it was
            asked.

    Returns:
        [H, W] of each frame.
    """
    if min(frames[0].shape[:2]) < MIN_FLOW_PX:
        return None
    least, most = _motion(frames)
    pixel = max(frames[0].shape[:2]) / 288
    if float(np.median([(each > _MOVES * pixel).mean() for each in least])) < _LEAST_MOTION:
        return None
    masks = []
    for index, frame in enumerate(frames):
        around = slice(max(0, index - _AROUND), index + _AROUND + 1)
        near = np.max(most[around], 0) > _MAY_MOVE * pixel
        masks.append(_cut_out(frame, least[index] / pixel, near, salient[index]))
    return masks


def _cut_out(
    image: Image,
    motion: NDArray[np.float32],
    near: NDArray[np.bool_],
    salient: NDArray[np.float32] | None,
) -> NDArray[np.bool_]:
    cv2 = _opencv()

    bleed = max(3, round(_BLEED * max(image.shape[:2]))) * 2 + 1
    near = cv2.dilate(near.astype(np.uint8), np.ones((9, 9))) > 0
    likely = motion > _MOVES
    sure = cv2.erode((motion > _SURELY_MOVES).astype(np.uint8), np.ones((bleed, bleed))) > 0
    if salient is not None:
        seen = salient > 0.5
        others = seen.sum() > _OTHER_THINGS * likely.sum()
        likely = seen & (likely if others else near)
        sure &= salient > 0.3
    labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    labels[near] = cv2.GC_PR_BGD
    labels[likely & near] = cv2.GC_PR_FGD
    labels[sure & near] = cv2.GC_FGD
    is_object = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    if not is_object.any() or is_object.all():
        return is_object
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, None, *models, _CUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _motion(
    frames: Sequence[Image],
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Pixels [H, W] by which each frame's places move against the background to the frames before
    and after: the lesser and the greater of both. Beside a moving thing flow is wrong on one side
    for each, so that the lesser one fits it more closely."""
    grays = [_gray(frame) for frame in frames]
    least, most = [], []
    for index, gray in enumerate(grays):
        steps = [
            _residual(dense_flow(gray, grays[other]))
            for other in (index - 1, index + 1)
            if 0 <= other < len(grays)
        ]
        least.append(np.min(steps, 0))
        most.append(np.max(steps, 0))
    return least, most


def _residual(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    """[H, W] what is left of a flow [H, W, 2] without the motion of the camera."""
    cv2 = _opencv()

    height, width = flow.shape[:2]
    half = _FLOW_GRID_PX // 2
    y, x = np.mgrid[half:height:_FLOW_GRID_PX, half:width:_FLOW_GRID_PX]
    points = np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(
        points,
        points + flow[y, x].reshape(-1, 2),
        method=cv2.RANSAC,
        ransacReprojThreshold=_FLOW_INLIER_PX,
    )
    if matrix is not None:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        camera = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T - np.stack([x, y], -1)
        flow = flow - camera.astype(np.float32)
    length: NDArray[np.float32] = np.linalg.norm(flow, axis=-1).astype(np.float32)
    return length


def _gray(image: Image) -> Image:
    cv2 = _opencv()

    gray: Image = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return gray
