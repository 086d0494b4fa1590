"""The manifest of a packed set: a Parquet table with one row for each clip.

It says what each clip is, which split it is in, whether the motion filter keeps it, and where in
which shard it lies. Any tool that reads Parquet can look into it or change the columns `split` and
`kept`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from l4gm.data.storage import Storage
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file

MANIFEST_NAME = "manifest.parquet"


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One clip of a set.

    Args:
        key, uid, animation, clip, licence, source, renderer, fps, num_frames, motion,
            motion_method: as in `l4gm.data.layout.ClipFacts`.
        split: "train" or "heldout"; the same for all clips of an object.
        kept: whether training uses it; see `l4gm data filter`.
        size_px: width and height of the pictures.
        num_views, num_fixed: views in all, and fixed ones.
        shard: file name.
        offset, size: bytes of the clip in the shard.
    """

    key: str
    uid: str
    animation: str
    clip: int
    split: str
    kept: bool
    licence: str
    source: str
    renderer: str
    fps: float
    num_frames: int
    size_px: int
    num_views: int
    num_fixed: int
    motion: float | None
    motion_method: str
    shard: str
    offset: int
    size: int


_TYPES = {"str": "string", "int": "int64", "float": "float64", "bool": "bool"}


def write_manifest(
    path: str | Path, rows: Iterable[ManifestRow], metadata: dict[str, str] | None = None
) -> None:
    """Write a manifest, whole or not at all.

    Args:
        path: of the file.
        rows: of the table.
        metadata: about the whole set, kept in the file's schema.

    Raises:
        InputError: pyarrow is missing, or the place cannot be written to.
    """
    arrow, parquet = _pyarrow()
    kinds = {entry.name: str(entry.type).partition(" ")[0] for entry in fields(ManifestRow)}
    schema = arrow.schema(
        [(name, arrow.type_for_alias(_TYPES[kind])) for name, kind in kinds.items()],
        metadata=metadata,
    )
    table = arrow.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    with atomic_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


def read_manifest(folder: str | Path, columns: Sequence[str] | None = None) -> Any:
    """The manifest of a packed set as a `pyarrow.Table`, rows in the order of the shards.

    Args:
        folder: of the set, a path or URL.
        columns: which; by default all.

    Raises:
        InputError: there is none, it is damaged, or it lacks a column.
    """
    arrow, parquet = _pyarrow()
    storage = Storage(str(folder))
    try:
        data = storage.read(MANIFEST_NAME)
    except InputError as error:
        raise InputError(
            f"{folder}: holds no {MANIFEST_NAME}, so it is no packed set (l4gm data pack makes one)"
        ) from error
    try:
        # Without Arrow's threads: a process that ends while they start is aborted.
        return parquet.read_table(
            io.BytesIO(data),
            columns=columns and list(columns),
            use_threads=False,
            pre_buffer=False,
        )
    except (arrow.ArrowException, OSError) as error:
        raise InputError(f"{folder}/{MANIFEST_NAME}: damaged or not ours ({error})") from error


def manifest_rows(table: Any) -> list[ManifestRow]:
    """The rows of a table that has all columns."""
    return [ManifestRow(**row) for row in table.to_pylist()]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError('Parquet manifests need pyarrow; pip install "l4gm[data]"') from error
    return pyarrow, pyarrow.parquet
