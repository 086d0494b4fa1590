"""The frame of the command line: help, usage errors, exit codes."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from l4gm.cli import main as cli
from l4gm.cli.main import VERBS, find_command
from l4gm.cli.usage import one_line, parse
from l4gm.errors import InputError


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_overview_names_every_verb(run: Callable, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 0
    assert not outcome.err
    for verb in VERBS:
        assert f"  {verb} " in outcome.out


def commands(*names: str) -> Iterator[str]:
    """Every verb and sub-verb below these names, as typed."""
    table = find_command([*names]).module.SUBVERBS if names else VERBS
    for name in table:
        yield " ".join([*names, name])
        if hasattr(find_command([*names, name]).module, "SUBVERBS"):
            yield from commands(*names, name)


@pytest.mark.parametrize("command", [*commands()])
def test_help_of_each_command_has_examples(run: Callable, command: str) -> None:
    outcome = run(*command.split(), "--help")
    assert outcome.code == 0
    assert f"usage: l4gm {command}" in outcome.out
    examples = outcome.out.split("examples:\n")[1].split("\n\n")[0].splitlines()
    assert examples
    for line in examples:
        line = line.removeprefix("  ").removeprefix("accelerate launch -m ")
        assert line.startswith(f"l4gm {command} ") or line == f"l4gm {command}"
    assert "--debug" in outcome.out


@pytest.mark.parametrize("command", [*commands()])
def test_examples_parse(command: str) -> None:
    """Every example is a command line that the command takes."""
    for line in find_command(command.split()).module.EXAMPLES.strip().splitlines():
        words = shlex.split(line.removeprefix("accelerate launch -m "), comments=True)
        assert words[0] == "l4gm"
        found = find_command(words[1:])
        module = found.module
        verb = " ".join(found.names)
        assert verb.startswith(command)
        assert parse(module.Options, verb, "summary", module.EXAMPLES, found.arguments) is not None


def test_a_verb_with_subverbs(run: Callable) -> None:
    assert run("data").out == run("data", "--help").out
    run("data", "procdural").assert_bad_input("'data procdural'", "'procedural'", "l4gm data")


@pytest.mark.parametrize("arguments", [["--help"], ["reconstruct", "--help"]])
def test_help_is_fast_and_does_without_torch(arguments: list[str]) -> None:
    """Seconds of CPU (there is one thread), so that a busy machine does not count."""
    code = (
        "import sys; from l4gm.cli.main import main; code = main(sys.argv[1:]); "
        "sys.exit(9 if {'torch', 'numpy'} & set(sys.modules) else code)"
    )
    seconds = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
        after = os.times()
        seconds.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(seconds) < 0.7


def test_version(run: Callable) -> None:
    import l4gm

    assert run("--version").out == f"l4gm {l4gm.__version__}\n"


def test_module_can_be_run() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "l4gm", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith("l4gm ")


def test_unknown_verb_suggests_the_nearest(run: Callable) -> None:
    run("recnstruct", "cat.mp4").assert_bad_input("'recnstruct'", "'reconstruct'")
    run("zzz").assert_bad_input("'zzz'", "reconstruct, view")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reconstruct",), ["VIDEO"]),
        (("reconstruct", "a.mp4", "--devise", "cpu"), ["--devise", "--device"]),
        (("reconstruct", "a.mp4", "--max-frames", "many"), ["--max-frames", "many"]),
        (("reconstruct", "a.mp4", "--max-frames", "0"), ["--max-frames 0", "above 0"]),
        (("export", "a", "--format", "stl", "-o", "b"), ["stl", "ply", "safetensors", "html"]),
    ],
)
def test_usage_errors_are_one_line(
    run: Callable, arguments: tuple[str, ...], words: list[str]
) -> None:
    run(*arguments).assert_bad_input(*words)


@pytest.mark.parametrize(
    ("error", "code", "word"),
    [
        (InputError("cat.mp4: no such\nfile"), 2, "cat.mp4: no such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (cli.Terminated(), 143, "terminated"),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied"),
        (MemoryError(), 1, "out of memory"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError: division by zero"),
    ],
)
def test_exit_codes(
    run: Callable, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, word: str
) -> None:
    def fail(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    outcome = run("inspect", "x")
    assert outcome.code == code
    assert outcome.err.startswith("l4gm: error: ")
    assert word in outcome.err
    assert len(outcome.err.splitlines()) == 1
    debugged = run("inspect", "x", "--debug")
    assert debugged.code == code
    assert "Traceback" in debugged.err
    assert type(error).__name__ in debugged.err


def test_logging_is_left_as_it_was(run: Callable, tmp_path: Path) -> None:
    """A program that calls `main` keeps its own logging."""
    logger = logging.getLogger("l4gm")
    before = list(logger.handlers), logger.propagate, logger.level
    assert run("doctor", "--json").code == 0
    assert run("inspect", tmp_path / "nothing").code == 2
    assert (logger.handlers, logger.propagate, logger.level) == before


def test_closed_pipe_is_no_traceback() -> None:
    """`l4gm doctor | true`: the reader has gone before anything is printed."""
    command = f"{sys.executable} -m l4gm doctor --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode in (0, 1)
    assert not done.stderr


def test_one_line_leaves_out_frame_and_help() -> None:
    framed = """╭─ Required options ──────────╮
│ Missing from l4gm x:        │
│     PATH                    │
│         Long help. (req)    │
│ ─────────────────────────── │
│ For full helptext, run:     │
│     l4gm x --help           │
╰─────────────────────────────╯"""
    assert one_line(framed) == "Missing from l4gm x: PATH"
    assert one_line("something\nelse") == "something else"
