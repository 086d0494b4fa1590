"""Packing clips into a set: shards of about a gigabyte, and their manifest.

A set is a folder with `shard-00000.tar` ..., `manifest.parquet` and `report.json`. Shards are
written one after the other, each whole or not at all, with a note beside it of what it holds; a run
that was stopped goes on after the last whole shard, and gives the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from l4gm.data.layout import ClipFacts, ShardWriter, StoredClip, shard_writer
from l4gm.data.manifest import MANIFEST_NAME, ManifestRow, write_manifest
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file, remove_leftovers
from l4gm.io.json_file import read_json
from l4gm.io.lock import locked

logger = logging.getLogger(__name__)

REPORT_NAME = "report.json"
SHARD_BYTES = 1_000_000_000

# What a row of the manifest takes over from the clip.
_SHARED = {entry.name for entry in fields(ClipFacts)} & {
    entry.name for entry in fields(ManifestRow)
}


@dataclass(frozen=True, kw_only=True)
class PackOptions:
    """How clips are packed.

    Args:
        shard_bytes: a shard is closed when it has grown to this.
        heldout_share: of the objects.
        split_seed: another one holds out other objects.
    """

    shard_bytes: int = SHARD_BYTES
    heldout_share: float = 0.02
    split_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PackReport:
    """What came of packing.

    Args:
        clips: packed.
        num_bytes: of all shards.
        skipped: reason by item, of those that could not be had.
    """

    clips: int
    num_bytes: int
    skipped: dict[str, str]


def split_of(uid: str, options: PackOptions) -> str:
    """The split of an object: from its name alone, so that it is the same in every set."""
    digest = hashlib.sha256(f"{options.split_seed}/{uid}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "heldout" if share < options.heldout_share else "train"


def pack_clips(
    items: Sequence[str],
    load: Callable[[int], StoredClip],
    folder: Path,
    options: PackOptions | None = None,
    on_item: Callable[[int, int], None] | None = None,
) -> PackReport:
    """Make a set of clips, or finish one that was begun.

    Args:
        items: a name for every clip that shall be in it, in order; equal names and options mean
            equal clips, which is how a begun set is known again.
        load: makes or reads the clip of an item's number. An InputError from it leaves the item
            out, and the run goes on.
        folder: of the set; made if it is not there.
        options: sizes and split.
        on_item: called with (items done, all items).

    Raises:
        InputError: the folder holds another set, another run writes there, or nothing could be
            packed.
        OSError: a full disk, say; what was finished before stays, and the next call goes on there.
    """
    with locked(folder):
        remove_leftovers(folder)
        return _pack(items, load, folder, options or PackOptions(), on_item)


def _pack(
    items: Sequence[str],
    load: Callable[[int], StoredClip],
    folder: Path,
    options: PackOptions,
    on_item: Callable[[int, int], None] | None,
) -> PackReport:
    """`pack_clips` in a folder of its own."""
    plan = _fingerprint(items, options)
    if (finished := _finished_report(folder, plan)) is not None:
        return finished
    notes = _finished_shards(folder, plan)
    done = notes[-1].next_item if notes else 0
    while done < len(items):
        note = _write_shard(len(notes), done, items, load, folder, plan, options, on_item)
        notes.append(note)
        done = note.next_item
    rows = [row for note in notes for row in note.rows]
    skipped = {name: reason for note in notes for name, reason in note.skipped.items()}
    if not rows:
        first = next(iter(skipped.items()), ("", "there are none"))
        raise InputError(f"{folder}: no clip could be packed; the first: {first[0]}: {first[1]}")
    keys = [row.key for row in rows]
    if len(set(keys)) < len(keys):
        raise ValueError("two clips have the same key")
    report = PackReport(clips=len(rows), num_bytes=sum(row.size for row in rows), skipped=skipped)
    write_manifest(folder / MANIFEST_NAME, rows, {"plan": plan})
    with atomic_file(folder / REPORT_NAME) as partial:
        partial.write_text(json.dumps({"plan": plan} | asdict(report), indent=1) + "\n")
    for number in range(len(notes)):
        _note_path(folder, number).unlink(missing_ok=True)
    return report


@dataclass(frozen=True, kw_only=True)
class _ShardNote:
    """What lies beside a finished shard until the whole set is finished."""

    plan: str
    next_item: int
    rows: list[ManifestRow]
    skipped: dict[str, str]


def _fingerprint(items: Sequence[str], options: PackOptions) -> str:
    text = json.dumps([asdict(options), list(items)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _shard_name(number: int) -> str:
    return f"shard-{number:05d}.tar"


def _note_path(folder: Path, number: int) -> Path:
    return folder / f".{_shard_name(number)}.json"


def _finished_report(folder: Path, plan: str) -> PackReport | None:
    """The report of a set that is whole already, if it is of this plan."""
    path = folder / REPORT_NAME
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, dict) or values.pop("plan", None) != plan:
        return None
    with _damage_named(path):
        return PackReport(**values)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """A note or report that does not hold what it should is a line, not a bug."""
    try:
        yield
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged ({error}); delete the folder, or choose another with -o"
        ) from None


def _finished_shards(folder: Path, plan: str) -> list[_ShardNote]:
    """Notes of the shards that an earlier run of the same plan has finished.

    Raises:
        InputError: the folder holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write there ({error.strerror}); choose another folder with -o"
        ) from error
    notes: list[_ShardNote] = []
    while (path := _note_path(folder, len(notes))).exists():
        values = read_json(path)
        with _damage_named(path):
            rows = [ManifestRow(**row) for row in values.pop("rows")]
            notes.append(_ShardNote(rows=rows, **values))
    if any(note.plan != plan for note in notes) or (
        not notes and any(not path.name.startswith(".") for path in folder.iterdir())
    ):
        raise InputError(
            f"{folder}: holds another set or other files; choose another folder with -o"
        )
    if notes:
        logger.info("%s: going on after %d shards", folder, len(notes))
    return notes


def _write_shard(
    number: int,
    first_item: int,
    items: Sequence[str],
    load: Callable[[int], StoredClip],
    folder: Path,
    plan: str,
    options: PackOptions,
    on_item: Callable[[int, int], None] | None,
) -> _ShardNote:
    """Fill one shard with the items from `first_item` on, and leave a note beside it."""
    rows: list[ManifestRow] = []
    skipped: dict[str, str] = {}
    item = first_item
    with shard_writer(folder / _shard_name(number)) as writer:
        while item < len(items) and writer.size < options.shard_bytes:
            try:
                clip = load(item)
            except InputError as problem:
                skipped[items[item]] = str(problem)
                logger.warning("left out: %s", problem)
            else:
                rows.append(_add(writer, clip, _shard_name(number), options))
            item += 1
            if on_item is not None:
                on_item(item, len(items))
    note = _ShardNote(plan=plan, next_item=item, rows=rows, skipped=skipped)
    with atomic_file(_note_path(folder, number)) as partial:
        partial.write_text(json.dumps(asdict(note)))
    return note


def _add(writer: ShardWriter, clip: StoredClip, shard: str, options: PackOptions) -> ManifestRow:
    offset, size = writer.add(clip)
    facts, cameras = clip.facts, clip.cameras
    known = {name: getattr(facts, name) for name in _SHARED}
    return ManifestRow(
        **known,
        split=split_of(facts.uid, options),
        kept=True,
        size_px=cameras.width,
        num_views=len(clip.views),
        num_fixed=cameras.num_fixed,
        shard=shard,
        offset=offset,
        size=size,
    )
