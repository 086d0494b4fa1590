"""A result folder that appears under its name whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from l4gm.errors import InputError
from l4gm.io.names import shortened

REPORT_NAME = "report.json"  # written last: a folder that has one of ours is a result

_WRITTEN_BY = {"written_by": "l4gm"}  # other programs write a report.json too
_EARLIER_FORMAT = "l4gm-report"  # of reports of `reconstruct` from before they said who wrote them


@contextmanager
def output_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it takes that name when the block ends well.

    When the block raises, the temporary folder is removed and what stood under the name stays. A
    process that is killed outright leaves a `.NAME.partial-...` folder, which may be deleted.

    Args:
        path: where the result shall lie; missing parent folders are made.
        overwrite: replace an earlier result of that name.

    Raises:
        InputError: something stands there already and may not be replaced, or the folder cannot be
            made.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link elsewhere)
    check_replaceable(path, overwrite=overwrite)
    with make_parents(path):
        try:
            partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=hidden_name(path, "partial-")))
        except OSError as error:
            raise InputError(_unwritable(path, error)) from error
        try:
            yield partial
            check_replaceable(path, overwrite=overwrite)  # it may have appeared meanwhile
            put_in_place(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def make_parents(path: Path) -> Iterator[None]:
    """Make the missing folders above `path`; those still empty after the block go again.

    Raises:
        InputError: they cannot be made.
    """
    new_parents = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(_unwritable(path, error)) from error
    try:
        yield
    finally:
        for folder in new_parents:
            with suppress(OSError):
                folder.rmdir()


def hidden_name(path: Path, ending: str) -> str:
    """The name of a hidden neighbour of a folder, of a length that file systems take."""
    return f".{shortened(path.name, 80)}.{ending}"


def _unwritable(path: Path, error: OSError) -> str:
    return f"{path}: cannot write there ({error.strerror}); choose another folder with -o"


def check_replaceable(path: Path, *, overwrite: bool) -> None:
    """Raise InputError if something stands at `path` that may not be replaced.

    Even with `overwrite`, only a folder that is empty or holds a report of ours is replaced: never
    a file, never a folder of something else.
    """
    if not os.path.lexists(path):
        return
    if not path.is_dir() or path.is_symlink():
        raise InputError(f"{path}: exists and is not a folder; choose another name with -o")
    if not any(path.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"{path}: exists; choose another name with -o, or replace with --overwrite"
        )
    if not _is_result(path):
        raise InputError(
            f"{path}: holds files but no {REPORT_NAME} of l4gm, so it is no result of l4gm and is "
            "not replaced; choose another name with -o"
        )


def write_report(folder: Path, document: Mapping[str, Any]) -> None:
    """Write report.json, last: it makes the folder a result, which `overwrite` may replace."""
    text = json.dumps({**_WRITTEN_BY, **document}, indent=1)
    (folder / REPORT_NAME).write_text(f"{text}\n")


def _is_result(folder: Path) -> bool:
    """Whether a folder holds a report that l4gm wrote."""
    with suppress(OSError, ValueError, RecursionError):
        document = json.loads((folder / REPORT_NAME).read_bytes())
        if isinstance(document, dict):
            return document.items() >= _WRITTEN_BY.items() or (
                document.get("format") == _EARLIER_FORMAT
            )
    return False


def put_in_place(partial: Path, path: Path) -> None:
    """Rename `partial`, with usual permissions, to `path`.

    An earlier folder of that name steps aside first and comes back on failure.
    """
    mask = os.umask(0)
    os.umask(mask)
    partial.chmod(0o777 & ~mask)  # mkdtemp makes folders private to their owner
    if not path.exists():
        os.replace(partial, path)
        return
    aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=hidden_name(path, "old-")))
    os.replace(path, aside)
    try:
        os.replace(partial, path)
    except BaseException:
        os.replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)
