"""Where the square lies that becomes the picture: one place for the clip, or along a path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.media.resample import Crop
from l4gm.pipeline.survey import Box, Survey

# A square clip whose object already lies like this is left uncropped, so that clips prepared for
# the released code (five of them come with it) give its results.
PREPARED_SHARE = (0.45, 0.95)
PREPARED_OFFSET = 0.1

TRAVEL = 2.0  # times the object's own size: what travels further is followed
_SMOOTHING = 0.08  # of the clip's length: the path follows no single step

_KEPT = "the object already lies well in a square frame"


@dataclass(frozen=True)
class Framing:
    """The crop of each frame.

    Args:
        crops: of each frame, all of one side; or one for all.
        reason: why it is there.
    """

    crops: tuple[Crop, ...]
    reason: str

    @property
    def notes(self) -> tuple[str, ...]:
        return (self.reason,) if len(self.crops) > 1 else ()

    def crop(self, index: int) -> Crop:
        """Of a frame."""
        return self.crops[index if len(self.crops) > 1 else 0]

    def report(self) -> dict[str, Any]:
        first = self.crops[0]
        place = {"left_px": first.left, "top_px": first.top, "side_px": first.side}
        return {**place, "why": self.reason}

    def motion(self, world_per_side: float) -> Tensor | None:
        """[T, 2]: the path to the right and up in units of the world, about its mean; None where
        the crop stands still.

        Args:
            world_per_side: how much of the world, at the object, the picture shows.
        """
        if len(self.crops) == 1:
            return None
        places = torch.tensor([(crop.left, -crop.top) for crop in self.crops])
        return (places - places.mean(0)) * world_per_side / self.crops[0].side


def choose_framing(
    found: Survey, width: int, height: int, object_share: float, name: str
) -> Framing:
    """The square that holds the object.

    Args:
        found: where it is.
        width, height: of the frames in pixels.
        object_share: of the picture's side, for the object's longer side over all frames.
        name: of the clip, for messages.

    Raises:
        InputError: if there is no object, or too few frames show the background.
    """
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
    if longer > TRAVEL * _largest(found.boxes):
        return _follow(found.boxes, object_share)
    center_x, center_y = (left + right) / 2, (top + bottom) / 2
    offset = max(abs(center_x / width - 0.5), abs(center_y / height - 0.5))
    share = longer / max(width, height)
    low, high = PREPARED_SHARE
    if width == height and offset <= PREPARED_OFFSET and low <= share <= high:
        return Framing((Crop(0, 0, width),), _KEPT)
    side = longer / object_share
    crop = Crop(center_x - side / 2, center_y - side / 2, side)
    return Framing((crop,), "object centred and scaled")


def along(gaussians: Gaussians, motion: Tensor, start: int, total: int) -> Gaussians:
    """Frames of a result [n, N], moved as the object was followed.

    Args:
        gaussians: frames from `start` on, of `total` ones.
        motion: [T, 2] of `Framing.motion`; the result's frames lie evenly over these.
    """
    places = (
        torch.arange(start, start + len(gaussians.means)) * (len(motion) - 1) / max(total - 1, 1)
    )
    before = places.floor().long().clamp(max=len(motion) - 1)
    after = (before + 1).clamp(max=len(motion) - 1)
    path = torch.lerp(motion[before], motion[after], (places - before)[:, None])
    offset = torch.nn.functional.pad(path, (0, 1)).to(gaussians.means)
    return replace(gaussians, means=gaussians.means + offset[:, None])


def _largest(boxes: list[Box | None]) -> int:
    """The longer side of the largest box."""
    return max(max(box[2] - box[0], box[3] - box[1]) for box in boxes if box is not None)


def _follow(boxes: list[Box | None], object_share: float) -> Framing:
    """Crops of one size along the smoothed path of the object's middle."""
    seen = [index for index, box in enumerate(boxes) if box is not None]
    known = np.array([boxes[index] for index in seen], float)
    middles = np.stack([known[:, 0] + known[:, 2], known[:, 1] + known[:, 3]], 1) / 2
    everywhere = np.arange(len(boxes))
    path = np.stack([np.interp(everywhere, seen, middles[:, axis]) for axis in (0, 1)], 1)
    path = _smoothed(path, _SMOOTHING * len(boxes))
    # Half the side that the object needs to stay inside, however the smooth path deviates.
    corners = np.stack([known[:, :2], known[:, 2:]], 1)
    reach = np.abs(corners - path[seen][:, None]).max()
    side = float(2 * reach / object_share)
    crops = tuple(Crop(float(x) - side / 2, float(y) - side / 2, side) for x, y in path)
    return Framing(crops, "the object travels through the frame and is followed")


def _smoothed(path: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """[T, 2] by a Gaussian, the ends continued in a straight line."""
    if sigma < 0.3 or len(path) < 3:
        return path
    reach = min(len(path) - 1, int(3 * sigma) + 1)
    before = 2 * path[0] - path[reach:0:-1]
    after = 2 * path[-1] - path[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, path, after])
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    columns = [np.convolve(padded[:, axis], weights, mode="valid") for axis in (0, 1)]
    return np.stack(columns, 1)
