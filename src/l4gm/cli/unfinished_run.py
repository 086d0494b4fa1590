"""The hidden folder of a run that is not yet whole, and the record from which it can go on.

A run writes into `.NAME.unfinished` beside NAME. After each piece of the result it notes there how
far it has got; a run that is killed between two notes redoes what came after the first. When all
is written, the folder takes its name.

A folder of that name may be somebody's own, or a link to it: only a real folder that belongs to
this user and holds our marker is ever taken over or emptied.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l4gm.cli.output_folder import check_replaceable, hidden_name, make_parents, put_in_place
from l4gm.cli.written import JOURNAL_NAME, Written, sync
from l4gm.errors import InputError
from l4gm.io.lock import locked

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
        record: from an earlier run, to resume from; None to begin at the beginning.
        written: what is whole in the folder; add to it before each note.
    """

    def __init__(self, folder: Path, record: Record | None, written: Written) -> None:
        self.folder = folder
        self.record = record
        self.written = written
        self._scratch = {RECORD_NAME, MARKER_NAME, JOURNAL_NAME}

    def scratch(self, name: str) -> Path:
        """A file in the folder that is no part of the result."""
        self._scratch.add(name)
        return self.folder / name

    def note(self, record: Record) -> None:
        """Replace the record, whole or not at all; what it speaks of is on the disk before it."""
        from safetensors.torch import save_file

        self.written.sync()
        position = record.position
        tensors: dict[str, Tensor] = {"views": position.state.views}
        if position.state.present is not None:
            tensors["present"] = position.state.present
        for index, part in enumerate(position.last or ()):
            tensors[f"last.{index}"] = part
        tensors = {name: tensor.to("cpu").contiguous() for name, tensor in tensors.items()}
        text = json.dumps(
            {
                "written": self.written.state,
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
            metadata = {"record": text, "sha256": _digest(tensors, text)}
            save_file(tensors, partial, metadata=metadata)
            sync(partial)
            partial.replace(self.folder / RECORD_NAME)
            self.record = record  # before the disk is waited for: an interruption may come there
        finally:
            partial.unlink(missing_ok=True)
        sync(self.folder)

    def inventory(self) -> dict[str, dict[str, Any]]:
        """Size and checksum of every file of the result so far, all synced to the disk."""
        return {
            name: facts
            for name, facts in self.written.inventory().items()
            if name not in self._scratch
        }

    def finish(self, path: Path) -> None:
        """The result is whole: give it its name. Only then is the way back thrown away."""
        put_in_place(self.folder, path)
        for name in self._scratch:
            (path / name).unlink(missing_ok=True)


def unfinished_folder(path: Path) -> Path:
    """Where the unfinished run of a result lies."""
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link elsewhere)
    return path.with_name(hidden_name(path, "unfinished"))


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
        InputError: as `check_startable`; the folder cannot be made or is not ours, another run is
            at work in it, or what is to be resumed is damaged.
    """
    check_startable(path, resume=resume, overwrite=overwrite)
    folder = unfinished_folder(path)
    path = folder.with_name(Path(os.path.abspath(path)).name)  # noqa: PTH100
    with make_parents(path), _taken(folder):
        written = Written(folder)
        record = _resumed(path, folder, written) if resume else None
        for item in folder.iterdir():
            # Hidden are the beginnings of files that never came to be.
            if item.name != MARKER_NAME and (record is None or item.name.startswith(".")):
                is_folder = item.is_dir() and not item.is_symlink()
                shutil.rmtree(item) if is_folder else item.unlink()
        run = UnfinishedRun(folder, record, written)
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
def _taken(folder: Path) -> Iterator[None]:
    """Make the folder if need be, mark it as ours, and keep other processes out meanwhile."""
    if os.path.lexists(folder):
        check_ours(folder)
    with locked(folder):
        check_ours(folder)
        try:
            (folder / MARKER_NAME).touch()
        except OSError as error:
            raise InputError(
                f"{folder}: cannot write there ({error.strerror}); choose another folder with -o"
            ) from error
        yield


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


def _resumed(path: Path, folder: Path, written: Written) -> Record | None:
    """The record in a folder, all that it speaks of checked; None if there is none.

    Raises:
        InputError: the record, or anything that it speaks of, is missing or damaged.
    """
    if not os.path.lexists(folder / RECORD_NAME):
        return None
    try:
        record, state = _read_record(folder / RECORD_NAME)
        written.resume(state)
    except InputError as error:
        raise InputError(
            f"{path}: the run that was cut off cannot be resumed, {error}; begin anew with "
            "--overwrite and without --resume"
        ) from None
    return record


def _read_record(path: Path) -> tuple[Record, dict[str, Any]]:
    """A record, and the state of the journal when it was made."""
    from safetensors import SafetensorError, safe_open

    from l4gm.pipeline.chunks import ChunkState
    from l4gm.pipeline.stream import StreamPosition

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
        text = metadata["record"]
        if metadata["sha256"] != _digest(tensors, text):
            raise ValueError("its checksum does not fit")
        document = json.loads(text)
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
        record = Record(identity=document["identity"], position=position, notes=document["notes"])
        return record, document["written"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name} is damaged ({type(error).__name__})") from None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Checksum of a record: one flipped bit in the views would show in all frames to come."""
    import torch

    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
