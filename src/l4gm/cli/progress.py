"""How far a long command has got: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

_PLAIN_INTERVAL_SECONDS = 5.0


class Progress:
    """A context manager to be called with (stage, done, total) as the pipeline's stages get on.

    Args:
        stream: by default stderr, so that stdout carries results alone.
        interactive: draw bars; by default when the stream is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, interactive: bool | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        if interactive is None:
            interactive = self._stream.isatty()
        self._view = _Bars(self._stream) if interactive else _Lines(self._stream)

    def __enter__(self) -> Progress:
        self._view.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._view.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` steps of a stage are done; 0 as total means unknown."""
        self._view.update(stage, done, total)


class _Bars:
    """One bar a stage, by rich."""

    def __init__(self, stream: TextIO) -> None:
        from rich import progress
        from rich.console import Console

        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            console=Console(file=stream),
        )
        self._tasks: dict[str, progress.TaskID] = {}

    def start(self) -> None:
        self._bars.start()

    def stop(self) -> None:
        self._bars.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)


class _Lines:
    """A line when a stage begins and ends, and every few seconds between."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began: dict[str, float] = {}
        self._last_line: dict[str, float] = {}
        self._finished: set[str] = set()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def update(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        first = stage not in self._began
        began = self._began.setdefault(stage, now)
        finished = total > 0 and done >= total
        due = first or now - self._last_line[stage] >= _PLAIN_INTERVAL_SECONDS or finished
        if not due or stage in self._finished:
            return
        self._last_line[stage] = now
        if finished:
            self._finished.add(stage)
        count = f"{done}/{total}" if total else str(done)
        print(f"{stage}: {count} ({now - began:.1f} s)", file=self._stream, flush=True)
