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
        self._finish_single_steps()
        self._bars.stop()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._finish_single_steps()
            self._tasks[stage] = self._bars.add_task(stage)
        # A stage that has not got on yet may be a single step: its bar pulses.
        known = total if done and total else None
        self._bars.update(self._tasks[stage], completed=done, total=known)

    def _finish_single_steps(self) -> None:
        """The next stage has begun, so those that only said that they began are done."""
        for task in self._bars.tasks:
            if not task.completed:
                self._bars.update(task.id, completed=1, total=1)


class _Lines:
    """A line when a stage begins and ends, and every few seconds between, with the time so far."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._last_line: dict[str, float] = {}
        self._finished: set[str] = set()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def update(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        finished = total > 0 and done >= total
        last = self._last_line.get(stage)
        due = last is None or now - last >= _PLAIN_INTERVAL_SECONDS or finished
        if not due or stage in self._finished:
            return
        self._last_line[stage] = now
        if finished:
            self._finished.add(stage)
        count = (f" {done}/{total}" if total else f" {done}") if done else " ..."
        print(f"{now - self._began:6.1f} s  {stage}{count}", file=self._stream, flush=True)
