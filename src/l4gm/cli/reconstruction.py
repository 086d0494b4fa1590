"""The work behind `l4gm reconstruct`: every stage, and the files of a result folder."""

from __future__ import annotations

import json
import logging
import math
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from l4gm import __version__
from l4gm.cli.assets import SEQUENCE_NAME, Asset, open_asset
from l4gm.cli.frame_tape import FrameTape
from l4gm.cli.identity import difference, path_sha256
from l4gm.cli.output_folder import REPORT_NAME, write_report
from l4gm.cli.turntable import Shot, film, shot_fps
from l4gm.cli.unfinished_run import Record, UnfinishedRun, is_disk_full, unfinished_run
from l4gm.cli.usage import CommandError, size_text
from l4gm.cli.video_sources import stem
from l4gm.cli.view_sources import load_generator
from l4gm.cli.written import damaged_file
from l4gm.errors import InputError, is_out_of_memory
from l4gm.gaussians.frame_folder import frame_name, write_index
from l4gm.gaussians.ply import write_ply
from l4gm.gaussians.sequence_file import SequenceWriter, read_sequence_info
from l4gm.gaussians.types import GaussianSequence
from l4gm.gaussians.visible import without_invisible
from l4gm.media.video import probe_video, write_video
from l4gm.model.protocol import works_from_video_alone
from l4gm.model.sources import resolve_weights
from l4gm.model.weights import file_sha256
from l4gm.multiview.given import read_given_views
from l4gm.pipeline.device import find_device
from l4gm.pipeline.framing import along
from l4gm.pipeline.interpolate import RATE
from l4gm.pipeline.prepare import PreparedVideo, prepare_video, thinning_step
from l4gm.pipeline.report import PipelineReport, Progress
from l4gm.pipeline.rig import STAGE_SIZE
from l4gm.pipeline.stream import SequenceStream, StreamPosition
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.viewer.player import write_player

if TYPE_CHECKING:
    from l4gm.cli.reconstruct import Options

logger = logging.getLogger(__name__)

INPUT_NAME = "input.mp4"  # the prepared frames, as the network saw them
ORBIT_NAME = "orbit.mp4"
PAGE_NAME = "index.html"
PLY_NAME = "ply"  # the folder of frames
TAPE_NAME = "frames.raw"
# Options that do not change what is written.
_IMMATERIAL = {"out", "overwrite", "resume", "debug", "verbose"}
# Options of which what they name counts, not the name.
_NAMES = {"videos", "model", "views", "device"}


class Engine:
    """The networks, loaded once for all videos of a command.

    Args:
        options: the command line.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.report = PipelineReport()
        device = find_device(options.device)
        with self.report.stage("load model", device):
            weights = resolve_weights(options.model)
            given: dict[str, Any] = {"precision": options.precision, "compile": options.compile}
            if options.chunk_frames is not None:
                given["chunk_frames"] = options.chunk_frames
            self.pipeline = VideoTo4D.from_pretrained(options.model, device=str(device), **given)
            self.multiview = self._multiview_source()
            self.pipeline.multiview = load_generator(self.multiview, device)
            self.weights = {
                path.name: {"path": str(path), "sha256": file_sha256(path)}
                for path in weights.paths
            }

    @property
    def device(self) -> torch.device:
        return self.pipeline.device

    def _multiview_source(self) -> str:
        """Who makes the other views of the first frame, if anything does."""
        if self.options.multiview != "auto":
            return self.options.multiview
        video_is_enough = works_from_video_alone(self.pipeline.reconstruction)
        return "none" if video_is_enough or self.options.views is not None else "imagedream"

    def identity(self, video: Path) -> dict[str, Any]:
        """All that decides what the bytes of a video's result are."""
        options = {
            name: value
            for name, value in asdict(self.options).items()
            if name not in _IMMATERIAL | _NAMES
        }
        views = self.options.views
        return {
            "video": path_sha256(video),
            "views": None if views is None else path_sha256(views),
            "weights": {name: entry["sha256"] for name, entry in self.weights.items()},
            "device": self.device.type,
            "l4gm": __version__,
            "torch": torch.__version__,
            **options,
        }


def reconstruct_into(out: Path, video: Path, engine: Engine, progress: Progress) -> str:
    """Reconstruct one video into a folder that appears whole or stays unfinished.

    Args:
        out: the result's folder.
        video: what to reconstruct.
        engine: the networks and the command line.
        progress: called with (stage, done, total).

    Returns:
        what was made, one line.

    Raises:
        InputError: bad input, or a result or unfinished run that may not be replaced.
        CommandError: no space is left on the disk; the run can be resumed.
    """
    options = engine.options
    # Both are looked at before anything is hashed or written.
    probe_video(video)
    if options.views is not None:
        read_given_views(options.views)
    identity = engine.identity(video)
    if options.resume and _is_finished(out, identity):
        return "was finished already"
    with (
        _collected_warnings() as warnings,
        unfinished_run(out, resume=options.resume, overwrite=options.overwrite) as run,
    ):
        if run.record is not None and run.record.identity != identity:
            raise InputError(
                f"{out}: cannot go on, the run that was cut off had other inputs: "
                f"{difference(run.record.identity, identity)}; give the same, or begin anew "
                "with --overwrite and without --resume"
            )
        job = Reconstruction(engine, video, run, identity, warnings, progress)
        with _tell_how_to_go_on(out, run):
            job.run()
    return job.summary(out)


class Reconstruction:
    """One video's run.

    Args:
        engine: the networks and the command line.
        video: what to reconstruct.
        run: where to write; gets sequence.safetensors, input.mp4, orbit.mp4, index.html,
            report.json, and where that is asked for the frames as ply/frame_0000.ply ...
        identity: what decides the result's bytes.
        warnings: for the report; grows while the run goes on.
        progress: called with (stage, done, total).
    """

    def __init__(
        self,
        engine: Engine,
        video: Path,
        run: UnfinishedRun,
        identity: dict[str, Any],
        warnings: list[str],
        progress: Progress,
    ) -> None:
        self._engine = engine
        self._options = engine.options
        self._video = video
        self._unfinished = run
        self._folder = run.folder
        self._identity = identity
        self._warnings = warnings
        self._progress = progress
        self._written = run.written
        self._report = PipelineReport(seconds=dict(engine.report.seconds))
        self._began = time.perf_counter()
        self._found: dict[str, Any] = {}
        self._motion: torch.Tensor | None = None
        if run.record is not None:
            notes = run.record.notes
            self._report = PipelineReport(**notes["pipeline"])
            self._began -= notes["seconds_total"]
            # Those of before, unless this run comes to say them again.
            warnings[:] = notes["warnings"]

    def run(self) -> None:
        """Every stage, in order; nothing is kept in memory but the chunk at work."""
        with self._timed("prepare"):
            prepared = self._prepare()
        with FrameTape(prepared, self._unfinished.scratch(TAPE_NAME), STAGE_SIZE) as tape:
            self._reconstruct(tape)
            self._show(tape)
        self._write_report()

    def _prepare(self) -> PreparedVideo:
        options = self._options
        total = self._expected_frames()
        prepared = prepare_video(
            self._video,
            size=STAGE_SIZE,
            matting=options.matting,
            max_frames=options.max_frames,
            fps=options.fps,
            shot=options.shot,
            rate=self._base_rate(),
            on_frame=lambda done: self._progress("prepare", done, total),
        )
        self._found["video"] = prepared.report
        self._motion = prepared.motion if options.keep_path else None
        self._warn_of_frames_left_out(prepared)
        self._progress("prepare", prepared.num_frames, prepared.num_frames)
        return prepared

    def _base_rate(self) -> float | None:
        """Frames per second to be reconstructed for --output-fps; None: as the video has them."""
        wanted = self._options.output_fps
        if wanted is None:
            return None
        interpolates = self._options.interpolate and self._engine.pipeline.interpolation is not None
        return wanted / RATE if interpolates else wanted

    def _expected_frames(self) -> int:
        """Frames that the container promises, 0 if it says nothing; for the progress."""
        info = probe_video(self._video)
        source_fps = self._options.fps or info.fps
        step = thinning_step(source_fps)
        rate = self._base_rate() or source_fps / step
        expected = math.ceil((info.num_frames or 0) * rate / source_fps)
        limit = self._options.max_frames
        return expected if limit is None else min(expected, limit)

    def _warn_of_frames_left_out(self, prepared: PreparedVideo) -> None:
        """Never silently, though the limit was asked for."""
        limit = self._options.max_frames
        if limit is None or prepared.num_frames < limit:
            return
        declared = probe_video(self._video).num_frames or 0
        total = math.ceil(declared / prepared.report["every_nth_frame"])
        if total > prepared.num_frames:
            logger.warning(
                "%s: only the first %d of about %d frames are used; --max-frames %d takes all",
                self._video,
                prepared.num_frames,
                total,
                total,
            )

    def _stream(self, frames: FrameTape) -> SequenceStream:
        """The stages, from the start or from where the earlier run stood."""
        options, record = self._options, self._unfinished.record
        views = present = None
        if options.views is not None:
            views, present = read_given_views(options.views)
        return self._engine.pipeline.stream(
            frames,
            views=views,
            present=None if present is None or present.all() else present,
            interpolate=options.interpolate,
            align=options.align,
            elevation=options.elevation,
            seed=options.seed,
            progress=self._progress,
            report=self._report,
            resume=None if record is None else record.position,
        )

    def _reconstruct(self, frames: FrameTape) -> None:
        """The chunk loop, each piece written, and noted, as it comes."""
        stream = self._stream(frames)
        path = self._folder / SEQUENCE_NAME
        written = self._report.num_output_frames
        first = next(stream, None)
        if first is None:
            num_gaussians = read_sequence_info(path).num_gaussians
        else:
            num_gaussians = first.gaussians.num_gaussians
        camera = stream.camera.to("cpu")
        with SequenceWriter(
            path, stream.num_frames, num_gaussians, stream.fps, camera, resume_at=written
        ) as writer:
            pieces = [] if first is None else chain([first], stream)
            for piece in pieces:
                self._write_piece(writer, piece)
                if stream.position is not None:
                    self._note(stream.position, frames)
        self._found["result"] = {
            "num_frames": stream.num_frames,
            "num_gaussians": num_gaussians,
            "fps": stream.fps,
        }

    def _write_piece(self, writer: SequenceWriter, piece: GaussianSequence) -> None:
        gaussians = piece.gaussians.to("cpu")
        with self._timed("write"):
            start = writer.frames_written
            if self._motion is not None:
                gaussians = along(gaussians, self._motion, start, writer.num_frames)
            self._written.add(SEQUENCE_NAME, writer.append(gaussians))
            if start == 0:
                # As PLY a frame is as large again at most.
                copies = 2 if self._options.ply else 1
                frame_bytes = copies * (writer.path.stat().st_size // writer.num_frames)
                self._check_room(frame_bytes * (writer.num_frames - len(piece)))

    def _check_room(self, needed_bytes: int) -> None:
        """Better told now than hours later."""
        free_bytes = shutil.disk_usage(self._folder).free
        if needed_bytes > free_bytes:
            raise CommandError(
                f"{self._folder.parent}: the result needs {needed_bytes / 1e9:.1f} GB and "
                f"{free_bytes / 1e9:.1f} GB are free; make room, choose another place with -o, "
                "or take fewer frames (--max-frames)"
            )

    def _note(self, position: StreamPosition, frames: FrameTape) -> None:
        """All up to here is written: a later run can resume from here."""
        record = self._unfinished.record
        taped = 0 if record is None else record.position.num_frames
        if position.num_frames > taped:
            self._written.add(TAPE_NAME, [frames.stretch(taped, position.num_frames)])
        notes = {
            "pipeline": vars(self._report),
            "seconds_total": self._seconds,
            "warnings": self._warnings,
        }
        self._unfinished.note(Record(identity=self._identity, position=position, notes=notes))

    def _note_file(self, path: Path) -> None:
        """A file that follows the frames is whole: a later run need not make it again."""
        self._written.add(path.name)
        if (record := self._unfinished.record) is not None:
            self._unfinished.note(record)

    def _show(self, frames: FrameTape) -> None:
        """The input as a small video, the turning object, and the page.

        Videos that an earlier run has noted are whole.
        """
        video, orbit = self._folder / INPUT_NAME, self._folder / ORBIT_NAME
        asset = open_asset(self._folder)
        if self._options.ply:
            with self._timed("ply"):
                self._write_ply(asset)
        shot = Shot(size=self._options.orbit_size, elevation=self._options.elevation)
        with self._timed("input video"):
            if not self._written.has(video.name):
                write_video(video, frames.replay(), frames.fps)
                self._note_file(video)
        with self._timed("orbit"):
            if not self._written.has(orbit.name):
                pictures = film(
                    asset,
                    shot,
                    device=self._engine.device,
                    on_picture=lambda done, total: self._progress("orbit", done, total),
                )
                write_video(orbit, pictures, shot_fps(asset))
                self._note_file(orbit)
        with self._timed("page"):
            self._progress("page", 0, 1)
            page = write_player(
                self._folder / PAGE_NAME,
                self._folder / SEQUENCE_NAME,
                title=stem(self._video),
                input_video=video,
            )
            self._progress("page", 1, 1)
        self._found["page"] = asdict(page)

    def _write_ply(self, asset: Asset) -> None:
        """Every frame as a PLY of its visible Gaussians, in a folder that holds nothing else."""
        folder = self._folder / PLY_NAME
        if folder.exists():  # of a run that was cut off
            shutil.rmtree(folder)
        for index in range(asset.num_frames):
            frame = without_invisible(asset.frames(index, index + 1)[0])
            write_ply(folder / frame_name(index), frame, prune=False)
        write_index(folder, num_frames=asset.num_frames, fps=asset.fps)

    def _write_report(self) -> None:
        """report.json, last: a folder that has one is whole."""
        settings = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(self._options).items()
            if name != "videos"
        }
        document = {
            "format": "l4gm-report",
            "version": 1,
            "settings": {"video": str(self._video), **settings},
            "identity": self._identity,
            "device": str(self._engine.device),
            "chunk_frames": self._engine.pipeline.chunk_frames,
            "weights": self._engine.weights,
            "multiview": self._engine.multiview,
            **self._found,
            "pipeline": self._report.as_dict(),
            "seconds_total": round(self._seconds, 3),
            "versions": {
                "l4gm": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "platform": platform.platform(),
            },
            "warnings": list(dict.fromkeys(self._warnings)),
            "files": self._unfinished.inventory(),
        }
        write_report(self._folder, document)

    def summary(self, out: Path) -> str:
        """One line for the terminal, of the result that lies in `out`."""
        result = self._found["result"]
        names = (SEQUENCE_NAME, PAGE_NAME, ORBIT_NAME, INPUT_NAME, PLY_NAME)
        sizes = [f"{name} {size_text(out / name)}" for name in names if (out / name).exists()]
        return (
            f"{result['num_frames']} frames of {result['num_gaussians']} Gaussians at "
            f"{result['fps']:g} fps, in {self._seconds:.1f} s ({', '.join(sizes)})"
        )

    @property
    def _seconds(self) -> float:
        """Spent on this video, by earlier runs too."""
        return time.perf_counter() - self._began

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        with self._report.stage(stage, self._engine.device):
            yield


def _is_finished(out: Path, identity: dict[str, Any]) -> bool:
    """Whether a result of the same inputs lies there already, and is whole.

    Raises:
        InputError: it is no longer whole.
    """
    try:
        report = json.loads((out / REPORT_NAME).read_text())
        if report.get("identity") != identity:
            return False
        damaged = damaged_file(out, report.get("files", {}))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
    if damaged is not None:
        raise InputError(
            f"{out}: was finished, but {damaged} is missing or damaged since; make it anew with "
            "--overwrite and without --resume"
        )
    return True


@contextmanager
def _tell_how_to_go_on(out: Path, run: UnfinishedRun) -> Iterator[None]:
    """When a run is cut off whose frames stay, say so; of a full disk, say that it is full.

    Raises:
        CommandError: no space is left, or no memory.
    """
    try:
        yield
    except BaseException as error:
        done = 0 if run.record is None else run.record.position.num_frames
        if is_disk_full(error):
            kept = f"the first {done} frames are kept: make room and go on with --resume"
            raise CommandError(
                f"{out}: no space left on the disk; {kept if done else 'make room'}"
            ) from error
        if is_out_of_memory(error):
            raise CommandError(
                f"{out}: out of memory, even in the smallest steps; free some, or use --device cpu"
                f"{' and begin anew' if done else ''}"
            ) from error
        if done:
            logger.warning(
                "%s: cut off after %d frames, which are kept; the same command with --resume "
                "goes on",
                out,
                done,
            )
        raise


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """The package's warnings while the block runs."""
    collector = _WarningCollector()
    package_logger = logging.getLogger("l4gm")
    package_logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        package_logger.removeHandler(collector)


class _WarningCollector(logging.Handler):
    """Keeps warnings for the report."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
