"""Bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io

import pytest

from l4gm.cli import progress as module
from l4gm.cli.progress import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_tell_begin_and_end_once() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for done in range(101):
            progress("reconstruct", done, 100)
        progress("reconstruct", 100, 100)
        progress("orbit", 1, 1)
    lines = stream.getvalue().splitlines()
    assert [line.split(" s  ")[1] for line in lines] == [
        "reconstruct ...",
        "reconstruct 100/100",
        "orbit 1/1",
    ]
    assert "\x1b" not in stream.getvalue()


def test_plain_lines_come_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress(stream)
    for done in range(1, 13):
        progress("prepare", done, 0)
        now[0] += 1.0
    assert stream.getvalue().splitlines() == [
        "   0.0 s  prepare 1",
        "   5.0 s  prepare 6",
        "  10.0 s  prepare 11",
    ]


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress("reconstruct", 3, 9)
        progress("reconstruct", 9, 9)
    assert "reconstruct" in stream.getvalue()
    assert "9/9" in stream.getvalue()


def test_single_steps_are_done_when_the_next_stage_begins() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress("first guess", 0, 9)
        progress("reconstruct", 9, 9)
    assert "first guess" in stream.getvalue()
    assert "1/1" in stream.getvalue()
