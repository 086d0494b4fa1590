"""The way of one video through the stages, piece by piece, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.model.protocol import Reconstructor
from l4gm.multiview.protocol import MultiViewGenerator
from l4gm.pipeline.ahead import ahead
from l4gm.pipeline.chunks import (
    Chunk,
    ChunkState,
    ClipLoop,
    reconstruct_clips,
    reconstruct_together,
)
from l4gm.pipeline.first_guess import state_from_aligned_views, state_with_missing_views
from l4gm.pipeline.frames import (
    FrameSource,
    check_pictures,
    checked_frames,
    match_alpha,
    resized,
)
from l4gm.pipeline.interpolate import RATE, Interpolator, Last, interpolated_length
from l4gm.pipeline.report import PipelineReport, Progress
from l4gm.pipeline.rig import InputRig


@dataclass(frozen=True, kw_only=True)
class Stages:
    """What a stream is made of.

    Args:
        reconstruct: the reconstruction network.
        interpolate: as `interpolation` in `VideoTo4D`.
        multiview: the generator of views, or None.
        rig: the canonical cameras.
        chunk_frames, pairs_per_batch, renew_views: as in `VideoTo4D`.
        views: [4, 3 or 4, S, S] given views of the first frame, or None.
        known: [4] bool, which of them are given; None for all.
        align: whether they are to be turned to match the first frame.
        seed: for the generator of views.
    """

    reconstruct: Reconstructor
    interpolate: Reconstructor | None
    multiview: MultiViewGenerator | None
    rig: InputRig
    chunk_frames: int
    pairs_per_batch: int
    renew_views: bool
    views: Tensor | None
    known: Tensor | None
    align: bool
    seed: int


@dataclass(frozen=True, kw_only=True)
class StreamPosition:
    """Where a stream stands after a piece: all that is needed to go on from there.

    Args:
        num_frames: frames of the video that are done.
        state: for the next chunk.
        chunk_frames: T of the next chunk.
        last: what interpolation keeps of the last frame (`Interpolator.last`), or None.
    """

    num_frames: int
    state: ChunkState
    chunk_frames: int
    last: Last | None

    def to(self, device: torch.device) -> StreamPosition:
        """The same on another device."""
        state = self.state
        present = None if state.present is None else state.present.to(device)
        return replace(
            self,
            state=replace(state, views=state.views.to(device), present=present),
            last=None if self.last is None else tuple(part.to(device) for part in self.last),
        )


class SequenceStream(Iterator[GaussianSequence]):
    """The pieces of a result, in order; made by `VideoTo4D.stream`.

    Attributes:
        num_frames: how many frames all pieces hold together.
        fps: their rate.
        camera: [], the input video's camera.
        with_alpha: whether the networks are told the video's alpha.
        report: what has been done so far.
        position: where the stream stands; give it to `VideoTo4D.stream` to go on from there with
            the same result. None before the first piece.
    """

    def __init__(
        self,
        source: FrameSource,
        stages: Stages,
        progress: Progress,
        report: PipelineReport,
        resume: StreamPosition | None = None,
    ) -> None:
        interpolated = stages.interpolate is not None
        count = source.num_frames
        self.num_frames = interpolated_length(count) if interpolated else count
        self.fps = source.fps * RATE if interpolated else source.fps
        self.camera = stages.rig.cameras(stages.rig.render_size)[0]
        self.with_alpha = stages.rig.with_alpha
        self.report = report
        self.position = None if resume is None else resume.to(stages.rig.device)
        self._source = source
        self._stages = stages
        self._progress = progress
        self._device = stages.rig.device
        self._interpolator: Interpolator | None = None
        if stages.interpolate is not None:
            last = None if self.position is None else self.position.last
            self._interpolator = Interpolator(
                stages.interpolate, stages.rig, stages.pairs_per_batch, last
            )
        self._pieces = (piece for _, piece in run_together([self]))

    def __next__(self) -> GaussianSequence:
        return next(self._pieces)

    @property
    def _chunk_frames(self) -> int:
        """T of the first chunk to come."""
        return self._stages.chunk_frames if self.position is None else self.position.chunk_frames

    def _begin(self) -> ClipLoop:
        """The chunk loop from where the stream stands, its first guess made."""
        position = self.position
        if position is not None:
            self.report.num_frames = position.num_frames
            frames = self._frames(position.num_frames - int(position.state.continues))
            return ClipLoop(position.state, frames)
        coming = self._frames(0)
        first = next(coming, None)
        if first is None:
            raise InputError("frames: the video has no frames, expected at least one")
        return ClipLoop(self._first_state(first), chain([first], coming))

    def _take(self, chunk: Chunk) -> Iterator[GaussianSequence]:
        """What is now known: a piece, or none yet."""
        report, total = self.report, self._source.num_frames
        report.num_frames += len(chunk.frames)
        report.num_chunks += 1
        self._progress("reconstruct", report.num_frames, total)
        known: Gaussians | None = chunk.gaussians
        last = None
        if self._interpolator is not None:
            with report.stage("interpolate", self._device):
                known = self._interpolator.push(chunk.frames, chunk.gaussians)
            last = self._interpolator.last
            self._progress("interpolate", report.num_frames, total)
        if known is not None:
            self.position = StreamPosition(
                num_frames=report.num_frames,
                state=chunk.state,
                chunk_frames=chunk.chunk_frames,
                last=last,
            )
            yield self._piece(known)

    def _finish(self) -> Iterator[GaussianSequence]:
        """What is still owed when there are no more chunks."""
        owed = None if self._interpolator is None else self._interpolator.finish()
        if owed is not None:
            yield self._piece(owed)

    def _piece(self, gaussians: Gaussians) -> GaussianSequence:
        # A clone made outside inference mode is a normal tensor, which autograd accepts.
        piece = GaussianSequence(gaussians.map(torch.clone), self.fps, self.camera)
        self.report.num_output_frames += len(piece)
        return piece

    def _first_state(self, frame: Tensor) -> ChunkState:
        """The canonical views of the first frame [3 or 4, S, S], by the road that is open."""
        stages, report, total = self._stages, self.report, self._source.num_frames
        views, origin = stages.views, "given"
        if views is None and stages.multiview is not None:
            self._progress("views", 0, total)
            with report.stage("views", self._device):
                views, origin = self._generate(stages.multiview, frame), "generated"
        if views is None or stages.known is not None:
            report.first_guess = "video alone" if views is None else "some given"
            return self._kept(state_with_missing_views(frame, views, stages.known), frame)
        if origin == "given" and not stages.align:
            report.first_guess = origin
            return self._kept(ChunkState(views=views), frame)
        report.first_guess = f"{origin}, aligned"
        self._progress("align", 0, total)
        state = state_from_aligned_views(stages.reconstruct, stages.rig, frame, views, report)
        return self._kept(state, frame)

    def _kept(self, state: ChunkState, frame: Tensor) -> ChunkState:
        """The state, kept for all chunks unless views are renewed.

        Its view 0 is then the video's own picture: networks compare later ones with it, and a drawn
        or generated one would look like motion.
        """
        if self._stages.renew_views:
            return state
        front = torch.cat([frame[:3], state.views[0, 3:]])
        return replace(state, views=torch.cat([front[None], state.views[1:]]), keep=True)

    @torch.inference_mode()
    def _generate(self, multiview: MultiViewGenerator, frame: Tensor) -> Tensor:
        views = multiview(frame[:3], elevation=self._stages.rig.elevation, seed=self._stages.seed)
        check_pictures(views, "generated views", "[4, 3, H, W]")
        views = resized(views.to(frame).clamp(0, 1), self._stages.rig.size)
        return match_alpha(views, self.with_alpha)

    def _frames(self, start: int) -> Iterator[Tensor]:
        """The checked frames; the time spent waiting for them goes to "prepare"."""
        made = checked_frames(self._source, self._stages.rig.size, self._device, start)
        # While one chunk is computed the next one's frames are decoded.
        frames = ahead(made, self._stages.chunk_frames)
        while True:
            with self.report.stage("prepare", self._device):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def run_together(
    streams: Sequence[SequenceStream],
) -> Iterator[tuple[int, GaussianSequence]]:
    """Advance several streams chunk by chunk, all their chunks in one forward pass.

    Args:
        streams: of the same networks, cameras and T, all with alpha or all without. The time of a
            common forward pass counts in the report of each.

    Yields:
        (index of the stream, its next piece).
    """
    stages = streams[0]._stages

    def timed_step(*args: Any) -> list[tuple[Gaussians, ChunkState]]:
        with ExitStack() as stack:
            for stream in streams:
                stack.enter_context(stream.report.stage("reconstruct", stages.rig.device))
            return reconstruct_together(*args)

    loops = [stream._begin() for stream in streams]
    chunks = reconstruct_clips(
        stages.reconstruct, stages.rig, loops, streams[0]._chunk_frames, timed_step
    )
    for index, chunk in chunks:
        for piece in streams[index]._take(chunk):
            yield index, piece
    for index, stream in enumerate(streams):
        for piece in stream._finish():
            yield index, piece
