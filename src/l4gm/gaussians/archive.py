"""Zip files of others, read one named member at a time and never to disk.

A zip can claim anything: members that unpack to terabytes, names that lead elsewhere, zips in
zips. Nothing here extracts: a member is asked for by its exact name, and its size is bounded.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from l4gm.errors import InputError
from l4gm.gaussians.identify import what_it_is


class Archive:
    """A zip file opened for reading; a context manager.

    Args:
        path: the file.
        what: what it should be, for messages ("a SOG file").

    Raises:
        InputError: no such file, or not a zip.
    """

    def __init__(self, path: str | os.PathLike[str], what: str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path}: no such file; expected {what}")
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
            raise InputError(
                f"{self.path}: expected {what}, which is a zip file, but {what_it_is(self.path)}, "
                f"or cut off ({error})"
            ) from None

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._zip.close()

    def check_members(self, names: Iterable[str]) -> None:
        """Raise InputError at the first of these names that is no member."""
        for name in names:
            if name not in self._zip.NameToInfo:
                raise InputError(f"{self.path}: the member {name[:80]!r} is missing")

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of one member, of which there are at most `limit`.

        Raises:
            InputError: no such member, larger than the limit, encrypted, or damaged.
        """
        try:
            member = self._zip.getinfo(name)
        except KeyError:
            raise InputError(f"{self.path}: the member {name[:80]!r} is missing") from None
        too_large = InputError(
            f"{self.path}: the member {name[:80]!r} is larger than the {limit} bytes it may have"
        )
        if member.file_size > limit:
            raise too_large
        try:
            with self._zip.open(member) as stream:
                content = stream.read(limit + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
            RuntimeError,  # encrypted
            EOFError,
            OSError,
            ValueError,
        ) as error:
            raise InputError(
                f"{self.path}: the member {name[:80]!r} cannot be read ({error}); get it anew"
            ) from None
        if len(content) > limit:
            raise too_large
        return content
