"""What the pipeline needs of a network, whichever it is."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras


class Reconstructor(Protocol):
    """Images of an object over time in, Gaussians of every frame out.

    A plain function is one. Networks that can do more than the paper's say so in attributes, which
    `works_from_video_alone`, `keeps_views` and `interpolates_images` read.
    """

    def __call__(
        self,
        images: Tensor,
        cameras: Cameras,
        present: Tensor | None = None,
        *,
        alpha: Tensor | None = None,
        first: Tensor | None = None,
    ) -> Gaussians:
        """Reconstruct.

        Args:
            images: [B, T, V, 3, H, W] in [0, 1] on white; view 0 is the video.
            cameras: [V] or [B, T, V], of the images.
            present: [B, V] bool, which views are given; None: all.
            alpha: [B, T, V, H, W] in [0, 1], given where it is known.
            first: [B, 3 or 4, H, W], view 0 of the moment at which views 1.. were taken (and its
                alpha), given where that is not the first of the T.

        Returns:
            Gaussians [B, T, N].
        """
        ...


def works_from_video_alone(reconstruct: Reconstructor) -> bool:
    """Whether `present` may leave views out; by default not."""
    return bool(getattr(reconstruct, "works_from_video_alone", False))


def keeps_views(reconstruct: Reconstructor) -> bool:
    """Whether the views of the first frame serve all chunks; by default each chunk renders them
    for the next, as in the paper."""
    return bool(getattr(reconstruct, "keeps_views", False))


def interpolates_images(reconstruct: Reconstructor) -> bool:
    """Whether frames between come from images put between the video's, reconstructed like them;
    by default a network of its own makes them, as in the paper."""
    return bool(getattr(reconstruct, "interpolates_images", False))
