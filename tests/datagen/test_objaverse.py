"""Objaverse's lists on annotation files of the same form, and downloads by its own package."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest

from l4gm.datagen import objaverse
from l4gm.datagen.objaverse import ObjaverseObject, Selection
from l4gm.errors import InputError

pytest.importorskip("objaverse", reason='not installed: pip install "l4gm[datagen]"')

HELD_OUT = "ba7b382c918b40e6b07011da4ff3ebc0"


def uid(number: int) -> str:
    return f"{number:032x}"


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    """What Sketchfab says of an object, as Objaverse stores it."""
    return {
        "uri": f"https://api.sketchfab.com/v3/models/{uid(number)}",
        "uid": uid(number),
        "name": f"object {number}",
        "animationCount": number % 3,
        "viewerUrl": f"https://sketchfab.com/3d-models/{uid(number)}",
        "license": ("by", "cc0", "by-nc-sa")[number % 3],
        "faceCount": 1000 * number,
        "vertexCount": 500 * number,
        "user": {"username": "someone", "displayName": "Some One"},
        "tags": [{"name": "cat", "slug": "cat"}],
        "archives": {"glb": {"size": 12345, "faceCount": None}},
    } | changes


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """Two annotation files of ten objects each, and one of the benchmark's."""
    folder = tmp_path / "remote" / "metadata"
    folder.mkdir(parents=True)
    for name, numbers in (("000-000", range(10)), ("000-001", range(10, 20))):
        objects = {uid(n): annotation(n) for n in numbers}
        if name == "000-001":
            objects[HELD_OUT] = annotation(4, uid=HELD_OUT)
        with gzip.open(folder / f"{name}.json.gz", "wt") as file:
            json.dump(objects, file)
    return folder


def test_objects_that_move_with_their_licences(metadata: Path, tmp_path: Path) -> None:
    paths = objaverse.annotation_files(metadata)
    items, left_out = objaverse.list_animated(paths, Selection(exclude=objaverse.benchmark_uids()))
    assert [item.uid for item in items] == [uid(n) for n in range(20) if n % 3]
    assert left_out == {"no animation": 7, "excluded by uid": 1}
    first = items[0]
    assert (first.name, first.licence, first.author) == ("object 1", "cc0", "Some One")
    assert (first.animations, first.faces) == (1, 1000)
    assert first.url.startswith("https://sketchfab.com/")
    objaverse.write_manifest(tmp_path / "list.parquet", items)
    assert objaverse.read_manifest(tmp_path / "list.parquet") == items


def test_selection(metadata: Path) -> None:
    paths = objaverse.annotation_files(metadata)
    items, left_out = objaverse.list_animated(paths, Selection(licences=("cc0",), max_faces=10_000))
    assert [item.uid for item in items] == [uid(n) for n in (1, 4, 7, 10)] + [HELD_OUT]
    assert left_out == {"no animation": 7, "licence": 6, "too many faces": 3}


def test_the_benchmark_is_left_out_by_default() -> None:
    uids = objaverse.benchmark_uids()
    assert len(uids) == 7
    assert HELD_OUT in uids
    assert objaverse.read_uids(f"# mine\n{uid(1)}  # a cat\n\n") == {uid(1)}
    with pytest.raises(InputError, match=r"'\.\./x' is no uid"):
        objaverse.read_uids("../x\n")


@pytest.mark.parametrize(
    "broken",
    [
        {"../../etc/passwd": annotation(1)},
        {uid(1): "text"},
        {uid(1).upper() + "X": annotation(1)},
    ],
)
def test_malformed_annotations_are_counted(tmp_path: Path, broken: dict[str, Any]) -> None:
    path = tmp_path / "000-000.json.gz"
    with gzip.open(path, "wt") as file:
        json.dump(broken | {uid(2): annotation(2)}, file)
    items, left_out = objaverse.list_animated([path], Selection())
    assert [item.uid for item in items] == [uid(2)]
    assert left_out == {"malformed annotation": 1}


def test_odd_values_in_annotations(tmp_path: Path) -> None:
    path = tmp_path / "000-000.json.gz"
    odd = annotation(1, name="\ud800", license=None, user=None, faceCount=None, viewerUrl=3)
    with gzip.open(path, "wt") as file:
        json.dump({uid(1): odd, uid(2): annotation(2, animationCount="many")}, file)
    items, left_out = objaverse.list_animated([path], Selection())
    assert left_out == {"no animation": 1}
    assert items == [ObjaverseObject(uid=uid(1), name="?", animations=1)]
    objaverse.write_manifest(tmp_path / "list.parquet", items)
    assert objaverse.read_manifest(tmp_path / "list.parquet") == items
    assert list(objaverse.licences(items)) == [("unknown", 1)]


def test_a_file_cut_off_in_the_download(metadata: Path) -> None:
    path = metadata / "000-001.json.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"000-001\.json\.gz: .*cut off.*delete it"):
        objaverse.list_animated(objaverse.annotation_files(metadata), Selection())


def glb(size: int = 64) -> bytes:
    return struct.pack("<4s2I", b"glTF", 2, size) + bytes(size - 12)


@pytest.fixture
def site(metadata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """A folder in the place of the package's site, and what was asked of it."""
    remote = metadata.parent
    asked: list[str] = []
    paths = {}
    for number in range(20):
        name = f"000-00{number // 10}"
        paths[uid(number)] = f"glbs/{name}/{uid(number)}.glb"
        target = remote / paths[uid(number)]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(glb())
    with gzip.open(remote / "object-paths.json.gz", "wt") as file:
        json.dump(paths, file)

    def retrieve(url: str, target: str) -> None:
        name = url.partition("/resolve/main/")[2]
        asked.append(name)
        if not (remote / name).exists():
            raise OSError(f"HTTP Error 404: {name}")
        shutil.copy(remote / name, target)

    monkeypatch.setattr("urllib.request.urlretrieve", retrieve)
    return remote, asked


def test_download_goes_on_where_it_stopped(site: tuple[Path, list[str]], tmp_path: Path) -> None:
    remote, asked = site
    items = [ObjaverseObject(uid=uid(n), animations=1) for n in range(4)]
    items.append(ObjaverseObject(uid=uid(99), animations=1))
    lost = remote / "glbs" / "000-000" / f"{uid(2)}.glb"
    lost.rename(tmp_path / "aside")
    (remote / "glbs" / "000-000" / f"{uid(3)}.glb").write_bytes(glb()[:40])
    to = tmp_path / "objaverse"
    rows = objaverse.download(items, to, connections=2)
    assert [row.uid for row in rows] == [item.uid for item in items]
    assert [bool(row.path) for row in rows] == [True, True, False, False, False]
    assert "404" in rows[2].problem
    assert rows[3].problem == "cut off: 40 of 64 bytes"
    assert "list of files" in rows[4].problem
    assert Path(rows[0].path).read_bytes() == glb()
    assert Path(rows[0].path).is_relative_to(to)

    (tmp_path / "aside").rename(lost)
    (remote / "glbs" / "000-000" / f"{uid(3)}.glb").write_bytes(glb())
    asked.clear()
    rows = objaverse.download(rows, to)
    assert [bool(row.path) for row in rows] == [True, True, True, True, False]
    assert [name for name in asked if name.startswith("glbs")] == [
        f"glbs/000-000/{uid(2)}.glb",
        f"glbs/000-000/{uid(3)}.glb",
    ]


def test_annotations_are_fetched_once(site: tuple[Path, list[str]], tmp_path: Path) -> None:
    remote, asked = site
    to = tmp_path / "objaverse"
    paths = objaverse.fetch_annotations(to)
    assert [path.name for path in paths] == ["000-000.json.gz", "000-001.json.gz"]
    asked.clear()
    assert objaverse.fetch_annotations(to) == paths
    assert not asked
    shutil.rmtree(to)
    shutil.rmtree(remote)
    with pytest.raises(InputError, match="cannot be downloaded"):
        objaverse.fetch_annotations(to)


def test_only_what_was_downloaded_is_rendered(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    rows = [ObjaverseObject(uid=uid(1), licence="by", url="u", path="/a.glb")]
    rows.append(ObjaverseObject(uid=uid(2)))
    objaverse.write_manifest(path, rows)
    (model,) = objaverse.read_models(path)
    assert (model.uid, model.path, model.licence, model.source) == (uid(1), "/a.glb", "by", "u")
    objaverse.write_manifest(path, rows[1:])
    with pytest.raises(InputError, match="objaverse download"):
        objaverse.read_models(path)
    path.write_bytes(b"not Parquet")
    with pytest.raises(InputError, match="is no Parquet table"):
        objaverse.read_models(path)
    with pytest.raises(InputError, match="no such file"):
        objaverse.read_models(tmp_path / "no.parquet")
