"""The farm's side of a worker process: asks it for clips, and stops it when it goes too far.

A worker is a process of its own so that a crash, a loop without end or a file that unpacks to more
memory than there is costs that object and nothing else. See `farm_serve` for what is said.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

POLL_SECONDS = 0.05
LOG_TAIL_BYTES = 2000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a worker may use.

    Args:
        timeout_seconds: for one answer: to open a model, or to render a clip.
        memory_bytes: resident memory; enforced on Linux.
        threads: of one worker.
    """

    timeout_seconds: float = 1800.0
    memory_bytes: int = 8 << 30
    threads: int = 1


class WorkerError(Exception):
    """Why there is no clip.

    Args:
        kind: a few words to count by.
        detail: what exactly, in one line.
        final: it would come again.
        alive: the worker still answers.
    """

    def __init__(self, kind: str, detail: str, *, final: bool, alive: bool) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.final = final
        self.alive = alive


class WorkerProcess:
    """A running worker; a context manager that leaves neither process nor files behind.

    Its `cpu_seconds` are those of all answers so far.

    Args:
        command: what to run; ` --reply-fd N` is added.
        limits: what it may use.
        scratch: folder in which it gets one of its own for temporary files.
        environment: variables to set besides.
    """

    def __init__(
        self,
        command: Sequence[str],
        limits: Limits,
        scratch: Path,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.limits = limits
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=scratch, prefix="worker-"))
        self._log: IO[bytes] = (self._folder / "log.txt").open("w+b")
        receiver, sender = os.pipe()
        threads = str(limits.threads)
        variables = {
            "TMPDIR": str(self._folder),
            "OMP_NUM_THREADS": threads,
            "NUMBA_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "BLENDER_USER_RESOURCES": str(self._folder / "blender"),
            # Not in the home folder; shared by the workers of a run, which need the same kernels.
            "XDG_CACHE_HOME": str(scratch / "cache"),
            "CUDA_CACHE_PATH": str(scratch / "cache" / "cuda"),
            "PYTHONUNBUFFERED": "1",
        }
        try:
            self._process = subprocess.Popen(
                [*command, "--reply-fd", str(sender)],
                stdin=subprocess.PIPE,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=[sender],
                start_new_session=True,  # Ctrl-C is ours to handle
                env=os.environ | variables | (environment or {}),
            )
        except BaseException:
            os.close(receiver)
            self._log.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            os.close(sender)
        self.cpu_seconds = 0.0
        self._receiver = receiver
        self._unread = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request.

        Raises:
            WorkerError: there is none, and why. After one that is not `alive` the process is
                gone.
        """
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None
        answer = json.loads(self._read_line())
        self.cpu_seconds += answer.pop("cpu_seconds")
        if "problem" in answer:
            raise WorkerError(**answer["problem"], alive=True)
        return answer

    def _read_line(self) -> bytes:
        deadline = time.monotonic() + self.limits.timeout_seconds
        while b"\n" not in self._unread:
            if select.select([self._receiver], [], [], POLL_SECONDS)[0]:
                received = os.read(self._receiver, 1 << 16)
                if not received:
                    raise self._gone()
                self._unread += received
            elif time.monotonic() > deadline:
                raise self._stopped("timed out", f"after {self.limits.timeout_seconds:.0f} s")
            elif self._memory_bytes() > self.limits.memory_bytes:
                most = self.limits.memory_bytes / 2**30
                raise self._stopped("out of memory", f"used more than {most:.1f} GiB")
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _memory_bytes(self) -> int:
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except (OSError, IndexError):  # it has just ended, or this is not Linux
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _stopped(self, kind: str, detail: str) -> WorkerError:
        self.kill()
        return WorkerError(kind, detail, final=False, alive=False)

    def _gone(self) -> WorkerError:
        """Why a process ended that should not have."""
        code = self._process.wait()
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        last = f"; its last words: {' '.join(lines[-1].split())[:200]}" if lines else ""
        return WorkerError("crashed", how + last, final=False, alive=False)

    def kill(self) -> None:
        """Stop the process at once; whoever waits for its answer gets a WorkerError."""
        if self._process.poll() is None:
            # While another thread waits for it, poll may not know yet that it has ended.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the process, if it has not ended, and remove its files."""
        self.kill()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        os.close(self._receiver)
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
