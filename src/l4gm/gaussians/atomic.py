"""Files that appear under their final name whole, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from l4gm.errors import InputError


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


def _reserve(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem[:80]}-", suffix=f".partial{path.suffix}"
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
