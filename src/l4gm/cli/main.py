"""The `l4gm` command: finds the verb, runs it, and turns errors into one line and an exit code.

Exit codes: 0 done, 1 it failed, 2 bad input, 130 interrupted, 143 terminated.

A verb is a module with `EXAMPLES`, a frozen dataclass `Options` (the command line, made by tyro)
and `run(options) -> None`; or with `EXAMPLES` and a table `SUBVERBS` like `VERBS` here, whose
modules are named VERB_SUBVERB. Only the modules of the verb in use are imported, and torch only by
`run`, so that `--help` answers at once.
"""

from __future__ import annotations

import difflib
import importlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from l4gm import __version__
from l4gm.cli.usage import CommandError, CommonOptions, UsageError, parse
from l4gm.errors import InputError, short_message
from l4gm.io.names import printable
from l4gm.model.allocator import keep_large_buffers

VERBS = {
    "reconstruct": "turn a video of a moving object into an animated 3D object",
    "view": "play an animated object in the browser",
    "render": "draw an animated object as a video or as pictures",
    "export": "write an animated object in another format",
    "inspect": "say what an asset holds",
    "check": "say how a video would be read, and show its matte",
    "app": "serve a page that turns videos into animated objects",
    "train": "train a network",
    "evaluate": "measure how good results are",
    "data": "make training data",
    "bench": "measure how fast the parts are on this machine",
    "fetch": "get what is too large to come with the package",
    "doctor": "say what this machine has, what is missing, and how to get it",
}

FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Terminated(BaseException):
    """SIGTERM arrived: unwinds the stack, so that temporary files are removed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; by default those of the process.

    Returns:
        the exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # of a terminal that cannot show every letter
            stream.reconfigure(errors="backslashreplace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        print(f"l4gm {__version__}")
        return 0
    debug = "--debug" in arguments
    try:
        with _sigterm_unwinds():
            _run(arguments)
            sys.stdout.flush()
    except (InputError, UsageError) as error:
        return _fail(error, str(error), BAD_INPUT, debug)
    except KeyboardInterrupt as error:
        return _fail(error, "interrupted", INTERRUPTED, debug)
    except Terminated as error:
        return _fail(error, "terminated", TERMINATED, debug)
    except BrokenPipeError:
        # The reader of our output has gone (`l4gm inspect ... | head`); say nothing, and keep
        # Python from flushing into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CommandError, OSError) as error:
        return _fail(error, str(error), FAILED, debug)
    except MemoryError as error:
        text = "out of memory; try fewer frames (--max-frames) or a smaller size"
        return _fail(error, text, FAILED, debug)
    except Exception as error:  # the outermost edge: a bug, still without a wall of text
        text = f"{type(error).__name__}: {error} (this is a bug; --debug shows where)"
        return _fail(error, text, FAILED, debug)
    return 0


def _run(arguments: list[str]) -> None:
    command = find_command(arguments)
    if hasattr(command.module, "SUBVERBS"):
        print(_group_help(command))
        return
    verb = " ".join(command.names)
    options = parse(
        command.module.Options, verb, command.summary, command.module.EXAMPLES, command.arguments
    )
    if options is None:
        return
    keep_large_buffers()
    with _logging(options):
        command.module.run(options)


@dataclass(frozen=True)
class Command:
    """A verb, or a verb and its sub-verb, with what it is given.

    Args:
        names: as typed, without `l4gm`.
        summary: one line.
        module: what runs it; one with `SUBVERBS` when no sub-verb but its help is asked for.
        arguments: what follows the names.
    """

    names: list[str]
    summary: str
    module: Any
    arguments: list[str]


def find_command(arguments: list[str]) -> Command:
    """The command that these arguments ask for; imports its module.

    Raises:
        UsageError: there is no such verb or sub-verb.
    """
    names, rest, table = arguments[:1], arguments[1:], VERBS
    while True:
        summary = _look_up(names, table)
        module: Any = importlib.import_module(f"l4gm.cli.{'_'.join(names)}")
        table = getattr(module, "SUBVERBS", {})
        if not table or not rest or rest[0] in ("-h", "--help", "help"):
            return Command(names, summary, module, rest)
        names, rest = [*names, rest[0]], rest[1:]


def _look_up(names: list[str], table: dict[str, str]) -> str:
    """The summary of the last of these names, which must be in the table."""
    *group, verb = names
    if verb in table:
        return table[verb]
    if verb.startswith("-"):
        name = " ".join(["l4gm", *group])
        raise UsageError(
            f"{name} does several things; say which before {verb}: {', '.join(table)} "
            f"({name} --help)"
        )
    near = difflib.get_close_matches(verb, table, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(table)}"
    raise UsageError(
        f"unknown command {' '.join(names)!r}; {hint} ({' '.join(['l4gm', *group])} --help)"
    )


def _group_help(command: Command) -> str:
    """What a verb with sub-verbs shows when none of them is named."""
    name = " ".join(["l4gm", *command.names])
    subverbs = command.module.SUBVERBS
    width = max(map(len, subverbs))
    return "\n".join(
        [
            f"usage: {name} COMMAND ...",
            "",
            f"{command.summary[0].upper()}{command.summary[1:]}.",
            "",
            "commands:",
            *(f"  {subverb:<{width}}  {text}" for subverb, text in subverbs.items()),
            "",
            "examples:",
            *(f"  {line}" for line in command.module.EXAMPLES.strip().splitlines()),
            "",
            f"{name} COMMAND --help tells more; every command takes --debug and --verbose.",
        ]
    )


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {summary}" for verb, summary in VERBS.items()]
    return "\n".join(
        [
            "usage: l4gm COMMAND ...",
            "",
            "One video of a moving object in, an animated 3D Gaussian object out.",
            "",
            "commands:",
            *lines,
            "",
            "examples:",
            "  l4gm reconstruct cat.mp4 -o out/cat     # then open out/cat/index.html",
            "  l4gm inspect out/cat",
            "  l4gm render out/cat -o orbit.mp4",
            "",
            "l4gm COMMAND --help tells more; every command takes --debug (tracebacks) and",
            "--verbose. l4gm --version says which version this is.",
        ]
    )


@contextmanager
def _logging(options: CommonOptions) -> Iterator[None]:
    """The package's warnings to stderr, one line each, marked like our errors, during a verb."""
    logger = logging.getLogger("l4gm")
    before = logger.handlers, logger.propagate, logger.level
    logger.handlers = [_StderrHandler()]
    logger.propagate = False
    logger.setLevel(logging.INFO if options.verbose else logging.WARNING)
    try:
        yield
    finally:
        logger.handlers, logger.propagate, level = before
        logger.setLevel(level)


class _StderrHandler(logging.Handler):
    """Looks up sys.stderr at each message, which a progress bar replaces while it lives.

    A message is printed once: a video is read several times, and says the same each time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text in self._printed:
            return
        self._printed.add(text)
        print(f"l4gm: {record.levelname.lower()}: {printable(text)}", file=sys.stderr)


def _fail(error: BaseException, message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    text = printable(short_message(" ".join(message.split())))
    print(f"l4gm: error: {text}", file=sys.stderr)
    return code


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    def handler(number: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
