"""What every generator of views offers: one picture in, the four orthogonal views out."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

VIEW_AZIMUTHS_DEGREES = (0, 90, 180, 270)
"""The azimuths of the views, in their order; azimuth 0 looks from +z, 90 from +x."""

VIEW_SIZE_PX = 256
"""Width and height of every view."""


class MultiViewGenerator(Protocol):
    """Anything that makes the four orthogonal views of the object in a picture."""

    def __call__(self, image: Tensor, *, elevation: float = 0.0, seed: int = 0) -> Tensor:
        """Make the views.

        Args:
            image: [3, H, W] float32 in [0, 1], square, the object centred on white, seen from
                azimuth 0.
            elevation: of the camera that took the picture, degrees, > 0 is above; all
                views have it.
            seed: the same image, elevation and seed give the same views on the same device.

        Returns:
            [4, 3, 256, 256] float32 in [0, 1] on white, at azimuths 0, 90, 180, 270, on the
            image's device.
        """
        ...
