"""The jobs of `l4gm app`: videos that wait, the one at work, and what the others became."""

from __future__ import annotations

import logging
import queue
import secrets
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from l4gm.cli.usage import CommandError
from l4gm.errors import InputError
from l4gm.io.names import printable

MAX_WAITING = 8
MAX_KEPT = 20  # finished jobs whose results are kept, if they are in a temporary folder

_CLOSE_SECONDS = 20.0

logger = logging.getLogger(__name__)


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(kw_only=True)
class Job:
    """One video.

    Args:
        name: of the video, as its owner calls it.
        video: its file, alone in a folder that is deleted when the job ends.
        id: a secret: who knows it may see the result.
        state: where it stands.
        stage, done, total: of its progress; a total of 0 is unknown.
        text: what was made, or why it failed, one sentence.
        files: the result, by name.
    """

    name: str
    video: Path
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = State.WAITING
    stage: str = ""
    done: int = 0
    total: int = 0
    text: str = ""
    files: dict[str, Path] = field(default_factory=dict)

    def forget_video(self) -> None:
        """Delete the video and its folder."""
        shutil.rmtree(self.video.parent, ignore_errors=True)


class Cancelled(BaseException):
    """Unwinds a job that is no longer wanted; no Exception, so that nothing mistakes it for one."""


Work = Callable[[Path, Callable[[str, int, int], None]], tuple[str, dict[str, Path]]]


class Jobs:
    """A queue and the thread that works on it; a context manager.

    Args:
        work: (video, progress) -> what was made, in a line, and its files by name. Runs in one
            thread, one job at a time.
        keep_all: never delete results; else those before the last `MAX_KEPT` go.
    """

    def __init__(self, work: Work, *, keep_all: bool) -> None:
        self._work = work
        self._keep_all = keep_all
        self._jobs: dict[str, Job] = {}
        self._waiting: queue.Queue[Job | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="l4gm-jobs", daemon=True)
        self._closed = False

    def __enter__(self) -> Jobs:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Cancel the job at work, and wait for it to end."""
        self._closed = True
        with suppress(queue.Full):  # full: then the thread wakes up by itself
            self._waiting.put_nowait(None)
        self._thread.join(_CLOSE_SECONDS)

    def add(self, job: Job) -> bool:
        """Let a job wait for its turn; False, and its video deleted, if too many wait already."""
        try:
            self._waiting.put_nowait(job)
        except queue.Full:
            job.forget_video()
            return False
        self._jobs[job.id] = job
        return True

    def find(self, job_id: str) -> Job | None:
        """The job of an id, if it is still known."""
        return self._jobs.get(job_id)

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, at its next step if it is at work."""
        if job.state in (State.WAITING, State.WORKING):
            job.state = State.CANCELLED

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None and not self._closed:
            if job.state is State.WAITING:
                job.state = State.WORKING
                self._process(job)
            job.forget_video()
            if not self._keep_all:
                self._forget_old()

    def _process(self, job: Job) -> None:
        def report(stage: str, done: int, total: int) -> None:
            if self._closed or job.state is State.CANCELLED:
                raise Cancelled
            job.stage, job.done, job.total = stage, done, total

        try:
            text, files = self._work(job.video, report)
            if job.state is State.CANCELLED:
                _remove(files)
            else:
                job.text, job.files, job.state = text, files, State.DONE
        except Cancelled:
            job.state = State.CANCELLED
        except (InputError, CommandError, OSError, MemoryError) as error:
            job.text = str(error).replace(str(job.video), job.name) or "out of memory"
            job.state = State.FAILED
        except Exception as error:  # the edge of a job: the next one must run
            logger.error("%s: %s: %s", printable(job.name), type(error).__name__, error)
            job.text = f"{job.name}: something went wrong; the terminal says what"
            job.state = State.FAILED

    def _forget_old(self) -> None:
        ended = [job for job in self._jobs.values() if job.files or job.state is State.FAILED]
        for job in ended[:-MAX_KEPT]:
            _remove(job.files)
            del self._jobs[job.id]


def _remove(files: dict[str, Path]) -> None:
    """Delete the folder of a result."""
    for folder in {path.parent for path in files.values()}:
        shutil.rmtree(folder, ignore_errors=True)
