"""What background removal gives, and where in the frame; pictures with alpha put on white."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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


def on_white(pictures: Tensor) -> Tensor:
    """Straight RGBA [..., 4, H, W]: its colour on white, and alpha. RGB is given back as it is."""
    if pictures.shape[-3] == 3:
        return pictures
    color, alpha = pictures[..., :3, :, :], pictures[..., 3:, :, :]
    return torch.cat([color * alpha + (1 - alpha), alpha], -3)


def _range(start: float, stop: float, length: int) -> slice:
    first = min(round(start), length - 1)
    return slice(first, max(round(stop), first + 1))
