"""One video in, one set of Gaussians per frame out: the whole pipeline behind one call."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.media.matte import on_white
from l4gm.model.l4gm import L4GM
from l4gm.model.protocol import (
    Reconstructor,
    interpolates_images,
    keeps_views,
    works_from_video_alone,
)
from l4gm.model.sources import is_solid, load_pretrained, resolve_weights
from l4gm.model.weights import read_header
from l4gm.multiview.protocol import MultiViewGenerator
from l4gm.pipeline.between import FramesBetween
from l4gm.pipeline.device import Precision, device_of, find_device, find_precision
from l4gm.pipeline.frames import (
    DEFAULT_FPS,
    FrameSource,
    TensorFrames,
    check_fps,
    check_pictures,
    knows_alpha,
    match_alpha,
    resized,
)
from l4gm.pipeline.report import PipelineReport, Progress, SharedProgress
from l4gm.pipeline.rig import NUM_VIEWS, STAGE_SIZE, InputRig, Shrink
from l4gm.pipeline.stream import SequenceStream, Stages, StreamPosition, run_together
from l4gm.solid.model import SolidModel

logger = logging.getLogger(__name__)

# Metadata of a reconstruction weight file: the T that the network works best with.
CHUNK_FRAMES_KEY = "chunk_frames"

Frames = str | os.PathLike[str] | Tensor | FrameSource


class VideoTo4D:
    """Reconstructs an animated object from a video of it.

    Args:
        reconstruction: the network, `L4GM` or alike.
        interpolation: the network that puts two frames between each pair; None for none.
        multiview: makes the other views of the first frame; None for none.
        chunk_frames: T, the frames of one forward pass.
        render_size: pixels at which the views that are handed on are drawn.
        stage_size: width and height of the pictures that stages hand on, frames included; the
            networks bring them to their own input size.
        shrink: how drawn views are brought to `stage_size`: "nearest" (released) or "area".
        pairs_per_batch: pairs that are interpolated in one forward pass.
        renew_views: draw the canonical views anew from each chunk for the next, as in the paper, or
            keep those of the first frame; by default as the network wants it (`keeps_views`).
        device: where to run; by default where the network is.

    Raises:
        ValueError: sizes below 1.
    """

    def __init__(
        self,
        reconstruction: Reconstructor,
        interpolation: Reconstructor | None = None,
        multiview: MultiViewGenerator | None = None,
        chunk_frames: int = 16,
        render_size: int = 512,
        *,
        stage_size: int = STAGE_SIZE,
        shrink: Shrink = "nearest",
        pairs_per_batch: int = 4,
        renew_views: bool | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        for name, value in [
            ("chunk_frames", chunk_frames),
            ("render_size", render_size),
            ("stage_size", stage_size),
            ("pairs_per_batch", pairs_per_batch),
        ]:
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.reconstruction = reconstruction
        self.interpolation = interpolation
        self.multiview = multiview
        self.chunk_frames = chunk_frames
        self.render_size = render_size
        self.stage_size = stage_size
        self.shrink: Shrink = shrink
        self.pairs_per_batch = pairs_per_batch
        self.renew_views = not keeps_views(reconstruction) if renew_views is None else renew_views
        self.device = torch.device(device) if device is not None else device_of(reconstruction)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] = "mini",
        *,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool = False,
        **options: Any,
    ) -> VideoTo4D:
        """A pipeline with trained networks.

        Args:
            name: "mini" (bundled), "official" (the paper's, from the hub), or a folder.
            device: "auto" (CUDA, else MPS, else CPU) or a torch device.
            precision: of the networks; "auto" is float16 on CUDA, as released, else float32, and
                for the bundled model bfloat16 wherever the device computes in it.
                Gaussians and pictures are float32 always.
            compile: pass the U-Nets of `L4GM`s through torch.compile. The first pass of each kind
                then takes a minute or more, so it pays for many clips in one process.
            options: further arguments of the constructor. `chunk_frames` is by default what the
                weight file says, else 16, or 1 for LGM, which has no temporal attention.

        Raises:
            InputError: weights that cannot be found or do not fit, or a device that is not there.
        """
        place = find_device(device)
        files = resolve_weights(name)
        header = read_header(files.recon)
        trained_frames = header.metadata.get(CHUNK_FRAMES_KEY)
        if trained_frames is not None:
            if not (trained_frames.isdecimal() and int(trained_frames) > 0):
                raise InputError(
                    f"weights {files.recon}: {CHUNK_FRAMES_KEY} in the metadata is "
                    f"{trained_frames!r}, expected a whole number of frames"
                )
            options.setdefault("chunk_frames", int(trained_frames))
        elif not is_solid(header) and not any(".t_attns." in name for name in header.shapes):
            options.setdefault("chunk_frames", 1)  # LGM: a network of single moments
        dtype = find_precision(precision, place)

        def network(kind: Literal["recon", "interp"]) -> nn.Module:
            model = load_pretrained(name, kind, place)
            if isinstance(model, SolidModel):  # geometry stays in float32
                if precision != "auto":
                    model.arithmetic = dtype
                return model
            model = model.to(dtype)
            if compile and isinstance(model, L4GM):
                model.unet.compile(dynamic=False)
            return model

        between = None if files.interp is None else network("interp")
        return cls(network("recon"), between, device=place, **options)

    @overload
    def __call__(self, frames: Frames, **options: Any) -> GaussianSequence: ...

    @overload
    def __call__(
        self, frames: list[Any] | tuple[Any, ...], **options: Any
    ) -> list[GaussianSequence]: ...

    def __call__(
        self, frames: Frames | list[Any] | tuple[Any, ...], **options: Any
    ) -> GaussianSequence | list[GaussianSequence]:
        """Reconstruct a whole video, or a list of videos as a batch.

        Args:
            frames: a video, or a list of videos, one object each; see `stream`, and for long
                videos use it.
            options: as in `stream` (without `resume`), the same for all; of a list, `views`,
                `present` and `report` are lists, too, one entry (or None) each.

        Returns:
            GaussianSequence [T], or [3 (T - 1) + 1] at three times the rate when interpolated; a
            list of them for a list.
        """
        if isinstance(frames, list | tuple):
            return self._batch(frames, **options)
        stream = self.stream(frames, **options)
        pieces = [piece.gaussians for piece in stream]
        return GaussianSequence(Gaussians.cat(pieces), stream.fps, stream.camera)

    def _batch(
        self,
        clips: Sequence[Frames],
        *,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[GaussianSequence]:
        """Reconstruct clips together: each forward pass takes the next chunk of every clip."""
        own: dict[str, Sequence[Any]] = {}
        for name in ("views", "present", "report"):
            given = options.pop(name, None)
            if given is None:
                given = [None] * len(clips)
            if not isinstance(given, list | tuple) or len(given) != len(clips):
                raise InputError(f"{name}: expected a list of {len(clips)}, one for each video")
            own[name] = given
        shared = SharedProgress(progress or _no_progress)
        streams = [
            self.stream(
                clip,
                progress=shared.of(index),
                **{name: values[index] for name, values in own.items()},
                **options,
            )
            for index, clip in enumerate(clips)
        ]
        pieces: list[list[Gaussians]] = [[] for _ in streams]
        for with_alpha in (False, True):  # a forward pass is told of all its clips or of none
            group = [i for i, stream in enumerate(streams) if stream.with_alpha == with_alpha]
            if group:
                for index, piece in run_together([streams[i] for i in group]):
                    pieces[group[index]].append(piece.gaussians)
        return [
            GaussianSequence(Gaussians.cat(parts), stream.fps, stream.camera)
            for parts, stream in zip(pieces, streams, strict=True)
        ]

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
        seed: int = 0,
        progress: Progress | None = None,
        report: PipelineReport | None = None,
        resume: StreamPosition | None = None,
    ) -> SequenceStream:
        """Reconstruct a video piece by piece, in memory that does not grow with its length.

        Args:
            frames: a video's path (it goes through `prepare`), a prepared video, or a tensor in
                [0, 1], taken as prepared, one object, centred: [T, 3, H, H] on white, or better
                [T, 4, H, H] RGBA (colour not multiplied by alpha), which tells white parts of the
                object from background.
            fps: frames per second of what is given; by default the video's, or 15 for a tensor.
            views: [4, 3, H, H] on white or [4, 4, H, H] RGBA in [0, 1], the object at the first
                frame's moment from azimuth 0, 90, 180, 270; made by the multi-view generator, if
                there is one, when not given. Their alpha counts if that of the frames is known.
            present: [4] bool, which of `views` are given; the others' pictures are not looked at.
            interpolate: put two frames between each pair, if the model has a way to.
            align: take given views as turned by an unknown azimuth against the video, as a
                generator's are, and find it. False when they are exactly the rig's.
            elevation: degrees by which the camera stands above the object.
            seed: for the generator of views.
            progress: called with (stage, frames done, frames in all).
            report: filled with times and what was done.
            resume: `position` of an earlier stream of the same video with the same settings.

        Returns:
            an iterator of GaussianSequence pieces; it knows `num_frames`, `fps` and `camera`.

        Raises:
            InputError: frames or views of a wrong shape or range, or no views for a network that
                needs them. Faults in later frames are raised when these are reached.
        """
        if not -90 < elevation < 90:
            raise InputError(f"elevation: expected degrees between -90 and 90, got {elevation}")
        known = check_views(views, present)
        self._check_missing(views, known)
        source = _source(frames, fps)
        with_alpha = knows_alpha(source)
        if views is not None:
            views = on_white(views.to(self.device, torch.float32).clamp(0, 1))
            views = match_alpha(resized(views, self.stage_size), with_alpha)
        between = self.interpolation if interpolate else None
        if interpolate and between is None and interpolates_images(self.reconstruction):
            source = FramesBetween(source, self.stage_size)
        elif interpolate and between is None:
            logger.info("this model has no interpolation network: the frame rate stays as it is")
        stages = Stages(
            reconstruct=self.reconstruction,
            interpolate=between,
            multiview=self.multiview,
            rig=InputRig(
                elevation=elevation,
                size=self.stage_size,
                render_size=self.render_size,
                shrink=self.shrink,
                with_alpha=with_alpha,
                device=self.device,
            ),
            chunk_frames=self.chunk_frames,
            pairs_per_batch=self.pairs_per_batch,
            renew_views=self.renew_views,
            views=views,
            known=None if known is None else known.to(self.device),
            align=align,
            seed=seed,
        )
        report = PipelineReport() if report is None else report
        return SequenceStream(source, stages, progress or _no_progress, report, resume)

    def _check_missing(self, views: Tensor | None, known: Tensor | None) -> None:
        """Raise InputError if views are missing that this network cannot do without."""
        if works_from_video_alone(self.reconstruction):
            return
        if known is not None:
            raise InputError(
                "views: this model needs all four views of the first frame; give all four, "
                "or use a model that works without (--model mini)"
            )
        if views is None and self.multiview is None:
            raise InputError(
                "views: this model cannot start from the video alone; give four views of the "
                "first frame (--views DIR), install the generator (pip install 'l4gm[multiview]') "
                "or use a model that works without (--model mini)"
            )


def check_views(views: Tensor | None, present: Tensor | Sequence[bool] | None) -> Tensor | None:
    """Which views are given: [4] bool, or None if none or all are.

    Raises:
        InputError: not four square pictures in [0, 1], or flags that do not go with them.
    """
    if views is None:
        if present is not None:
            raise InputError("present: says which views are given, but no views are given")
        return None
    if views.ndim != 4 or len(views) != NUM_VIEWS:
        raise InputError(
            f"views: expected {NUM_VIEWS} pictures [4, 3 or 4, H, W] (azimuth 0, 90, 180, 270), "
            f"got {list(views.shape)}"
        )
    check_pictures(views, "views", "[4, 3 or 4, H, W]", channels=(3, 4))
    if present is None:
        return None
    known = torch.as_tensor(present, dtype=torch.bool).cpu()
    if known.shape != (NUM_VIEWS,):
        raise InputError(f"present: expected {NUM_VIEWS} flags, got {list(known.shape)}")
    return None if known.all() else known


def _source(frames: Frames, fps: float | None) -> FrameSource:
    if fps is not None:
        check_fps(fps)
    if isinstance(frames, Tensor):
        return TensorFrames(frames, DEFAULT_FPS if fps is None else fps)
    if isinstance(frames, str | os.PathLike):
        from l4gm.pipeline.prepare import prepare_video

        return prepare_video(Path(frames), fps=fps)
    return frames if fps is None else _Retimed(frames, fps)


class _Retimed:
    """A prepared video played at another rate."""

    def __init__(self, source: FrameSource, fps: float) -> None:
        self.fps = fps
        self.num_frames = source.num_frames
        self.frames = source.frames
        self.has_alpha = knows_alpha(source)
        if knows_alpha(source):
            self.cutouts = source.cutouts


def _no_progress(stage: str, done: int, total: int) -> None:
    """Nobody watches."""
