"""The hidden folder of a run that is not yet whole, and the record from which it can go on.

A run writes into `.NAME.unfinished` beside NAME. After each piece of the result it notes there how
far it has got; a run that is killed between two notes redoes what came after the first. When all
is written, the folder takes its name.

A folder of that name may be somebody's own, or a link to it: only a real folder that belongs to
this user and holds our marker is ever taken over or emptied.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4gm.cli.output_folder import check_replaceable, make_parents, put_in_place
from l4gm.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from l4gm.pipeline.stream import StreamPosition

RECORD_NAME = "unfinished.safetensors"
MARKER_NAME = ".l4gm-unfinished"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Record:
    """How far a run has got.

    Args:
        identity: all that decides what the result's bytes are; runs that differ are not the same.
        position: where the stream of frames stands.
        notes: what the run wants to be told again, JSON values.
    """

    identity: dict[str, Any]
    position: StreamPosition
    notes: dict[str, Any]


class UnfinishedRun:
    """The folder of a run, under its hidden name; made by `unfinished_run`.

    Attributes:
        folder: where to write.
        record: from an earlier run, to go on from; None to begin at the beginning.
    """

    def __init__(self, folder: Path, record: Record | None) -> None:
        self.folder = folder
        self.record = record
        self._scratch = {RECORD_NAME, MARKER_NAME}

    def scratch(self, name: str) -> Path:
        """A file in the folder that is no part of the result."""
        self._scratch.add(name)
        return self.folder / name

    def note(self, record: Record) -> None:
        """Replace the record, whole or not at all; what it speaks of is written already."""
        from safetensors.torch import save_file

        position = record.position
        tensors: dict[str, Tensor] = {"views": position.state.views}
        if position.state.present is not None:
            tensors["present"] = position.state.present
        for index, part in enumerate(position.last or ()):
            tensors[f"last.{index}"] = part
        text = json.dumps(
            {
                "identity": record.identity,
                "notes": record.notes,
                "num_frames": position.num_frames,
                "chunk_frames": position.chunk_frames,
                "continues": position.state.continues,
                "keep": position.state.keep,
            }
        )
        partial = self.folder / f"{RECORD_NAME}.partial"
        try:
            save_file(
                {name: tensor.to("cpu").contiguous() for name, tensor in tensors.items()},
                partial,
                metadata={"record": text},
            )
            partial.replace(self.folder / RECORD_NAME)
        finally:
            partial.unlink(missing_ok=True)
        self.record = record

    def finish(self, path: Path) -> None:
        """The result is whole: give it its name. Only then is the way back thrown away."""
        put_in_place(self.folder, path)
        for name in self._scratch:
            (path / name).unlink(missing_ok=True)


def unfinished_folder(path: Path) -> Path:
    """Where the unfinished run of a result lies."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link elsewhere)
    return path.with_name(f".{path.name[:80]}.unfinished")


def check_startable(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise InputError if a run may not begin.

    The result exists, a run of that name is unfinished, or its folder is not ours.
    """
    check_replaceable(path, overwrite=overwrite)
    unfinished = unfinished_folder(path)
    if os.path.lexists(unfinished):
        check_ours(unfinished)
    if (unfinished / RECORD_NAME).exists() and not (resume or overwrite):
        raise InputError(
            f"{path}: a run of that name was cut off (it lies in {unfinished}); go on with "
            "--resume, or begin anew with --overwrite"
        )


@contextmanager
def unfinished_run(
    path: Path, *, resume: bool = False, overwrite: bool = False
) -> Iterator[UnfinishedRun]:
    """Yield a run's folder; it takes the name `path` when the block ends well.

    When the block raises, the folder stays if something was noted in it, so that `resume` can go
    on; else it is removed. What stood under the name stays until then.

    Args:
        path: where the result shall lie; missing parent folders are made.
        resume: go on with an unfinished run, if there is one.
        overwrite: replace an earlier result, and, without `resume`, an unfinished run.

    Raises:
        InputError: as `check_startable`; the folder cannot be made or is not ours, or another run
            is at work in it.
    """
    check_startable(path, resume=resume, overwrite=overwrite)
    folder = unfinished_folder(path)
    path = folder.with_name(Path(os.path.abspath(path)).name)  # noqa: PTH100
    with make_parents(path), _locked(folder):
        record = _read_record(folder) if resume else None
        for item in folder.iterdir():
            # Hidden are the beginnings of files that never came to be.
            if item.name != MARKER_NAME and (record is None or item.name.startswith(".")):
                is_folder = item.is_dir() and not item.is_symlink()
                shutil.rmtree(item) if is_folder else item.unlink()
        run = UnfinishedRun(folder, record)
        try:
            yield run
            check_replaceable(path, overwrite=overwrite)  # it may have appeared meanwhile
            run.finish(path)
        except BaseException:
            if not (folder / RECORD_NAME).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, says that a disk or a quota is full."""
    while error is not None:
        if getattr(error, "errno", None) in _DISK_FULL or os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make the folder if need be, and keep other processes of ours out while it is in use."""
    try:
        folder.mkdir(exist_ok=True)
        check_ours(folder)
        (folder / MARKER_NAME).touch()
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror}); choose another folder with -o"
        ) from error
    try:
        import fcntl
    except ImportError:  # Windows: two runs on one name are the user's own care
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
        os.close(handle)


def check_ours(folder: Path) -> None:
    """Raise InputError unless the folder is empty or an unfinished run of this user's."""
    found = folder.lstat()
    owned = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    if stat.S_ISDIR(found.st_mode) and owned:
        names = {item.name for item in folder.iterdir()}
        marker = folder / MARKER_NAME
        if not names or (MARKER_NAME in names and stat.S_ISREG(marker.lstat().st_mode)):
            return
    raise InputError(
        f"{folder}: stands where an unfinished run would lie, but l4gm did not make it; rename it, "
        "or choose another folder with -o"
    )


def _read_record(folder: Path) -> Record | None:
    """The record in a folder; None if there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    from l4gm.pipeline.chunks import ChunkState
    from l4gm.pipeline.stream import StreamPosition

    path = folder / RECORD_NAME
    if not path.exists():
        return None
    with suppress(SafetensorError, OSError, ValueError, KeyError, TypeError):
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            document = json.loads((file.metadata() or {})["record"])
        state = ChunkState(
            views=tensors["views"],
            present=tensors.get("present"),
            continues=document["continues"],
            keep=document["keep"],
        )
        position = StreamPosition(
            num_frames=document["num_frames"],
            state=state,
            chunk_frames=document["chunk_frames"],
            last=tuple(tensors[name] for name in sorted(tensors) if name.startswith("last."))
            or None,
        )
        return Record(identity=document["identity"], position=position, notes=document["notes"])
    return None
