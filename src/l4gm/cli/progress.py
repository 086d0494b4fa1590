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
            progress.TimeRemainingColumn(compact=True),
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
        task = self._bars.tasks[self._tasks[stage]]
        if task.finished and done < task.completed:  # the next video's
            self._bars.reset(task.id)
        # A stage that has not got on yet may be a single step: its bar pulses.
        known = total if done and total else None
        self._bars.update(self._tasks[stage], completed=done, total=known)

    def _finish_single_steps(self) -> None:
        """The next stage has begun, so those that only said that they began are done."""
        for task in self._bars.tasks:
            if not task.completed:
                self._bars.update(task.id, completed=1, total=1)


class _Lines:
    """A line when a stage begins and ends, and every few seconds between, with the time so far
    and an estimate of the time left in the stage."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._first: dict[str, tuple[float, int]] = {}  # when a stage was first heard of, how far
        self._last_line: dict[str, float] = {}
        self._finished: set[str] = set()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def update(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        finished = total > 0 and done >= total
        if stage in self._finished and not finished:  # the next video's
            self._finished.discard(stage)
            del self._first[stage]
        began, begun = self._first.setdefault(stage, (now, done))
        last = self._last_line.get(stage)
        due = last is None or now - last >= _PLAIN_INTERVAL_SECONDS or finished
        if not due or stage in self._finished:
            return
        self._last_line[stage] = now
        if finished:
            self._finished.add(stage)
        count = (f" {done}/{total}" if total else f" {done}") if done else " ..."
        left = ""
        if done > begun and done < total:
            seconds = (now - began) / (done - begun) * (total - done)
            left = f", about {time_in_words(seconds)} left"
        print(f"{now - self._began:6.1f} s  {stage}{count}{left}", file=self._stream, flush=True)


def time_in_words(seconds: float) -> str:
    """A rough duration: "40 s", "12 min", "3.5 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
