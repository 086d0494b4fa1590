"""What the button of `l4gm app` does: one video becomes a folder and the files to take along."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from l4gm.cli.app_jobs import Jobs
from l4gm.cli.app_server import AppServer, Limits
from l4gm.cli.reconstruct import Options as ReconstructOptions
from l4gm.cli.reconstruction import Engine, reconstruct_into
from l4gm.io.names import shortened

if TYPE_CHECKING:
    from l4gm.cli.app import Options

FILE_NAMES = ("index.html", "orbit.mp4", "sequence.safetensors", "frames_ply.zip", "report.json")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a video became.

    Args:
        files: page, turning video, lossless sequence, and all frames as PLY in a zip.
        summary: one line.
    """

    files: list[Path]
    summary: str


def reconstruct_video(
    video: Path,
    folder: Path,
    engine: Engine,
    progress: Callable[[str, int, int], None],
) -> Outcome:
    """Reconstruct one video as `l4gm reconstruct` does.

    Args:
        video: any video.
        folder: results go into a new folder inside it, named after the video.
        engine: of `job_options`; its networks are loaded once for all videos.
        progress: called with (stage, done, total).

    Raises:
        InputError: a video that cannot be used.
    """
    out = _free_name(folder, f"{shortened(video.stem, 80)}_4d")
    summary = reconstruct_into(out, video, engine, progress)
    _zip_frames(out)
    return Outcome(files=[out / name for name in FILE_NAMES], summary=summary)


def job_options(options: Options) -> ReconstructOptions:
    """What the app reconstructs every video with."""
    return ReconstructOptions(
        videos=(),
        model=options.model,
        max_frames=options.max_frames,
        device=options.device,
        ply=True,
    )


def _free_name(folder: Path, name: str) -> Path:
    """A path in the folder that nothing has yet: name, name_2, name_3 ..."""
    path, number = folder / name, 1
    while path.exists():
        number += 1
        path = folder / f"{name}_{number}"
    return path


def _zip_frames(folder: Path) -> None:
    """frames_ply.zip: the frames, as stored."""
    with zipfile.ZipFile(folder / "frames_ply.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "ply").glob("frame_*.ply")):
            archive.write(path, path.name)


def serve(options: Options, on_ready: Callable[[AppServer], None]) -> None:
    """Serve the page until interrupted.

    Args:
        options: of the app.
        on_ready: called once with the server, when it is about to answer.
    """
    engine = Engine(job_options(options))
    # Private to this user, and gone at the end: videos are nobody else's business.
    with tempfile.TemporaryDirectory(
        prefix="l4gm-app-", ignore_cleanup_errors=True
    ) as private_name:
        private = Path(private_name)
        results = private if options.folder is None else options.folder.absolute()
        results.mkdir(parents=True, exist_ok=True)

        def work(
            video: Path, progress: Callable[[str, int, int], None]
        ) -> tuple[str, dict[str, Path]]:
            outcome = reconstruct_video(video, results, engine, progress)
            return outcome.summary, {path.name: path for path in outcome.files}

        limits = Limits(upload_bytes=int(options.max_upload_mb * 10**6), frames=options.max_frames)
        with (
            Jobs(work, keep_all=options.folder is not None) as jobs,
            AppServer(options.host, options.port, jobs, private, limits) as server,
        ):
            on_ready(server)
            with suppress(KeyboardInterrupt):  # how it is meant to end
                server.serve_forever()
