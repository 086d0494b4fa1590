"""Two frames between each pair of consecutive ones (paper section 4.4).

The interpolation network sees a pair as four time steps: both ends and, between them, the
pixelwise blends of both ends' pictures. Its outputs 0..3 cover the pair; pairs share their ends, so
of every pair but the first of a video output 0 is left out: n frames become 3 (n - 1) + 1.
The released script loses the last pair of each later chunk and doubles the join; here chunks
leave no trace, because a pair depends on its two frames and their Gaussians alone.
"""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from l4gm.errors import OUT_OF_MEMORY, is_out_of_memory
from l4gm.gaussians.types import Gaussians
from l4gm.model.protocol import Reconstructor
from l4gm.pipeline.chunks import run_network
from l4gm.pipeline.rig import InputRig

RATE = 3  # the interpolated sequence's frame rate over the video's
_STEPS = RATE + 1

# What is kept of the last frame.
Last = tuple[Tensor, ...]

logger = logging.getLogger(__name__)


def interpolated_length(num_frames: int) -> int:
    """How many frames `num_frames` become."""
    return RATE * (num_frames - 1) + 1 if num_frames else 0


def pair_inputs(pictures: Tensor) -> Tensor:
    """The network's input for each pair of neighbours.

    Args:
        pictures: [n, V, ...], all views of n consecutive frames.

    Returns:
        [n - 1, 4, V, ...]: the first end, blends at 1/3 and 2/3, the second end.
    """
    first, second = pictures[:-1], pictures[1:]
    return torch.stack([torch.lerp(first, second, step / RATE) for step in range(_STEPS)], 1)


@torch.inference_mode()
def interpolate_pairs(
    reconstruct: Reconstructor, rig: InputRig, pictures: Tensor, pairs_per_batch: int
) -> Gaussians:
    """Gaussians [n - 1, 4, N] of n - 1 pairs of neighbours.

    Args:
        reconstruct: the interpolation network.
        rig: the canonical cameras.
        pictures: [n, 4, 3 or 4, S, S], n >= 2: the real frame and the three drawn views.
        pairs_per_batch: pairs in one forward pass; halved when a device's memory does not suffice.
    """
    done: list[Gaussians] = []
    start = 0
    while start < len(pictures) - 1:
        end = min(start + pairs_per_batch, len(pictures) - 1)
        try:
            inputs = pair_inputs(pictures[start : end + 1])
            done.append(run_network(reconstruct, inputs, rig.cameras(), None))
        except OUT_OF_MEMORY as error:
            if not is_out_of_memory(error) or end - start == 1:
                raise
            pairs_per_batch = (end - start + 1) // 2
            logger.warning("out of memory: interpolating %d pairs at a time", pairs_per_batch)
            continue
        start = end
    return Gaussians.cat(done)


class Interpolator:
    """Interpolates a video that comes in pieces; holds one frame between them.

    Args:
        reconstruct: the interpolation network.
        rig: the canonical cameras.
        pairs_per_batch: pairs in one forward pass.
        last: `last` of an interpolator that stopped here, to go on in its place.
    """

    def __init__(
        self,
        reconstruct: Reconstructor,
        rig: InputRig,
        pairs_per_batch: int = 4,
        last: Last | None = None,
    ) -> None:
        if pairs_per_batch < 1:
            raise ValueError(f"pairs_per_batch must be at least 1, got {pairs_per_batch}")
        self.last = last  # one tensor [1, 4, 3 or 4, S, S], the pictures of the last frame
        self._reconstruct = reconstruct
        self._rig = rig
        self._pairs_per_batch = pairs_per_batch
        self._lone: Gaussians | None = None  # [1, N], the first frame while it has no pair

    @torch.inference_mode()
    def push(self, frames: Tensor, gaussians: Gaussians) -> Gaussians | None:
        """Take the next k frames [k, 3 or 4, S, S] and their Gaussians [k, N]; k >= 1.

        Returns:
            what is now known: [3 k, N], two less for the first piece, or None for a first piece
            of one frame.
        """
        pictures = torch.cat([frames[:, None], self._rig.draw_sides(gaussians)], 1)
        is_start = self.last is None or self._lone is not None
        if self.last is not None:
            pictures = torch.cat([self.last[0], pictures])
        self.last = (pictures[-1:].clone(),)
        if len(pictures) == 1:
            self._lone = gaussians
            return None
        self._lone = None
        steps = interpolate_pairs(self._reconstruct, self._rig, pictures, self._pairs_per_batch)
        joined = steps[:, 1:].reshape(-1)
        return Gaussians.cat([steps[:1, 0], joined]) if is_start else joined

    def finish(self) -> Gaussians | None:
        """What is still owed at the end: the Gaussians [1, N] of a video of one frame, or None."""
        return self._lone
