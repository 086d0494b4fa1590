"""The autoregressive loop over chunks of T frames (paper section 4.3).

One chunk is one forward pass. Chunk c covers frames c (T - 1) to c (T - 1) + T - 1: consecutive
chunks share a frame, whose second copy is dropped. View 0 of the input is the video; views 1..3
are four canonical pictures, the same for all time steps, which each chunk renews for the next
from its last set of Gaussians.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.pipeline.rig import InputRig

logger = logging.getLogger(__name__)


class Reconstruct(Protocol):
    """What the loop needs of a network; `L4GM` is one."""

    def __call__(
        self, images: Tensor, cameras: Cameras, present: Tensor | None = None, /
    ) -> Gaussians:
        """images [B, T, V, 3, H, W], cameras [V], present [B, V] bool -> Gaussians [B, T, N]."""
        ...


@dataclass(frozen=True)
class ChunkState:
    """What one chunk hands to the next.

    Args:
        views: [4, 3, S, S] canonical pictures; view 0 is not looked at.
        present: [4] bool, which views are known; None for all.
        continues: the next chunk begins with a frame that was already reconstructed.
        keep: hand `views` and `present` on as they are, instead of drawing new views.
    """

    views: Tensor
    present: Tensor | None = None
    continues: bool = False
    keep: bool = False


@torch.inference_mode()
def reconstruct_chunk(
    reconstruct: Reconstruct, rig: InputRig, state: ChunkState, frames: Tensor, chunk_frames: int
) -> tuple[Gaussians, ChunkState]:
    """One autoregressive step: pure, so that a run can be resumed from any state.

    Args:
        reconstruct: the network.
        rig: the canonical cameras.
        state: from the chunk before, or the first guess.
        frames: [k, 3, S, S], 1 <= k <= chunk_frames; its first frame is the last of the chunk
            before when `state.continues`. A short chunk is filled up with its last frame.
        chunk_frames: T, the frames of a forward pass.

    Returns:
        Gaussians [k, N], or [k - 1, N] when `state.continues`, and the state for the next chunk.
    """
    count = len(frames)
    skipped = int(state.continues)
    if not skipped < count <= chunk_frames:
        raise ValueError(f"frames must be {skipped + 1} to {chunk_frames} pictures, got {count}")
    filled = torch.cat([frames, frames[-1:].expand(chunk_frames - count, *frames.shape[1:])])
    sides = state.views[1:].expand(chunk_frames, *state.views[1:].shape)
    images = torch.cat([filled[:, None], sides], 1)
    present = None if state.present is None else state.present[None]
    gaussians = reconstruct(images[None], rig.cameras(), present)[0]
    if state.keep:
        following = replace(state, continues=chunk_frames > 1)
    else:
        views = rig.draw_all(gaussians[count - 1])
        following = ChunkState(views=views, continues=chunk_frames > 1)
    return gaussians[skipped:count], following


Step = Callable[[Reconstruct, InputRig, ChunkState, Tensor, int], tuple[Gaussians, ChunkState]]


@dataclass(frozen=True)
class Chunk:
    """One turn of the loop.

    Args:
        frames: [k, 3, S, S], the frames that are new in it.
        gaussians: [k, N].
        state: for the next chunk.
        chunk_frames: T for the next chunk.
    """

    frames: Tensor
    gaussians: Gaussians
    state: ChunkState
    chunk_frames: int


def reconstruct_chunks(
    reconstruct: Reconstruct,
    rig: InputRig,
    state: ChunkState,
    frames: Iterable[Tensor],
    chunk_frames: int,
    step: Step = reconstruct_chunk,
) -> Iterator[Chunk]:
    """Reconstruct a video of any length, holding no more than `chunk_frames` frames of it.

    When a device runs out of memory, the chunks are halved from there on, with a warning.

    Args:
        reconstruct, rig: as in `reconstruct_chunk`.
        state: as in `reconstruct_chunk`; from the middle of a video, too.
        frames: pictures [3, S, S], in order, from the first one that the state asks for.
        chunk_frames: T.
        step: `reconstruct_chunk`, or a wrapper of it that measures.

    Yields:
        chunks whose frames are together all frames, each once.
    """
    if chunk_frames < 1:
        raise ValueError(f"chunk_frames must be at least 1, got {chunk_frames}")
    coming = iter(frames)
    held: list[Tensor] = []
    while True:
        held.extend(islice(coming, max(0, chunk_frames - len(held))))
        skipped = int(state.continues)
        if len(held) <= skipped:
            return
        given = torch.stack(held[:chunk_frames])
        try:
            gaussians, state = step(reconstruct, rig, state, given, chunk_frames)
        except torch.OutOfMemoryError:
            if chunk_frames <= 2:
                raise
            chunk_frames = (chunk_frames + 1) // 2
            logger.warning("out of memory: going on with chunks of %d frames", chunk_frames)
            continue
        held = held[len(given) - int(state.continues) :]
        yield Chunk(given[skipped:], gaussians, state, chunk_frames)
