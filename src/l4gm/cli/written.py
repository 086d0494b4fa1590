"""What an unfinished run has written, with checksums, so that damage is found in time.

A line of JSON for each stretch of a file. Before a record is made that speaks of them, the files
and these lines are on the disk itself, not only on their way.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from l4gm.errors import InputError

JOURNAL_NAME = "written.jsonl"

_BLOCK_BYTES = 1 << 22


class Written:
    """The stretches of files in a folder that are whole.

    Args:
        folder: of the unfinished run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lines: list[str] = []
        self._names: set[str] = set()
        self._digest = hashlib.sha256()
        self._unsynced: set[str] = set()
        self._stored = 0  # lines that the journal's file holds

    @property
    def state(self) -> dict[str, Any]:
        """For the record: how many lines there are, and their checksum."""
        return {"lines": len(self._lines), "sha256": self._digest.hexdigest()}

    def has(self, name: str) -> bool:
        """Whether anything of a file has been written and noted."""
        return name in self._names

    def add(self, name: str, stretches: Iterable[tuple[int, int]] | None = None) -> None:
        """Note what has just been written.

        Args:
            name: of the file, within the folder.
            stretches: offset and length in bytes of each; all of the file when left out.
        """
        path = self._folder / name
        for offset, length in stretches or [(0, path.stat().st_size)]:
            found = _sha256(path, offset, length)
            self._append(json.dumps([name, offset, length, found]))
        self._unsynced.add(name)

    def sync(self) -> None:
        """Wait until all that was added is on the disk, and the journal too."""
        for name in sorted(self._unsynced):
            sync(self._folder / name)
        self._unsynced.clear()
        path = self._folder / JOURNAL_NAME
        with path.open("a" if self._stored else "w") as stream:
            stream.writelines(f"{line}\n" for line in self._lines[self._stored :])
        self._stored = len(self._lines)
        sync(path)
        sync(self._folder)

    def resume(self, state: dict[str, Any]) -> None:
        """Take up the journal of an earlier run as its record speaks of it, and check every file.

        Raises:
            InputError: the journal, or anything that it notes, is missing or damaged.
        """
        path = self._folder / JOURNAL_NAME
        try:
            lines = path.read_text().splitlines()[: state["lines"]]
        except (OSError, ValueError) as error:
            raise InputError(f"{path.name} cannot be read ({error})") from None
        digest = hashlib.sha256("".join(f"{line}\n" for line in lines).encode())
        if state != {"lines": len(lines), "sha256": digest.hexdigest()}:
            raise InputError(f"{path.name} is damaged")
        for line in lines:
            self._append(line)
        for name, offset, length, expected in map(json.loads, lines):
            file = self._folder / name
            if not file.exists() or not stat.S_ISREG(file.lstat().st_mode):
                raise InputError(f"{name} is missing")
            if _sha256(file, offset, length) != expected:
                raise InputError(f"{name} is damaged")

    def inventory(self) -> dict[str, dict[str, Any]]:
        """Size and checksum of every visible file in the folder, all synced to the disk."""
        found = {}
        for path in sorted(self._folder.rglob("[!.]*")):
            sync(path)
            if path.is_file():
                found[path.relative_to(self._folder).as_posix()] = _facts(path)
        return found

    def _append(self, line: str) -> None:
        self._lines.append(line)
        self._digest.update(f"{line}\n".encode())
        self._names.add(json.loads(line)[0])


def damaged_file(folder: Path, inventory: Mapping[str, Any]) -> str | None:
    """The first file of an inventory that is not as it was, or None."""
    for name, facts in inventory.items():
        path = folder / name
        if not path.is_file() or _facts(path) != facts:
            return name
    return None


def _facts(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    return {"bytes": size, "sha256": _sha256(path, 0, size)}


def _sha256(path: Path, offset: int, length: int) -> str:
    """Of a stretch of a file; of less, where the file ends before."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(offset)
        while length and (block := stream.read(min(length, _BLOCK_BYTES))):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
