"""A video at three times its rate: images put between its frames, for networks that see each frame
as it is.

Networks whose Gaussians of one frame do not correspond to those of the next cannot have their
results interpolated; the images can be, and are reconstructed like all others.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from l4gm.media.flow import images_between
from l4gm.pipeline.frames import FrameSource, knows_alpha, resized

RATE = 3


class FramesBetween:
    """A prepared video with two images put between each pair of frames.

    Args:
        source: the video.
        size: its frames are resized to this many pixels first.
    """

    def __init__(self, source: FrameSource, size: int) -> None:
        self._source = source
        self._size = size

    @property
    def fps(self) -> float:
        return RATE * self._source.fps

    @property
    def num_frames(self) -> int:
        return RATE * (self._source.num_frames - 1) + 1 if self._source.num_frames else 0

    @property
    def has_alpha(self) -> bool:
        return knows_alpha(self._source)

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        yield from self._between(start, with_alpha=False)

    def cutouts(self, start: int = 0) -> Iterator[Tensor]:
        yield from self._between(start, with_alpha=True)

    def _between(self, start: int, with_alpha: bool) -> Iterator[Tensor]:
        first, skipped = divmod(start, RATE)
        source = self._source
        if with_alpha:
            assert knows_alpha(source)
            images = source.cutouts(first)
        else:
            images = source.frames(first)
        before: Tensor | None = None
        for image in images:
            image = resized(image.float(), self._size)
            if before is None:
                made = image[None]
            else:
                between = images_between(before, image, [step / RATE for step in range(1, RATE)])
                made = torch.cat([between, image[None]])
                if skipped:
                    made, skipped = made[skipped - 1 :], 0
            if not skipped:
                yield from made
            before = image
