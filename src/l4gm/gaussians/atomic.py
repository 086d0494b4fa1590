"""Files that appear under their final name whole, or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l4gm.errors import InputError
from l4gm.io.names import shortened

_PARTIAL = re.compile(r"\..*-[a-z0-9_]{8}\.partial(\..*)?")  # what mkstemp makes of `_reserve`'s


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the final name when the block ends well.

    Missing parent folders are made. When the block raises, the partial file is deleted and
    whatever stood under the final name before is left as it was.

    Raises:
        InputError: the folder cannot be made or written to, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give a file name inside it")
    partial = _reserve(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left of files in a folder that nobody else writes to now."""
    for path in folder.iterdir():
        if _PARTIAL.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()


def _reserve(path: Path) -> Path:
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 20 else ""  # writers go by it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{shortened(path.stem, 80)}-", suffix=f".partial{suffix}"
        )
        os.close(handle)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; choose a folder that can be written to"
        ) from error
    # mkstemp makes files private to their owner; results get the usual permissions.
    mask = os.umask(0)
    os.umask(mask)
    Path(name).chmod(0o666 & ~mask)
    return Path(name)
