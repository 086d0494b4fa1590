"""From a command line to an options dataclass, by tyro; mistakes become one line."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import tyro

from l4gm.cli.option_ranges import range_fault
from l4gm.io.names import name_fault

OptionsT = TypeVar("OptionsT")


class UsageError(Exception):
    """The command line itself is wrong; the message is one line."""


class CommandError(Exception):
    """The input was fine, the work did not succeed; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What every verb takes."""

    debug: tyro.conf.FlagCreatePairsOff[bool] = False
    """Show the traceback of an error."""
    verbose: tyro.conf.FlagCreatePairsOff[bool] = False
    """Tell more on stderr while working."""


def parse(
    options: type[OptionsT],
    verb: str,
    summary: str,
    examples: str,
    arguments: Sequence[str],
) -> OptionsT | None:
    """Fill an options dataclass from a command line, or print its help.

    Args:
        options: a frozen dataclass; fields may be annotated with `tyro.conf`.
        verb, summary: for the help.
        examples: one command a line, printed below the help.
        arguments: without program and verb.

    Returns:
        the options; None when help was asked for and printed.

    Raises:
        UsageError: unknown, missing or malformed options.
    """
    # An encoding makes tyro draw the frames that `one_line` takes off again.
    caught = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    try:
        with redirect_stderr(caught):
            parsed = tyro.cli(
                options,
                prog=f"l4gm {verb}",
                description=f"{summary[0].upper()}{summary[1:]}.",
                args=list(arguments),
            )
        _check_names(parsed)
        _check_numbers(parsed)
        return parsed
    except SystemExit as stop:
        if stop.code:
            caught.seek(0)
            raise UsageError(f"{one_line(caught.read())} (l4gm {verb} --help)") from None
    print("examples:")
    print("\n".join(f"  {line}" for line in examples.strip().splitlines()))
    return None


def _check_names(options: object) -> None:
    """Raise UsageError if a file, a folder or anything else that is named cannot be used."""
    for name, value in vars(options).items():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, str | Path) and (fault := name_fault(str(item))):
                shown = str(item) if len(str(item)) < 60 else f"{str(item)[:60]}..."
                raise UsageError(f"{name.replace('_', '-')} {shown}: {fault}")


def _check_numbers(options: object) -> None:
    """Raise UsageError if a number is outside the range of its option."""
    for name, value in vars(options).items():
        for item in value if isinstance(value, tuple) else (value,):
            is_number = isinstance(item, int | float) and not isinstance(item, bool)
            if is_number and (fault := range_fault(name, item)):
                raise UsageError(f"--{name.replace('_', '-')} {item!s:.40}: {fault}")


def one_line(framed: str) -> str:
    """The text of tyro's framed error message, without options' help and pointer to the help."""
    sections: list[list[str]] = [[]]
    for line in framed.splitlines():
        inner = re.fullmatch(r"│ ?(.*?) *│", line.strip())
        if inner is None:
            continue
        if set(inner[1]) == {"─"}:
            sections.append([])
        elif not inner[1].startswith(" " * 8):
            sections[-1].append(inner[1].strip())
    texts = [" ".join(section) for section in sections]
    kept = [text for text in texts if text and not text.startswith("For full helptext")]
    return "; ".join(kept) or " ".join(framed.split())


def positive(name: str, value: float | None) -> None:
    """Raise UsageError unless an option is positive or not given."""
    if value is not None and not value > 0:
        raise UsageError(f"{name} {value}: expected a number above 0")


def size_text(path: Path) -> str:
    """The size of a file, or of all files in a folder, for people: "1.2 MB"."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
