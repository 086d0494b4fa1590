"""l4gm data objaverse and render: what people see, at the smallest size."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4gm.cli.data_render import FarmProgress, _part
from l4gm.cli.usage import UsageError
from l4gm.data.layout import read_clip
from l4gm.datagen.farm_jobs import RenderSettings
from l4gm.datagen.farm_ledger import Problem, Record
from l4gm.datagen.farm_report import Tally


def gltf(seconds: float = 1.0, **changes: Any) -> str:
    """A triangle that slides, as glTF with its numbers in the text."""
    points = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0]]).tobytes()
    times = np.float32([0.0, seconds]).tobytes()
    places = np.float32([[0, 0, 0], [1, 0, 0]]).tobytes()
    data = base64.b64encode(points + times + places).decode()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "buffers": [{"uri": f"data:;base64,{data}", "byteLength": 68}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": length}
            for start, length in ((0, 36), (36, 8), (44, 24))
        ],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 2, "type": "SCALAR"},
            {"bufferView": 2, "componentType": 5126, "count": 2, "type": "VEC3"},
        ],
        "animations": [
            {
                "samplers": [{"input": 1, "output": 2}],
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}],
            }
        ],
    }
    return json.dumps(document | changes)


SMALL = ("--size", "16", "--frames", "2", "--fps", "2", "--fixed-views", "1", "--free-views", "1")


def test_a_folder_of_models(run: Callable, tmp_path: Path) -> None:
    """One good model, and what a folder of models from the net holds besides."""
    folder = tmp_path / "models"
    (folder / "pack").mkdir(parents=True)
    (folder / "pack" / "good.gltf").write_text(gltf(seconds=2.0))
    (folder / "still.gltf").write_text(gltf(animations=[]))
    (folder / "broken.glb").write_bytes(b"glTF\x02\0\0\0\xff\xff\0\0")
    bomb = json.loads(gltf())
    bomb["accessors"][0] |= {"bufferView": None, "count": 1 << 40}
    del bomb["accessors"][0]["bufferView"]
    (folder / "bomb.gltf").write_text(json.dumps(bomb))
    lost = gltf(buffers=[{"uri": "../../lost.bin", "byteLength": 68}])
    (folder / "lost.gltf").write_text(lost)
    (folder / "other.fbx").write_bytes(b"Kaydara")
    out = tmp_path / "out"
    outcome = run("data", "render", folder, "-o", out, *SMALL, "--workers", "1", "--depth")
    assert outcome.code == 0, outcome.err
    assert "6 models: 1 done, 5 refused, 0 failed; 2 clips" in outcome.out
    for line in ("1 x no animation", "3 x unreadable", "1 x unknown format", "worker hours"):
        assert line in outcome.out
    assert "0/6 models" in outcome.err
    assert "6/6 models" in outcome.err
    clips = sorted((out / "clips").rglob("*.tar"))
    assert len(clips) == 2
    clip = read_clip(clips[0])
    assert clip.facts.uid == "pack/good"
    assert clip.views[0].depth is not None
    assert (tmp_path / "models" / "pack").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"models", "out"}

    again = run("data", "render", folder, "-o", out, *SMALL, "--depth")
    assert again.code == 0
    assert "1 done, 5 refused, 0 failed; 2 clips" in again.out
    assert "worker hours" not in again.out  # nothing was rendered, so nothing was measured
    other = run("data", "render", folder, "-o", out, "--size", "32")
    other.assert_bad_input("size_px 16, not 32", "another folder")


def test_bad_options_of_render(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.gltf").write_text(gltf())
    common = ("data", "render", tmp_path / "models", "-o", tmp_path / "out")
    run("data", "render", tmp_path / "no", "-o", tmp_path / "out").assert_bad_input("no is not")
    run(*common, "--size", "0").assert_bad_input("--size 0")
    run(*common, "--fixed-views", "0", "--free-views", "0").assert_bad_input("at least one view")
    run(*common, "--elevation", "30", "-5").assert_bad_input("--elevation")
    run(*common, "--part", "3/3").assert_bad_input("--part 3/3")
    run(*common, "--renderer", "blender", "--blender", tmp_path / "b").assert_bad_input(
        "b: no such"
    )
    run(*common, "--environment", tmp_path / "sky.hdr").assert_bad_input("sky.hdr: no such file")
    assert not (tmp_path / "out").exists()


def test_the_part_of_a_job_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    assert _part("") is None
    assert _part("3/16") == (3, 16)
    for text in ("16/16", "x", "-1/4", "1/", "1/0"):
        with pytest.raises(UsageError, match="expected I/N"):
            _part(text)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    assert _part("") == (4, 8)
    assert _part("0/2") == (0, 2)


def test_the_line_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    tally = Tally(RenderSettings(), num_models=4)
    tally.add(Record(uid="old", path="", clips=("c",)), rated=False)
    problem = Problem(kind="no animation", detail="", final=True)
    with FarmProgress(clock=lambda: now[0]) as progress:
        progress(tally.report())
        for uid, seconds in (("a", 2.0), ("b", 10.0)):
            tally.add(Record(uid=uid, path="", clips=("c", "d"), rendered=2, frames=600))
            now[0] = seconds
            progress(tally.report())
        tally.add(Record(uid="e", path="", problems=(problem,)))
        now[0] = 12.0
        progress(tally.report())
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "0.0 s 1/4 models, 1 clips",
        "10.0 s 3/4 models, 5 clips, 120 frames/s, 0 min left",
        "12.0 s 4/4 models, 5 clips, 1 refused, 0 failed, 100 frames/s, 0 min left",
    ]


def test_objaverse_list(run: Callable, tmp_path: Path) -> None:
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    objects = {
        f"{n:032x}": {"animationCount": n, "license": "by", "name": f"o{n}"} for n in range(3)
    }
    with gzip.open(metadata / "000-000.json.gz", "wt") as file:
        json.dump(objects, file)
    out = tmp_path / "objects.parquet"
    common = ("data", "objaverse", "list", "--annotations", metadata, "-o", out)
    outcome = run(*common)
    assert outcome.code == 0
    assert "2 objects with 3 animations" in outcome.out
    assert "licences: 2 x by" in outcome.out
    assert "left out: 1 x no animation" in outcome.out
    exclude = tmp_path / "mine.txt"
    exclude.write_text(f"{2:032x}\n")
    assert "1 objects with 1 animations" in run(*common, "--exclude", exclude).out
    run(*common, "--licences", "cc0").assert_bad_input("no object is left", "2 x licence")
    run(*common, "--exclude", tmp_path / "no").assert_bad_input("no: no such file")
    run("data", "objaverse", "list", "--annotations", tmp_path, "-o", out).assert_bad_input(
        "no annotation files"
    )
    run("data", "objaverse", "download", tmp_path / "no.parquet").assert_bad_input("no such file")
    run("data", "render", out, "-o", tmp_path / "farm").assert_bad_input("objaverse download")
