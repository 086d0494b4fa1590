"""The work behind `l4gm reconstruct`: every stage, and the files of a result folder."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from l4gm import __version__
from l4gm.cli.assets import SEQUENCE_NAME, open_asset
from l4gm.cli.output_folder import REPORT_NAME
from l4gm.cli.turntable import Shot, film, shot_fps
from l4gm.errors import InputError
from l4gm.gaussians.ply import write_ply
from l4gm.gaussians.ply_sequence import frame_name, write_index
from l4gm.gaussians.sequence_file import SequenceWriter
from l4gm.media.video import probe_video, read_frames, write_video
from l4gm.model.sources import resolve_weights
from l4gm.model.weights import file_sha256
from l4gm.pipeline.prepare import PreparedVideo, prepare_video
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.rig import NUM_VIEWS, STAGE_SIZE, VIEW_AZIMUTHS_DEGREES
from l4gm.pipeline.video_to_4d import VideoTo4D, find_device
from l4gm.viewer.player import write_player

if TYPE_CHECKING:
    from l4gm.cli.progress import Progress
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

    def __init__(self, options: Options, folder: Path, progress: Progress) -> None:
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
            pipeline = VideoTo4D.from_pretrained(
                options.model, device=str(device), chunk_frames=options.chunk_frames
            )
        self.found["weights"] = {
            path.name: {"path": str(path), "sha256": file_sha256(path)}
            for path in (weights.recon, weights.interp)
            if path is not None
        }
        with self._timed("prepare"):
            prepared = self._prepare()
        views, present = (None, None) if options.views is None else read_views(options.views)
        self._reconstruct(pipeline, prepared, views, present)
        self._show(prepared)

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

    def _reconstruct(
        self,
        pipeline: VideoTo4D,
        prepared: PreparedVideo,
        views: Tensor | None,
        present: Tensor | None,
    ) -> None:
        """The chunk loop, each piece written as it comes."""
        options = self.options
        stream = pipeline.stream(
            prepared,
            views=views,
            present=present,
            interpolate=options.interpolate,
            align=options.align,
            elevation=options.elevation,
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

    def _show(self, prepared: PreparedVideo) -> None:
        """The input as a small video, the turning object, and the page."""
        with self._timed("input video"):
            write_video(self.folder / INPUT_NAME, prepared.frames(), prepared.fps)
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
            **pipeline,
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


def read_views(folder: Path) -> tuple[Tensor, Tensor | None]:
    """The pictures of a folder whose names are azimuths.

    Args:
        folder: holds 0.png, 90.png, 180.png, 270.png (or .jpg, .webp); up to three may be missing,
            which only a model trained for that can do without. Transparency is laid on white.

    Returns:
        views [4, 3, S, S] in [0, 1] (missing ones white), and which are there, [4] bool, or None
        for all.

    Raises:
        InputError: no folder, no such pictures, or pictures that are not square or differ in size.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected one with 0.png, 90.png, 180.png ...")
    pictures: dict[int, Tensor] = {}
    for path in sorted(folder.iterdir()):
        if path.stem in (names := [f"{azimuth:g}" for azimuth in VIEW_AZIMUTHS_DEGREES]):
            pictures[names.index(path.stem)] = _read_picture(path)
    if not pictures:
        raise InputError(
            f"{folder}: no views; expected pictures named by azimuth: 0.png, 90.png, 180.png, "
            "270.png"
        )
    sizes = {tuple(picture.shape) for picture in pictures.values()}
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for _, height, width in sorted(sizes))
        raise InputError(f"{folder}: views must be of one size, got {listed}")
    views = torch.ones(NUM_VIEWS, *sizes.pop())
    present = torch.zeros(NUM_VIEWS, dtype=torch.bool)
    for index, picture in pictures.items():
        views[index], present[index] = picture, True
    return views, None if present.all() else present


def _read_picture(path: Path) -> Tensor:
    """[3, S, S] in [0, 1] on white."""
    values = next(read_frames(path)).permute(2, 0, 1).float() / 255
    if values.shape[1] != values.shape[2]:
        raise InputError(
            f"{path}: a view must be square, got {values.shape[2]} x {values.shape[1]} px; pad it "
            "around the object"
        )
    return values[:3] * values[3:] + 1 - values[3:] if len(values) == 4 else values
