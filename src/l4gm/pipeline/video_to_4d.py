"""One video in, one set of Gaussians per frame out: the whole pipeline behind one call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import Cameras
from l4gm.pipeline.chunks import ChunkState, Reconstruct, reconstruct_chunk, reconstruct_chunks
from l4gm.pipeline.first_guess import (
    MissingViews,
    state_from_aligned_views,
    state_with_missing_views,
)
from l4gm.pipeline.frames import (
    DEFAULT_FPS,
    FrameSource,
    TensorFrames,
    check_fps,
    check_pictures,
    checked_frames,
    to_stage_size,
)
from l4gm.pipeline.interpolate import RATE, Interpolator, interpolated_length
from l4gm.pipeline.report import PipelineReport, Progress
from l4gm.pipeline.rig import NUM_VIEWS, InputRig

logger = logging.getLogger(__name__)

Frames = str | os.PathLike[str] | Tensor | FrameSource


class MultiView(Protocol):
    """Makes four orthogonal views of the object in one picture."""

    def __call__(self, image: Tensor, /) -> Tensor:
        """image [3, S, S] in [0, 1] on white -> [4, 3, S, S] at azimuth 0, 90, 180, 270."""
        ...


class VideoTo4D:
    """Reconstructs an animated object from a video of it.

    Args:
        reconstruction: the network, `L4GM` or alike.
        interpolation: the network that puts two frames between each pair; None for none.
        multiview: makes the other views of the first frame; None for none.
        chunk_frames: T, the frames of one forward pass.
        render_size: pixels at which the views that are handed on are drawn.
        pairs_per_batch: pairs that are interpolated in one forward pass.
        missing_views: how to start without views, with a network trained for that: from a first
            guess of the "first frame" alone, or with the "first chunk" without views.
        device: where to run; by default where the network is.

    Raises:
        ValueError: sizes below 1.
    """

    def __init__(
        self,
        reconstruction: Reconstruct,
        interpolation: Reconstruct | None = None,
        multiview: MultiView | None = None,
        chunk_frames: int = 16,
        render_size: int = 512,
        *,
        pairs_per_batch: int = 4,
        missing_views: MissingViews = "first frame",
        device: torch.device | str | None = None,
    ) -> None:
        for name, value in [
            ("chunk_frames", chunk_frames),
            ("render_size", render_size),
            ("pairs_per_batch", pairs_per_batch),
        ]:
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.reconstruction = reconstruction
        self.interpolation = interpolation
        self.multiview = multiview
        self.chunk_frames = chunk_frames
        self.render_size = render_size
        self.pairs_per_batch = pairs_per_batch
        self.missing_views: MissingViews = missing_views
        self.device = torch.device(device) if device is not None else _device_of(reconstruction)

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str] = "mini", *, device: str = "auto", **options: Any
    ) -> VideoTo4D:
        """A pipeline with trained networks.

        Args:
            name: "mini" (bundled), "official" (the paper's, from the hub), or a folder.
            device: "auto" (CUDA, else MPS, else CPU) or a torch device.
            options: further arguments of the constructor.

        Raises:
            InputError: weights that cannot be found or do not fit, or a device that is not there.
        """
        from l4gm.model.l4gm import L4GM

        place = find_device(device)
        reconstruction = L4GM.from_pretrained(name, kind="recon", device=place)
        interpolation = L4GM.from_pretrained(name, kind="interp", device=place)
        return cls(reconstruction, interpolation, device=place, **options)

    def __call__(
        self,
        frames: Frames,
        *,
        fps: float | None = None,
        views: Tensor | None = None,
        present: Tensor | Sequence[bool] | None = None,
        interpolate: bool = True,
        align: bool = True,
        elevation: float = 0.0,
        progress: Progress | None = None,
        report: PipelineReport | None = None,
    ) -> GaussianSequence:
        """Reconstruct a whole video; see `stream` for arguments, and for long videos.

        Returns:
            GaussianSequence [T], or [3 (T - 1) + 1] at three times the rate when interpolated.
        """
        stream = self.stream(
            frames,
            fps=fps,
            views=views,
            present=present,
            interpolate=interpolate,
            align=align,
            elevation=elevation,
            progress=progress,
            report=report,
        )
        pieces = [piece.gaussians for piece in stream]
        return GaussianSequence(Gaussians.cat(pieces), stream.fps, stream.camera)

    def stream(
        self,
        frames: Frames,
        *,
        fps: float | None = None,
        views: Tensor | None = None,
        present: Tensor | Sequence[bool] | None = None,
        interpolate: bool = True,
        align: bool = True,
        elevation: float = 0.0,
        progress: Progress | None = None,
        report: PipelineReport | None = None,
    ) -> SequenceStream:
        """Reconstruct a video piece by piece, in memory that does not grow with its length.

        Args:
            frames: a video's path (it goes through `prepare`), a prepared video, or a tensor
                [T, 3, H, H] in [0, 1], taken as prepared: one object, centred, on white.
            fps: frames per second; by default the video's, or 15 for a tensor.
            views: [4, 3, H, H] in [0, 1], the object at the first frame's moment from azimuth
                0, 90, 180, 270; made by the multi-view generator, if there is one, when not given.
            present: [4] bool, which of `views` are given; the others' pictures are not looked at.
            interpolate: put two frames between each pair, if there is a network for it.
            align: take given views as turned by an unknown azimuth against the video, as a
                generator's are, and find it. False when they are exactly the rig's.
            elevation: degrees by which the camera stands above the object.
            progress: called with (stage, frames done, frames in all).
            report: filled with times and what was done.

        Returns:
            an iterator of GaussianSequence pieces; it knows `num_frames`, `fps` and `camera`.

        Raises:
            InputError: frames or views of a wrong shape or range, or no views for a network that
                needs them. Faults in later frames are raised when these are reached.
        """
        source = _source(frames, fps)
        rig = InputRig(elevation=elevation, render_size=self.render_size, device=self.device)
        known = _check_views(views, present)
        if views is not None:
            views = to_stage_size(views.float().clamp(0, 1)).to(self.device)
        if known is not None:
            known = known.to(self.device)
        if (views is None or known is not None) and not self._knows_missing_views():
            if known is not None:
                raise InputError(
                    "views: this model needs all four views; give four, or use a model trained "
                    "with missing views (mini)"
                )
            if self.multiview is None:
                raise InputError(
                    "views: this model cannot work from the video alone; give the four views of "
                    "the first frame (--views), or install a generator: pip install l4gm[multiview]"
                )
        if interpolate and self.interpolation is None:
            logger.info("this model has no interpolation network: the frame rate stays as it is")
        run = _Run(
            self,
            rig=rig,
            views=views,
            known=known,
            align=align,
            total=source.num_frames,
            progress=progress or _no_progress,
            report=report if report is not None else PipelineReport(),
        )
        return SequenceStream(source, rig, run, interpolate and self.interpolation is not None)

    def _knows_missing_views(self) -> bool:
        config = getattr(self.reconstruction, "config", None)
        return bool(getattr(config, "missing_views", False))


class SequenceStream(Iterator[GaussianSequence]):
    """The pieces of a result, in order; made by `VideoTo4D.stream`.

    Attributes:
        num_frames: how many frames all pieces hold together.
        fps: their rate.
        camera: [], the input video's camera.
        report: what has been done so far.
    """

    def __init__(self, source: FrameSource, rig: InputRig, run: _Run, interpolate: bool) -> None:
        self.num_frames = (
            interpolated_length(source.num_frames) if interpolate else source.num_frames
        )
        self.fps = source.fps * RATE if interpolate else source.fps
        self.camera = rig.cameras(rig.render_size)[0]
        self.report = run.report
        self._pieces = run.pieces(source, interpolate)

    def __next__(self) -> GaussianSequence:
        gaussians = next(self._pieces)
        # A clone made outside inference mode is a normal tensor, which autograd accepts.
        piece = GaussianSequence(gaussians.map(torch.clone), self.fps, self.camera)
        self.report.num_output_frames += len(piece)
        return piece


class _Run:
    """One video on its way through the stages."""

    def __init__(
        self,
        pipeline: VideoTo4D,
        *,
        rig: InputRig,
        views: Tensor | None,
        known: Tensor | None,
        align: bool,
        total: int,
        progress: Progress,
        report: PipelineReport,
    ) -> None:
        self.pipeline = pipeline
        self.rig = rig
        self.views = views
        self.known = known
        self.align = align
        self.total = total
        self.progress = progress
        self.report = report

    def pieces(self, source: FrameSource, interpolate: bool) -> Iterator[Gaussians]:
        """Gaussians [k, N] of consecutive output frames."""
        frames = checked_frames(source, self.rig.device)
        chunks = self._chunks(self._timed(frames))
        if not interpolate:
            for _, gaussians in chunks:
                yield gaussians
            return
        assert self.pipeline.interpolation is not None
        interpolator = Interpolator(
            _in_half_precision(self.pipeline.interpolation, self.rig.device),
            self.rig,
            self.pipeline.pairs_per_batch,
        )
        for pictures, gaussians in chunks:
            with self.report.stage("interpolate", self.rig.device):
                known = interpolator.push(pictures, gaussians)
            self.progress("interpolate", self.report.num_frames, self.total)
            if known is not None:
                yield known
        owed = interpolator.finish()
        if owed is not None:
            yield owed

    def _chunks(self, frames: Iterator[Tensor]) -> Iterator[tuple[Tensor, Gaussians]]:
        """Frames [k, 3, S, S] and their Gaussians [k, N], chunk by chunk."""
        first = next(frames)
        reconstruct = _in_half_precision(self.pipeline.reconstruction, self.rig.device)
        state = self._first_state(reconstruct, first)
        steps = reconstruct_chunks(
            reconstruct,
            self.rig,
            state,
            chain([first], frames),
            self.pipeline.chunk_frames,
            step=self._timed_step,
        )
        for pictures, gaussians in steps:
            self.report.num_frames += len(pictures)
            self.report.num_chunks += 1
            self.progress("reconstruct", self.report.num_frames, self.total)
            yield pictures, gaussians

    def _first_state(self, reconstruct: Reconstruct, frame: Tensor) -> ChunkState:
        pipeline, report = self.pipeline, self.report
        views, origin = self.views, "given"
        if views is None and pipeline.multiview is not None:
            self.progress("views", 0, self.total)
            with report.stage("views", self.rig.device), torch.inference_mode():
                views, origin = pipeline.multiview(frame), "generated"
            check_pictures(views, "generated views", "[4, 3, H, W]")
            views = to_stage_size(views.to(frame).clamp(0, 1))
        if views is None or self.known is not None:
            report.first_guess = pipeline.missing_views
            self.progress("first guess", 0, self.total)
            return state_with_missing_views(
                reconstruct, self.rig, frame, views, self.known, pipeline.missing_views, report
            )
        if origin == "given" and not self.align:
            report.first_guess = "given"
            return ChunkState(views=views)
        report.first_guess = f"{origin}, aligned"
        self.progress("align", 0, self.total)
        return state_from_aligned_views(reconstruct, self.rig, frame, views, report)

    def _timed_step(self, *args: Any) -> tuple[Gaussians, ChunkState]:
        with self.report.stage("reconstruct", self.rig.device):
            return reconstruct_chunk(*args)

    def _timed(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """The same frames; the time spent waiting for them goes to "prepare"."""
        while True:
            with self.report.stage("prepare", self.rig.device):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def find_device(name: str) -> torch.device:
    """The torch device of a name; "auto" is CUDA where there is one, else MPS, else the CPU.

    Raises:
        InputError: a name that torch does not know, or a device that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device {name!r} cannot be used ({reason}); expected auto, cpu, cuda or mps"
        ) from error
    return device


def _in_half_precision(network: Reconstruct, device: torch.device) -> Reconstruct:
    """The network, in float16 where that pays (CUDA), as the released code runs it."""

    def run(images: Tensor, cameras: Cameras, present: Tensor | None = None, /) -> Gaussians:
        context: AbstractContextManager[Any] = nullcontext()
        if device.type == "cuda":
            context = torch.autocast("cuda", torch.float16)
        with context:
            return network(images, cameras, present).to(torch.float32)

    return run


def _device_of(network: Any) -> torch.device:
    if isinstance(network, torch.nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


def _source(frames: Frames, fps: float | None) -> FrameSource:
    if fps is not None:
        check_fps(fps)
    if isinstance(frames, Tensor):
        return TensorFrames(frames, DEFAULT_FPS if fps is None else fps)
    if isinstance(frames, str | os.PathLike):
        from l4gm.pipeline.prepare import prepare

        frames = prepare(Path(frames))
    return frames if fps is None else _Retimed(frames, fps)


class _Retimed:
    """A prepared video played at another rate."""

    def __init__(self, source: FrameSource, fps: float) -> None:
        self.fps = fps
        self.num_frames = source.num_frames
        self.frames = source.frames


def _check_views(views: Tensor | None, present: Tensor | Sequence[bool] | None) -> Tensor | None:
    """[4] bool if some views are missing, else None."""
    if views is None:
        if present is not None:
            raise InputError("present: says which views are given, but no views are given")
        return None
    if views.ndim != 4 or len(views) != NUM_VIEWS:
        raise InputError(
            f"views: expected {NUM_VIEWS} pictures [4, 3, H, W] (azimuth 0, 90, 180, 270), "
            f"got {list(views.shape)}"
        )
    check_pictures(views, "views", "[4, 3, H, W]")
    known = torch.ones(NUM_VIEWS, dtype=torch.bool)
    if present is not None:
        known = torch.as_tensor(present, dtype=torch.bool, device="cpu")
        if known.shape != (NUM_VIEWS,):
            raise InputError(f"present: expected {NUM_VIEWS} flags, got {list(known.shape)}")
    return None if known.all() else known


def _no_progress(stage: str, done: int, total: int) -> None:
    """Nobody watches."""
