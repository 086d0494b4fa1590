"""What background removal gives, and where in the frame; pictures with alpha put on white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Matte:
    """An object cut out of its background.

    Args:
        color: [3, H, W] float32 in [0, 1], premultiplied by alpha, without the old background.
        alpha: [1, H, W] float32 in [0, 1].
    """

    color: Tensor
    alpha: Tensor

    def over(self, background: float = 1.0) -> Tensor:
        """[3, H, W]: the object on a grey background, white by default."""
        return self.color + (1 - self.alpha) * background


@dataclass(frozen=True)
class Window:
    """A part of the frame; edges as shares of its width and height."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a picture of the whole frame; at least one each."""
        rows = _range(self.top * height, self.bottom * height, height)
        return rows, _range(self.left * width, self.right * width, width)


WHOLE = Window()


class Matting(Protocol):
    """A way to tell the object from its background.

    It is made once for a clip and keeps no state from frame to frame: the same thresholds for all
    frames, so that a still edge does not flicker, and any frame can be asked for in any order.
    """

    @property
    def name(self) -> str:
        """For reports: "alpha channel", "uniform background", ..."""
        ...

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        """Coarse silhouette [H, W] of a frame uint8 [H, W, 3 or 4]; fast, used to find the crop."""
        ...

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        """Soft silhouette and clean colours of a part of a frame, uint8 [h, w, 3 or 4]; the window
        says which part, and `whole` is the whole frame, shrunk, for methods that need to see it."""
        ...


def on_white(pictures: Tensor) -> Tensor:
    """Straight RGBA [..., 4, H, W]: its colour on white, and alpha. RGB is given back as it is."""
    if pictures.shape[-3] == 3:
        return pictures
    color, alpha = pictures[..., :3, :, :], pictures[..., 3:, :, :]
    return torch.cat([color * alpha + (1 - alpha), alpha], -3)


def _range(start: float, stop: float, length: int) -> slice:
    first = min(round(start), length - 1)
    return slice(first, max(round(stop), first + 1))
