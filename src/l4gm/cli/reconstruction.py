"""The work behind `l4gm reconstruct`: every stage, and the files of a result folder."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from l4gm import __version__
from l4gm.cli.assets import SEQUENCE_NAME, open_asset
from l4gm.cli.frame_tape import FrameTape
from l4gm.cli.output_folder import REPORT_NAME
from l4gm.cli.turntable import Shot, film, shot_fps
from l4gm.gaussians.frame_folder import frame_name, write_index
from l4gm.gaussians.ply import write_ply
from l4gm.gaussians.sequence_file import SequenceWriter
from l4gm.media.video import probe_video, write_video
from l4gm.model.l4gm import L4GM
from l4gm.model.sources import resolve_weights
from l4gm.model.weights import file_sha256
from l4gm.multiview.given import read_given_views
from l4gm.multiview.imagedream import ImageDream
from l4gm.multiview.imagedream_parts import HUB_NAME
from l4gm.pipeline.device import find_device
from l4gm.pipeline.prepare import PreparedVideo, prepare_video
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.rig import STAGE_SIZE
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.viewer.player import write_player

if TYPE_CHECKING:
    from l4gm.cli.reconstruct import Options

logger = logging.getLogger(__name__)

INPUT_NAME = "input.mp4"  # the prepared frames, as the network saw them


class Reconstruction:
    """One run, writing into a folder that is not yet under its final name.

    Args:
        options: the command line.
        folder: takes frame_0000.ply ..., sequence.json, sequence.safetensors, input.mp4, orbit.mp4,
            index.html and report.json.
        progress: called with (stage, done, total).
    """

    def __init__(
        self, options: Options, folder: Path, progress: Callable[[str, int, int], None]
    ) -> None:
        self.options = options
        self.folder = folder
        self.progress = progress
        self.report = PipelineReport()
        self.began = time.perf_counter()
        self.found: dict[str, Any] = {}

    def run(self) -> None:
        """Every stage, in order; nothing is kept in memory but the chunk at work."""
        options = self.options
        torch.manual_seed(options.seed)
        device = find_device(options.device)
        self.found["device"] = str(device)
        with self._timed("load model"):
            weights = resolve_weights(options.model)
            given: dict[str, Any] = {}
            if options.chunk_frames is not None:
                given["chunk_frames"] = options.chunk_frames
            pipeline = VideoTo4D.from_pretrained(options.model, device=str(device), **given)
            pipeline.multiview = self._generator(pipeline)
        self.found["chunk_frames"] = pipeline.chunk_frames
        self.found["weights"] = {
            path.name: {"path": str(path), "sha256": file_sha256(path)}
            for path in (weights.recon, weights.interp)
            if path is not None
        }
        self.progress("load", 1, 1)
        with self._timed("prepare"):
            prepared = self._prepare()
        with FrameTape(prepared) as tape:
            self._reconstruct(pipeline, tape)
            self._show(tape)

    def _generator(self, pipeline: VideoTo4D) -> ImageDream | None:
        """What makes the other views of the first frame, if anything does."""
        options = self.options
        source = options.multiview
        if source == "auto":
            network = pipeline.reconstruction
            video_is_enough = isinstance(network, L4GM) and network.config.missing_views
            source = "none" if video_is_enough or options.views is not None else "imagedream"
        self.found["multiview"] = source
        if source == "none":
            return None
        return ImageDream.from_pretrained(
            HUB_NAME if source == "imagedream" else source, device=pipeline.device
        )

    def _prepare(self) -> PreparedVideo:
        options = self.options
        prepared = prepare_video(
            options.video,
            size=STAGE_SIZE,
            matting=options.matting,
            max_frames=options.max_frames,
            fps=options.fps,
            on_frame=lambda done: self.progress("prepare", done, 0),
        )
        self.found["video"] = prepared.report
        self._warn_of_frames_left_out(prepared)
        self.progress("prepare", prepared.num_frames, prepared.num_frames)
        return prepared

    def _warn_of_frames_left_out(self, prepared: PreparedVideo) -> None:
        """Never silently: the limit is ours, not the video's."""
        if prepared.num_frames < self.options.max_frames:
            return
        declared = probe_video(self.options.video).num_frames or 0
        total = -(-declared // prepared.report.get("every_nth_frame", 1))
        if total > prepared.num_frames:
            logger.warning(
                "%s: only the first %d of about %d frames are used; --max-frames %d takes all",
                self.options.video,
                prepared.num_frames,
                total,
                total,
            )

    def _reconstruct(self, pipeline: VideoTo4D, frames: FrameTape) -> None:
        """The chunk loop, each piece written as it comes."""
        options = self.options
        views: Tensor | None = None
        present: Tensor | None = None
        if options.views is not None:
            views, present = read_given_views(options.views)
        stream = pipeline.stream(
            frames,
            views=views,
            present=None if present is None or present.all() else present,
            interpolate=options.interpolate,
            align=options.align,
            elevation=options.elevation,
            seed=options.seed,
            progress=self.progress,
            report=self.report,
        )
        first = next(stream)
        num_gaussians = first.gaussians.num_gaussians
        writer = SequenceWriter(
            self.folder / SEQUENCE_NAME,
            stream.num_frames,
            num_gaussians,
            stream.fps,
            stream.camera.to("cpu"),
        )
        index = 0
        with writer:
            for piece in chain([first], stream):
                gaussians = piece.gaussians.to("cpu")
                with self._timed("write"):
                    writer.append(gaussians)
                    for frame in range(len(piece)):
                        path = self.folder / frame_name(index + frame)
                        write_ply(path, gaussians[frame], prune=False)
                index += len(piece)
        write_index(self.folder, num_frames=index, num_gaussians=num_gaussians, fps=stream.fps)
        self.found["result"] = {
            "num_frames": index,
            "num_gaussians": num_gaussians,
            "fps": stream.fps,
        }

    def _show(self, frames: FrameTape) -> None:
        """The input as a small video, the turning object, and the page."""
        with self._timed("input video"):
            write_video(self.folder / INPUT_NAME, frames.replay(), frames.fps)
        asset = open_asset(self.folder)
        shot = Shot(size=self.options.orbit_size, elevation=self.options.elevation)
        with self._timed("orbit"):
            pictures = film(
                asset,
                shot,
                device=self.found["device"],
                on_picture=lambda done, total: self.progress("orbit", done, total),
            )
            write_video(self.folder / "orbit.mp4", pictures, shot_fps(asset))
        with self._timed("page"):
            self.progress("page", 0, 1)
            page = write_player(
                self.folder / "index.html",
                self.folder / SEQUENCE_NAME,
                title=self.options.video.stem,
                input_video=self.folder / INPUT_NAME,
            )
            self.progress("page", 1, 1)
        self.found["page"] = asdict(page)

    def write_report(self, warnings: list[str]) -> None:
        """report.json, last: a folder that has one is whole."""
        pipeline = self.report.as_dict()
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self.options).items()
        }
        document = {
            "format": "l4gm-report",
            "version": 1,
            "settings": settings,
            **self.found,
            "pipeline": pipeline,
            "seconds_total": round(time.perf_counter() - self.began, 3),
            "versions": {
                "l4gm": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "platform": platform.platform(),
            },
            "warnings": warnings,
        }
        (self.folder / REPORT_NAME).write_text(json.dumps(document, indent=1) + "\n")

    def summary(self) -> str:
        """One line for the terminal."""
        result = self.found["result"]
        seconds = time.perf_counter() - self.began
        return (
            f"{result['num_frames']} frames of {result['num_gaussians']} Gaussians at "
            f"{result['fps']:g} fps, in {seconds:.1f} s"
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        with self.report.stage(stage, torch.device(self.found["device"])):
            yield
