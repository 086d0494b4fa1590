"""What became of every model: an append-only record beside the clips.

Each run appends lines of JSON to a file of its own in `ledger/`, so that many runs (the tasks of a
SLURM array) can work on one folder without locks. A line that a killed run left half is skipped;
of several about one model the latest counts.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Status = Literal["done", "refused", "failed"]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a model, or one clip of it, was not rendered.

    Args:
        kind: a few words to count by.
        detail: what exactly, in one line.
        final: trying again would not help.
        clip: key of the clip; empty: it concerns the whole model.
    """

    kind: str
    detail: str
    final: bool
    clip: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of one model.

    Args:
        uid, path: of the model.
        clips: keys of all its clips that are there.
        problems: of the others.
        notes: what was repaired in the file, in words.
        rendered: how many of the clips were rendered now (the rest was there already).
        frames: pictures rendered now, over all views.
        bytes: of the clips rendered now.
        seconds, cpu_seconds: that a worker spent on it, by the clock and of the processor.
        host: where.
        time: when it was finished, seconds since 1970.
    """

    uid: str
    path: str
    clips: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    rendered: int = 0
    frames: int = 0
    bytes: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    host: str = field(default_factory=socket.gethostname)
    time: float = field(default_factory=time.time)

    @property
    def status(self) -> Status:
        """done: every clip is there, or refused for good; failed: trying again may help."""
        if any(not problem.final for problem in self.problems):
            return "failed"
        return "done" if self.clips else "refused"

    @property
    def reason(self) -> str:
        """The kind of the problem that decided; empty when there is none."""
        deciding = [p for p in self.problems if not p.final] or list(self.problems)
        return deciding[0].kind if deciding else ""


class Ledger:
    """The records of a folder.

    Args:
        folder: of the farm; records lie in `ledger/` below.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ledger"
        self._path: Path | None = None

    def read(self) -> dict[str, Record]:
        """The latest record of every model, by uid."""
        records: dict[str, Record] = {}
        for path in sorted(self.folder.glob("*.jsonl")):
            for record in _parse(path.read_bytes().splitlines()):
                known = records.get(record.uid)
                if known is None or known.time <= record.time:
                    records[record.uid] = record
        return records

    def append(self, record: Record) -> None:
        """Add a record, on disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        if self._path is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            name = f"{stamp}-{socket.gethostname()}-{os.getpid()}-{time.time_ns() % 1_000_000:06d}"
            self._path = self.folder / f"{name}.jsonl"
        # A line that a full disk cut off must not swallow this one.
        line = b"\n" + json.dumps(asdict(record)).encode() + b"\n"
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _parse(lines: Iterable[bytes]) -> Iterable[Record]:
    for line in lines:
        try:
            values = json.loads(line)
            problems = tuple(Problem(**problem) for problem in values.pop("problems"))
            clips = tuple(values.pop("clips"))
            notes = tuple(values.pop("notes", ()))
            record = Record(**values, problems=problems, clips=clips, notes=notes)
        except (ValueError, KeyError, TypeError):  # cut off by a kill, or the empty line between
            continue
        yield record
