"""A folder that one process at a time works in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from l4gm.errors import InputError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of a folder during the block.

    The lock belongs to the process: one that is killed leaves none behind. Missing folders are
    made, and removed again if nothing comes to lie in them. Windows has no such locks; there two
    runs on one folder are the user's own care.

    Raises:
        InputError: another process holds it, or the folder cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror}); choose another folder with -o"
        ) from error
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder}: another run is writing there; wait for it, or choose another folder "
                "with -o"
            ) from error
        yield
    finally:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        os.close(handle)
