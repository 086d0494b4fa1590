"""Two frames between each pair of consecutive ones (paper section 4.4).

The interpolation network sees a pair as four time steps: both ends and, between them, the
pixelwise blends of both ends' pictures. Its outputs 0..3 cover the pair; pairs share their ends, so
of every pair but the first of a video output 0 is left out: n frames become 3 (n - 1) + 1.
The released script loses the last pair of each later chunk and doubles the join; here chunks
leave no trace, because a pair depends on its two frames and their Gaussians alone.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.errors import OUT_OF_MEMORY, is_out_of_memory
from l4gm.gaussians.types import Gaussians
from l4gm.model.motion import MotionNet
from l4gm.pipeline.chunks import Reconstruct, run_network
from l4gm.pipeline.frames import match_alpha
from l4gm.pipeline.rig import NUM_VIEWS, InputRig

RATE = 3  # the interpolated sequence's frame rate over the video's
_STEPS = RATE + 1

# The paper's network; our own, which tells motion; or linear blends of both ends' Gaussians.
Interpolation = Reconstruct | MotionNet | Literal["linear"]
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
    reconstruct: Reconstruct, rig: InputRig, pictures: Tensor, pairs_per_batch: int
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
        reconstruct: Reconstruct,
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


def blend_gaussians(first: Gaussians, second: Gaussians, share: float) -> Gaussians:
    """The plain way to put a frame between: every parameter linearly from `first` to `second`.

    Works because Gaussian n of one frame is Gaussian n of the next. Quaternions are turned to the
    same side first and normalised afterwards.
    """
    opposite = (first.quats * second.quats).sum(-1, keepdim=True) < 0
    second_quats = torch.where(opposite, -second.quats, second.quats)
    return Gaussians(
        means=torch.lerp(first.means, second.means, share),
        quats=F.normalize(torch.lerp(first.quats, second_quats, share), dim=-1),
        scales=torch.lerp(first.scales, second.scales, share),
        opacities=torch.lerp(first.opacities, second.opacities, share),
        colors=torch.lerp(first.colors, second.colors, share),
    )


class GaussianBlender:
    """Puts blends of both ends' Gaussians between them, without the interpolation network.

    The same contract as `Interpolator`, but that nothing is ever owed.

    Args:
        motion: the front view's splats, a quarter of them, come from the nearer end, moved as this
            network tells from the video's pictures; None: they are blends, too. They need it: what
            a splat of the side views stands for is the same at all times, but the front view's
            pixels show another piece of the surface at each.
        rig: the canonical cameras; for `motion`.
        pairs_per_batch: pairs that `motion` looks at together.
        last: `last` of a blender that stopped here, to go on in its place.
    """

    def __init__(
        self,
        motion: MotionNet | None = None,
        rig: InputRig | None = None,
        pairs_per_batch: int = 4,
        last: Last | None = None,
    ) -> None:
        if motion is not None and rig is None:
            raise ValueError("a motion network needs the rig")
        # The last frame's Gaussians [1, N, 14], all parameters side by side, and for the motion
        # network its picture [1, 4, S, S].
        self.last = last
        self._motion = motion
        self._rig = rig
        self._pairs_per_batch = pairs_per_batch

    @torch.inference_mode()
    def push(self, frames: Tensor, gaussians: Gaussians) -> Gaussians:
        """Take the next k frames [k, 3 or 4, S, S] and their Gaussians [k, N].

        Returns:
            [3 k, N], two less for the first piece.
        """
        known, pictures = gaussians, frames[:0]
        if self._motion is not None:
            pictures = match_alpha(frames, True)
        is_start = self.last is None
        if self.last is not None:
            known = Gaussians.cat([_unpacked(self.last[0]), gaussians])
            if self._motion is not None:
                pictures = torch.cat([self.last[1], pictures])
        kept = [_packed(gaussians[-1:]), pictures[-1:]]
        self.last = tuple(part.clone() for part in kept if len(part))
        first, second = known[:-1], known[1:]
        steps = [blend_gaussians(first, second, step / RATE) for step in range(1, RATE)]
        if self._motion is not None and len(second.means):
            ends = (first, pictures[:-1]), (second, pictures[1:])
            steps[0] = self._with_moved_front(steps[0], *ends)
            steps[1] = self._with_moved_front(steps[1], *reversed(ends))
        joined = Gaussians.stack([*steps, second])  # [3, n - 1, N]
        joined = joined.map(lambda values: values.transpose(0, 1).flatten(0, 1))
        return Gaussians.cat([known[:1], joined]) if is_start else joined

    def _with_moved_front(
        self, blended: Gaussians, near: tuple[Gaussians, Tensor], far: tuple[Gaussians, Tensor]
    ) -> Gaussians:
        """[P, N] with the front view's splats of the nearer end, moved towards the farther one."""
        assert self._motion is not None
        assert self._rig is not None
        gaussians, here = near
        size = math.isqrt(gaussians.num_gaussians // NUM_VIEWS)
        moves = torch.cat(
            [
                self._motion(*pair).moves
                for pair in zip(
                    here.split(self._pairs_per_batch),
                    far[1].split(self._pairs_per_batch),
                    strict=True,
                )
            ]
        )
        if moves.shape[-1] != size:
            moves = F.interpolate(moves, (size, size), mode="bilinear")
        rotation = self._rig.cameras()[0].world_from_camera[:3, :3]
        offsets = moves.flatten(2).transpose(1, 2) @ rotation.T.to(moves)  # [P, h w, 3]
        front = gaussians.map(lambda values: values[:, : size * size])
        front = replace(front, means=front.means + offsets)
        rest = blended.map(lambda values: values[:, size * size :])
        parts = {name: (getattr(front, name), getattr(rest, name)) for name in _WIDTHS}
        return Gaussians(**{name: torch.cat(pair, 1) for name, pair in parts.items()})

    def finish(self) -> None:
        """Nothing is owed at the end."""


_WIDTHS = {"means": 3, "quats": 4, "scales": 3, "opacities": 1, "colors": 3}


def _packed(gaussians: Gaussians) -> Tensor:
    """[..., N] Gaussians as one tensor [..., N, 14]."""
    parts = [getattr(gaussians, name) for name in _WIDTHS]
    return torch.cat([p if p.ndim == gaussians.means.ndim else p[..., None] for p in parts], -1)


def _unpacked(values: Tensor) -> Gaussians:
    parts = dict(zip(_WIDTHS, values.split(tuple(_WIDTHS.values()), -1), strict=True))
    return Gaussians(**parts | {"opacities": parts["opacities"].squeeze(-1)})
