"""Libraries that are not safe on foreign files, run in a process of their own with limits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from l4gm.errors import InputError

ERROR_NAME = "error.txt"

# Set by the child itself: code between fork and exec is unsafe where the parent has threads.
_BOOTSTRAP = """
import runpy, sys
memory, seconds, file_bytes, script = sys.argv[1:5]
try:
    import resource
except ImportError:
    pass
else:
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(seconds),
        resource.RLIMIT_FSIZE: int(file_bytes),
        resource.RLIMIT_AS: int(memory),
    }
    for kind, limit in wanted.items():
        hard = resource.getrlimit(kind)[1]
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):
            pass
sys.argv = sys.argv[4:]
runpy.run_path(script, run_name="__main__")
"""


@contextmanager
def isolated(
    script: Path,
    arguments: Sequence[str],
    *,
    subject: str,
    memory_bytes: int,
    seconds: int,
    file_bytes: int,
) -> Iterator[Path]:
    """Run a Python file in its own process, and yield the folder that it wrote to.

    The folder is private, comes as the last argument, and goes when the block ends. A script that
    finds fault with its input writes one line to `ERROR_NAME` there. Where the system has no
    resource limits (Windows), only the time is bounded.

    Args:
        script: a file that imports nothing of this package: the child starts without its path.
        arguments: before the folder.
        subject: what is read, for messages.
        memory_bytes: address space of the child.
        seconds: of processor time, and of time on the wall.
        file_bytes: largest file that the child may write.

    Raises:
        InputError: the script found fault, crashed, or came to a limit.
    """
    with tempfile.TemporaryDirectory(prefix="l4gm-isolated-") as name:
        folder = Path(name)
        limits = (str(memory_bytes), str(seconds), str(file_bytes))
        command = [sys.executable, "-I", "-c", _BOOTSTRAP, *limits, str(script), *arguments, name]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{subject}: its reader did not end in {seconds} s") from None
        fault = folder / ERROR_NAME
        if fault.is_file():
            text = fault.read_bytes()[:2000].decode(errors="replace")
            raise InputError(f"{subject}: {' '.join(text.split())}")
        if done.returncode != 0:
            raise InputError(
                f"{subject}: damaged, or larger than can be read here (its reader ended with "
                f"code {done.returncode})"
            )
        yield folder


def _environment() -> dict[str, str]:
    """What the child needs of ours: where things lie; and no pools of threads in its memory."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PXR_WORK_THREAD_LIMIT")
    return given | dict.fromkeys(threads, "1")
