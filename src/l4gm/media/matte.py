"""What background removal gives, and where in the frame."""

from __future__ import annotations

from dataclasses import dataclass

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


def _range(start: float, stop: float, length: int) -> slice:
    first = min(round(start), length - 1)
    return slice(first, max(round(stop), first + 1))
