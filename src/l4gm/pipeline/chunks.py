"""The autoregressive loop over chunks of T frames (paper section 4.3).

One chunk is one forward pass. Chunk c covers frames c (T - 1) to c (T - 1) + T - 1: consecutive
chunks share a frame, whose second copy is dropped. View 0 of the input is the video; views 1..3
are four canonical pictures, the same for all time steps, which each chunk renews for the next
from its last set of Gaussians.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
from torch import Tensor

from l4gm.errors import OUT_OF_MEMORY, is_out_of_memory
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.model.protocol import Reconstructor, keeps_views
from l4gm.pipeline.rig import InputRig

logger = logging.getLogger(__name__)


def run_network(
    reconstruct: Reconstructor,
    pictures: Tensor,
    cameras: Cameras,
    present: Tensor | None,
    first: Tensor | None = None,
) -> Gaussians:
    """Call a network with pictures [B, T, V, 3 or 4, S, S]; the fourth channel is alpha."""
    known = {} if first is None else {"first": first}
    if pictures.shape[-3] == 4:
        known["alpha"] = pictures[:, :, :, 3]
    return reconstruct(pictures[:, :, :, :3], cameras, present, **known)


@dataclass(frozen=True)
class ChunkState:
    """What one chunk hands to the next.

    Args:
        views: [4, 3 or 4, S, S] canonical pictures of one moment. Of view 0 no more is used than,
            where `keep` is set, what the video showed then.
        present: [4] bool, which views are known; None for all.
        continues: the next chunk begins with a frame that was already reconstructed.
        keep: hand `views` and `present` on as they are, instead of drawing new views.
    """

    views: Tensor
    present: Tensor | None = None
    continues: bool = False
    keep: bool = False


# A clip's state, and frames [k, 3 or 4, S, S]: what it brings to a forward pass.
ChunkInput = tuple[ChunkState, Tensor]


def reconstruct_chunk(
    reconstruct: Reconstructor, rig: InputRig, state: ChunkState, frames: Tensor, chunk_frames: int
) -> tuple[Gaussians, ChunkState]:
    """One autoregressive step: pure, so that a run can be resumed from any state.

    Args:
        reconstruct: the network.
        rig: the canonical cameras.
        state: from the chunk before, or the first guess.
        frames: [k, 3 or 4, S, S], 1 <= k <= chunk_frames; its first frame is the last of the chunk
            before when `state.continues`. A short chunk is filled up with its last frame.
        chunk_frames: T, the frames of a forward pass.

    Returns:
        Gaussians [k, N], or [k - 1, N] when `state.continues`, and the state for the next chunk.
    """
    return reconstruct_together(reconstruct, rig, [(state, frames)], chunk_frames)[0]


@torch.inference_mode()
def reconstruct_together(
    reconstruct: Reconstructor,
    rig: InputRig,
    inputs: Sequence[ChunkInput],
    chunk_frames: int,
) -> list[tuple[Gaussians, ChunkState]]:
    """One step of several clips, in one forward pass; see `reconstruct_chunk`, which is one's."""
    filled = len(inputs[0][1]) if keeps_views(reconstruct) else chunk_frames
    images = torch.stack([_network_images(*each, chunk_frames, filled) for each in inputs])
    gaussians = run_network(
        reconstruct, images, rig.cameras(), _network_present(inputs), _network_first(inputs)
    )
    results = []
    for index, (state, frames) in enumerate(inputs):
        # A clone, so that no clip keeps all of them in memory.
        clip = gaussians[index].map(torch.clone) if len(inputs) > 1 else gaussians[index]
        if state.keep:
            following = replace(state, continues=chunk_frames > 1)
        else:
            views = rig.draw_all(clip[len(frames) - 1])
            following = ChunkState(views=views, continues=chunk_frames > 1)
        results.append((clip[int(state.continues) : len(frames)], following))
    return results


def _network_images(state: ChunkState, frames: Tensor, chunk_frames: int, filled: int) -> Tensor:
    """[filled, 4, 3 or 4, S, S]: the frames, the last repeated, beside the state's other views.

    Networks that keep views take any T, so that nothing is repeated for them.
    """
    skipped = int(state.continues)
    if not skipped < len(frames) <= chunk_frames:
        raise ValueError(
            f"frames must be {skipped + 1} to {chunk_frames} pictures, got {len(frames)}"
        )
    filler = frames[-1:].expand(filled - len(frames), *frames.shape[1:])
    sides = state.views[1:].expand(filled, *state.views[1:].shape)
    return torch.cat([torch.cat([frames, filler])[:, None], sides], 1)


def _network_present(inputs: Sequence[ChunkInput]) -> Tensor | None:
    """[B, 4] bool, which views each clip knows; None when every clip knows all."""
    if all(state.present is None for state, _ in inputs):
        return None
    return torch.stack(
        [
            torch.ones(len(state.views), dtype=torch.bool, device=state.views.device)
            if state.present is None
            else state.present
            for state, _ in inputs
        ]
    )


def _network_first(inputs: Sequence[ChunkInput]) -> Tensor | None:
    """[B, 3 or 4, S, S], what the videos showed when the side views were taken.

    None when that is each chunk's first frame: views that are renewed belong to it.
    """
    if not any(state.keep for state, _ in inputs):
        return None
    return torch.stack([(state.views if state.keep else frames)[0] for state, frames in inputs])


Step = Callable[
    [Reconstructor, InputRig, Sequence[ChunkInput], int], list[tuple[Gaussians, ChunkState]]
]


@dataclass(frozen=True)
class Chunk:
    """One turn of the loop.

    Args:
        frames: [k, 3 or 4, S, S], the frames that are new in it.
        gaussians: [k, N].
        state: for the next chunk.
        chunk_frames: T for the next chunk.
    """

    frames: Tensor
    gaussians: Gaussians
    state: ChunkState
    chunk_frames: int


class ClipLoop:
    """One clip's side of the loop: what goes into the next forward pass, what came out.

    Args:
        state: as in `reconstruct_chunk`; from the middle of a video, too.
        frames: pictures [3 or 4, S, S], in order, from the first one that the state asks for.
    """

    def __init__(self, state: ChunkState, frames: Iterable[Tensor]) -> None:
        self._state = state
        self._coming = iter(frames)
        self._held: list[Tensor] = []

    def wanted(self, chunk_frames: int) -> ChunkInput | None:
        """The next chunk's input of at most T frames; None at the end of the clip."""
        self._held.extend(islice(self._coming, max(0, chunk_frames - len(self._held))))
        if len(self._held) <= int(self._state.continues):
            return None
        return self._state, torch.stack(self._held[:chunk_frames])

    def take(self, given: Tensor, gaussians: Gaussians, state: ChunkState, turn: int) -> Chunk:
        """The chunk made of the frames that `wanted` gave; `turn` is T."""
        fresh = given[int(self._state.continues) :]
        self._state = state
        self._held = self._held[len(given) - int(state.continues) :]
        return Chunk(fresh, gaussians, state, turn)


def reconstruct_chunks(
    reconstruct: Reconstructor,
    rig: InputRig,
    state: ChunkState,
    frames: Iterable[Tensor],
    chunk_frames: int,
    step: Step = reconstruct_together,
) -> Iterator[Chunk]:
    """Reconstruct a video of any length, holding no more than `chunk_frames` frames of it.

    Args:
        reconstruct, rig: as in `reconstruct_chunk`.
        state, frames: as in `ClipLoop`.
        chunk_frames, step: as in `reconstruct_clips`.

    Yields:
        chunks whose frames are together all frames, each once.
    """
    loops = [ClipLoop(state, frames)]
    for _, chunk in reconstruct_clips(reconstruct, rig, loops, chunk_frames, step):
        yield chunk


def reconstruct_clips(
    reconstruct: Reconstructor,
    rig: InputRig,
    loops: Sequence[ClipLoop],
    chunk_frames: int,
    step: Step = reconstruct_together,
) -> Iterator[tuple[int, Chunk]]:
    """Reconstruct several clips chunk by chunk, each of a forward pass's batch one clip's.

    When a device runs out of memory, first fewer clips go together, then chunks are halved, from
    there on, with a warning.

    Args:
        reconstruct, rig: as in `reconstruct_chunk`.
        loops: the clips.
        chunk_frames: T.
        step: `reconstruct_together`, or a wrapper of it that measures.

    Yields:
        (index of the clip, its next chunk).
    """
    if chunk_frames < 1:
        raise ValueError(f"chunk_frames must be at least 1, got {chunk_frames}")
    together, any_length = len(loops), keeps_views(reconstruct)
    waiting = deque(enumerate(loops))
    while waiting:
        group: list[tuple[int, ClipLoop, ChunkInput]] = []
        held: list[tuple[int, ClipLoop]] = []
        while waiting and len(group) < together:
            index, loop = waiting.popleft()
            wanted = loop.wanted(chunk_frames)
            if wanted is None:
                continue
            if group and any_length and len(wanted[1]) != len(group[0][2][1]):
                held.append((index, loop))
                continue
            group.append((index, loop, wanted))
        waiting.extendleft(reversed(held))
        if not group:
            return
        try:
            results = step(reconstruct, rig, [wanted for *_, wanted in group], chunk_frames)
        except OUT_OF_MEMORY as error:
            if not is_out_of_memory(error) or (len(group) == 1 and chunk_frames <= 2):
                raise
            if len(group) > 1:
                together = (len(group) + 1) // 2
                logger.warning("out of memory: going on with %d clips at a time", together)
            else:
                chunk_frames = (chunk_frames + 1) // 2
                logger.warning("out of memory: going on with chunks of %d frames", chunk_frames)
            waiting.extendleft((index, loop) for index, loop, _ in reversed(group))
            continue
        for (index, loop, (_, frames)), result in zip(group, results, strict=True):
            yield index, loop.take(frames, *result, chunk_frames)
        waiting.extend((index, loop) for index, loop, _ in group)
