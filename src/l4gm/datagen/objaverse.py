"""Objaverse 1.0: which objects move, under which licence, and their files.

The annotations are those of the package `objaverse`: some 160 files `NNN-NNN.json.gz`, each a
dictionary of uid -> what Sketchfab says of the object. They are read one at a time, because all
800,000 together fill the memory of a workstation. The manifest is a Parquet table with one row for
each object; downloading fills in where its file lies.
"""

from __future__ import annotations

import gzip
import json
import re
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from l4gm.datagen.farm_jobs import Model
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file

UID = re.compile(r"[0-9a-f]{32}")
BATCH = 50  # objects that are asked of the package at a time; it reads its list of paths each time

SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("name", pa.string()),
        ("licence", pa.string()),
        ("author", pa.string()),
        ("url", pa.string()),
        ("animations", pa.int32()),
        ("faces", pa.int64()),
        ("path", pa.string()),
        ("problem", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ObjaverseObject:
    """A row of the manifest.

    Args:
        uid: 32 hexadecimal digits.
        name, author, url: as Sketchfab has them; CC licences ask to name them.
        licence: Sketchfab's short name: by, by-sa, by-nd, by-nc, by-nc-sa, by-nc-nd, cc0; empty if
            it is not known.
        animations, faces: counts; 0 where they are not known.
        path: of the downloaded file, absolute; empty before.
        problem: why it could not be downloaded.
    """

    uid: str
    name: str = ""
    licence: str = ""
    author: str = ""
    url: str = ""
    animations: int = 0
    faces: int = 0
    path: str = ""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which objects are listed.

    Args:
        licences: only these; empty: all, each with its licence kept.
        max_faces: only objects with at most so many; 0: all.
        exclude: uids to leave out. The default are the objects of the Consistent4D benchmark, which
            its authors ask trainers to leave out.
    """

    licences: tuple[str, ...] = ()
    max_faces: int = 0
    exclude: frozenset[str] = frozenset()

    def reason_against(self, item: ObjaverseObject) -> str:
        """Why an object is left out; empty: it is not."""
        if item.animations < 1:
            return "no animation"
        if item.uid in self.exclude:
            return "excluded by uid"
        if self.licences and item.licence not in self.licences:
            return "licence"
        if self.max_faces and item.faces > self.max_faces:
            return "too many faces"
        return ""


def benchmark_uids() -> frozenset[str]:
    """The uids of the Consistent4D test objects, from `benchmark_uids.txt`."""
    return read_uids(files("l4gm.datagen").joinpath("benchmark_uids.txt").read_text("utf-8"))


def read_uids(text: str) -> frozenset[str]:
    """Uids, one a line; what follows a # is a remark.

    Raises:
        InputError: a line is no uid.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    for line in lines:
        if line and not UID.fullmatch(line):
            raise InputError(f"{line!r} is no uid; expected 32 hexadecimal digits on a line")
    return frozenset(line for line in lines if line)


def list_animated(
    annotation_files: Iterable[Path], selection: Selection
) -> tuple[list[ObjaverseObject], Counter[str]]:
    """The objects that move and are wanted, sorted by uid, and how many were left out why.

    Raises:
        InputError: an annotation file cannot be read.
    """
    kept: dict[str, ObjaverseObject] = {}
    left_out: Counter[str] = Counter()
    for path in annotation_files:
        for uid, annotation in _annotations(path).items():
            item = _object(uid, annotation)
            reason = "malformed annotation" if item is None else selection.reason_against(item)
            if item is None or reason:
                left_out[reason] += 1
            else:
                kept[item.uid] = item
    return [kept[uid] for uid in sorted(kept)], left_out


def annotation_files(folder: Path) -> list[Path]:
    """The annotation files of a folder, as the package keeps them.

    Raises:
        InputError: there are none.
    """
    found = sorted(folder.glob("*.json.gz")) if folder.is_dir() else []
    found = [path for path in found if re.fullmatch(r"\d{3}-\d{3}\.json\.gz", path.name)]
    if not found:
        raise InputError(
            f"{folder}: no annotation files (000-000.json.gz ...) there; leave out --annotations "
            "to have them downloaded"
        )
    return found


def fetch_annotations(folder: Path) -> list[Path]:
    """Have the package download the annotation files that are not there yet.

    Args:
        folder: of the package's files; the annotations lie in `metadata/` below.

    Raises:
        InputError: they cannot be had.
    """
    package = _package(folder)
    metadata = folder / "metadata"
    try:
        with redirect_stdout(StringIO()):
            paths = package._load_object_paths()
            # One object of each file is enough for the package to fetch it, and it returns little.
            representatives = {path.split("/")[1]: uid for uid, path in paths.items()}
            for name, uid in sorted(representatives.items()):
                if not (metadata / f"{name}.json.gz").exists():
                    package.load_annotations([uid])
    except OSError as error:
        raise InputError(f"Objaverse's annotations cannot be downloaded ({error})") from error
    return annotation_files(metadata)


def download(
    items: Sequence[ObjaverseObject],
    folder: Path,
    *,
    connections: int = 4,
    on_item: Callable[[int, int], None] = lambda done, total: None,
) -> list[ObjaverseObject]:
    """Have the package download the objects that are not there yet.

    What is there stays, so that a run that was stopped goes on. An object that cannot be had keeps
    the reason in its row, and the others are fetched.

    Args:
        items: which.
        folder: of the package's files; objects lie in `glbs/` below.
        connections: downloads at a time.
        on_item: called with (objects looked after, all objects).

    Returns:
        the rows with `path` or `problem` filled in, in the same order.
    """
    package = _package(folder)
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    rows: list[ObjaverseObject] = []
    with (
        redirect_stdout(StringIO()),  # the package prints a line for each object
        warnings.catch_warnings(action="ignore", category=UserWarning),
        ThreadPoolExecutor(max(1, connections)) as pool,
    ):
        for batch in pool.map(lambda batch: _download_batch(package, batch), batches):
            rows += batch
            on_item(len(rows), len(items))
    return rows


def _download_batch(package: Any, batch: Sequence[ObjaverseObject]) -> list[ObjaverseObject]:
    try:
        paths = package.load_objects([item.uid for item in batch])
    except Exception as error:  # whatever the package lets through from the network or the disk
        if len(batch) > 1:  # find out which: the others are there already or are fetched now
            return [_download_batch(package, [item])[0] for item in batch]
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return [replace(batch[0], path="", problem=text)]
    return [_checked(item, paths.get(item.uid)) for item in batch]


def _checked(item: ObjaverseObject, path: str | None) -> ObjaverseObject:
    """The row of a downloaded object whose file is whole."""
    if path is None:
        return replace(item, path="", problem="not in Objaverse's list of files")
    with Path(path).open("rb") as file:
        head = file.read(12)
    length = int.from_bytes(head[8:12], "little")
    size = Path(path).stat().st_size
    if head[:4] == b"glTF" and length > size:
        Path(path).unlink()  # so that the next run fetches it again
        return replace(item, path="", problem=f"cut off: {size} of {length} bytes")
    return replace(item, path=str(Path(path).absolute()), problem="")


def write_manifest(path: Path, items: Sequence[ObjaverseObject]) -> None:
    """Write the table, whole or not at all."""
    table = pa.Table.from_pylist([asdict(item) for item in items], schema=SCHEMA)
    with atomic_file(path) as partial:
        pq.write_table(table, partial)


def read_manifest(path: Path) -> list[ObjaverseObject]:
    """The rows of a manifest.

    Raises:
        InputError: there is none, or it is another kind of table.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; make one with `l4gm data objaverse list`")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: is no Parquet table ({error})") from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(f"{path}: is no list of objects; it has no column {missing[0]!r}")
    rows = table.select(SCHEMA.names).cast(SCHEMA).to_pylist()
    return [ObjaverseObject(**{k: v for k, v in row.items() if v is not None}) for row in rows]


def read_models(path: Path) -> list[Model]:
    """The objects of a manifest that have been downloaded, to be rendered.

    Raises:
        InputError: it is no manifest, or nothing has been downloaded.
    """
    items = [item for item in read_manifest(path) if item.path]
    if not items:
        raise InputError(
            f"{path}: no object of it has been downloaded; run `l4gm data objaverse download`"
        )
    return [
        Model(uid=item.uid, path=item.path, licence=item.licence, source=item.url or "objaverse")
        for item in items
    ]


def _annotations(path: Path) -> dict[str, Any]:
    try:
        with gzip.open(path, "rb") as file:
            found = json.load(file)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read, it was cut off or damaged ({error}); delete it and have it "
            "downloaded again"
        ) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: is no annotation file; expected a dictionary of objects")
    return found


def _object(uid: str, annotation: Any) -> ObjaverseObject | None:
    """What we keep of an annotation; None if it makes no sense."""
    if not UID.fullmatch(uid) or not isinstance(annotation, dict):
        return None
    user = annotation.get("user")
    author = user.get("displayName") or user.get("username") if isinstance(user, dict) else ""
    return ObjaverseObject(
        uid=uid,
        name=_text(annotation.get("name")),
        licence=_text(annotation.get("license")),
        author=_text(author),
        url=_text(annotation.get("viewerUrl")),
        animations=_count(annotation.get("animationCount")),
        faces=_count(annotation.get("faceCount")),
    )


def _text(value: Any) -> str:
    # Names hold anything that people type, lone surrogates too, which Parquet refuses.
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 31 else 0


def _package(folder: Path) -> Any:
    """The package `objaverse`, with its files in this folder instead of the home folder."""
    try:
        import objaverse
    except ImportError as error:
        raise InputError(
            'downloading needs the package objaverse: pip install "l4gm[datagen]"'
        ) from error
    objaverse._VERSIONED_PATH = str(folder.absolute())
    return objaverse


def licences(items: Iterable[ObjaverseObject]) -> Iterator[tuple[str, int]]:
    """(licence, number of objects), the most frequent first."""
    yield from Counter(item.licence or "unknown" for item in items).most_common()
