"""A folder of a packed set, on disk or behind a URL that fsspec knows (s3://, https://, hf://)."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from l4gm.data.layout import DamagedClipError, Read
from l4gm.errors import InputError

logger = logging.getLogger(__name__)

# A file of a set: never a path that leads elsewhere, whoever wrote the manifest.
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ATTEMPTS = 3  # at reading from a network
PAUSE_SECONDS = 1.0


class Storage:
    """Reads the files of one folder.

    Args:
        folder: a path, or a URL; which kinds there are depends on what is installed beside fsspec
            (s3fs for s3://, aiohttp for https://).

    Raises:
        InputError: a URL of an unknown kind, or one whose package is missing.
    """

    def __init__(self, folder: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise InputError(
                f'{folder}: reading sets needs fsspec; pip install "l4gm[data]"'
            ) from error
        try:
            self._files, root = url_to_fs(folder)
        except (ImportError, ValueError) as error:
            raise InputError(f"{folder}: cannot be opened ({error})") from error
        self.folder = folder
        self._root = root.rstrip("/")
        self.is_local = "file" in _protocols(self._files)

    def path(self, name: str) -> str:
        """Where a file of the folder lies."""
        if not FILE_NAME.fullmatch(name):
            raise InputError(f"{self.folder}: {name[:80]!r} is no name of a file in this folder")
        return f"{self._root}/{name}"

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Bytes `start` to `end` of a file, fewer where it ends before; by default all.

        Over a network it is tried again a few times.

        Raises:
            InputError: there is no such file.
            OSError: it cannot be read.
        """
        path = self.path(name)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._files.cat_file(path, start=start, end=end)
            except FileNotFoundError as error:
                raise InputError(f"{self.folder}: has no {name}") from error
            except OSError as error:
                if self.is_local or attempt == ATTEMPTS:
                    raise
                logger.info("%s: %s; trying again", path, error)
                time.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError

    def clip_reader(self, shard: str, offset: int, size: int) -> Read:
        """Read within one clip of a shard: what is asked for from a disk, all at once otherwise.

        Raises:
            DamagedClipError: the shard is missing or cannot be read.
        """

        def from_shard(start: int, length: int) -> bytes:
            try:
                return self.read(shard, start, start + length)
            except (InputError, OSError) as error:
                raise DamagedClipError(str(error)) from error

        if self.is_local:
            return from_shard
        data = from_shard(offset, size)
        return lambda start, length: data[start - offset : start - offset + length]


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
