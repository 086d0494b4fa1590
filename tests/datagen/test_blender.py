"""Blender: finds the right sides of a known object, and everything a file can do to it.

Needs the environment that `make blender` makes (or L4GM_BLENDER); skips where there is none.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from l4gm.data.layout import read_clip
from l4gm.data.pictures import decode_view
from l4gm.datagen.blender import Blender, find_blender
from l4gm.datagen.farm import new_scratch, run_farm
from l4gm.datagen.farm_jobs import Model, RenderSettings, clip_jobs, find_models
from l4gm.datagen.farm_models import FarmTask, Slot
from l4gm.datagen.farm_worker import Limits, WorkerError
from l4gm.errors import InputError

SETTINGS = RenderSettings(
    renderer="blender",
    size_px=32,
    fixed_views=4,
    free_views=1,
    num_frames=2,
    max_clips=1,
    samples=4,
)
# Face -> (outward normal, colour).
FACES = {
    "front": ((0, 0, 1), (1.0, 0.0, 0.0)),
    "right": ((1, 0, 0), (0.0, 1.0, 0.0)),
    "back": ((0, 0, -1), (0.0, 0.0, 1.0)),
    "left": ((-1, 0, 0), (1.0, 1.0, 0.0)),
    "top": ((0, 1, 0), (0.0, 1.0, 1.0)),
    "bottom": ((0, -1, 0), (1.0, 0.0, 1.0)),
}


@pytest.fixture(scope="session")
def blender() -> Blender:
    try:
        return find_blender()
    except InputError as error:
        pytest.skip(str(error))


def make_task(folder: Path, blender: Blender, settings: RenderSettings = SETTINGS) -> FarmTask:
    limits = Limits(timeout_seconds=280.0, memory_bytes=4 << 30)
    return FarmTask(
        settings=settings,
        limits=limits,
        folder=folder,
        scratch=new_scratch(folder),
        blender=blender,
    )


def marker_cube(builder: Any, folder: Path, name: str = "cube.glb") -> Path:
    """A cube with a colour on each side that glows, off the origin, moving along +x."""
    mesh = {"primitives": []}
    for normal, color in FACES.values():
        axis = np.array(normal, float)
        across = np.roll(axis, 1)
        up = np.cross(axis, across)
        corners = [axis + a * across + b * up for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        material = builder.append(
            "materials",
            {
                "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]},
                "emissiveFactor": list(color),
            },
        )
        mesh["primitives"].append(
            {
                "attributes": {"POSITION": builder.accessor(np.array(corners))},
                "indices": builder.accessor([0, 1, 2, 0, 2, 3], np.uint16),
                "material": material,
            }
        )
    builder.append("meshes", mesh)
    builder.append("nodes", {"mesh": 0, "scale": [20, 20, 20]})
    builder.animate(0, "translation", [0.0, 1.0], [[70, 5, 300], [1510, 5, 300]])
    return builder.write(folder, name)


def pictures(path: Path) -> np.ndarray:
    """[V, T, H, W, 4] of a clip file."""
    views = read_clip(path).views
    return np.array([[np.array(Image.open(io.BytesIO(p))) for p in v.pictures] for v in views])


def test_the_sides_of_a_cube_appear_in_the_right_views(
    blender: Blender, builder: Any, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    marker_cube(builder, tmp_path / "models")
    (model,) = find_models(tmp_path / "models")
    task = make_task(tmp_path / "out", blender)
    report = run_farm([model], task)
    assert (report.done, report.reasons) == (1, {})
    (path,) = (tmp_path / "out" / "clips").rglob("*.tar")
    images = pictures(path)
    assert images.shape == (5, 2, 32, 32, 4)
    # A side of 40 that moves by 60 between the two frames.
    details = read_clip(path).facts.details
    assert details["size"] == pytest.approx(100.0, rel=1e-4)
    assert details["center"] == pytest.approx([100.0, 5.0, 300.0], rel=1e-4)
    for view, side in enumerate(("front", "right", "back", "left")):
        for frame in range(2):
            shares = color_shares(images[view, frame])
            assert max(shares, key=shares.get) == side
            assert shares["top"] == shares["bottom"] == 0
    # Towards +x is to the right seen from the front, to the left from behind: 0.6 units at a
    # distance of 1.3 to 1.7.
    assert center_column(images[0, 1]) - center_column(images[0, 0]) == pytest.approx(14, abs=2.5)
    assert center_column(images[2, 1]) - center_column(images[2, 0]) == pytest.approx(-14, abs=2.5)
    height = read_clip(path).cameras.world_from_camera[4, 1, 3]
    shares = color_shares(images[4, 0])
    assert (shares["top"] > 0.02) == (height > 0.25)  # above the cube's upper side


def color_shares(image: np.ndarray) -> dict[str, float]:
    """Which share of a picture shows which side of the cube."""
    opaque = image[..., 3] > 250
    shares = {}
    for side, (_, color) in FACES.items():
        distance = np.abs(image[..., :3] - np.array(color) * 255.0).max(-1)
        shares[side] = float(((distance < 8) & opaque).mean())
    return shares


def center_column(image: np.ndarray) -> float:
    cover = image[..., 3].astype(float).sum(0)
    return float((cover * np.arange(len(cover))).sum() / cover.sum())


def test_silhouettes_are_those_of_the_software_renderer(
    blender: Blender, builder: Any, tmp_path: Path
) -> None:
    """Same model, same cameras, same frames: intersection over union of what is covered."""
    (tmp_path / "models").mkdir()
    marker_cube(builder, tmp_path / "models")
    (model,) = find_models(tmp_path / "models")
    clips = []
    for renderer in ("blender", "software"):
        settings = replace(SETTINGS, renderer=renderer, size_px=96, free_views=2, samples=16)
        run_farm([model], make_task(tmp_path / renderer, blender, settings))
        (path,) = (tmp_path / renderer / "clips").rglob("*.tar")
        views = read_clip(path).views
        covers = [decode_view(view, num_frames=2, stored_px=96) for view in views]
        clips.append(np.array(covers)[..., 3] > 127)
    assert clips[0].shape == clips[1].shape == (6, 2, 96, 96)
    both, either = clips[0] & clips[1], clips[0] | clips[1]
    assert (both.sum((2, 3)) / either.sum((2, 3))).min() >= 0.97


def test_the_same_bytes_again(blender: Blender, builder: Any, tmp_path: Path) -> None:
    """Two processes; the noise of Cycles too has a seed."""
    (tmp_path / "models").mkdir()
    marker_cube(builder, tmp_path / "models")
    (model,) = find_models(tmp_path / "models")
    settings = RenderSettings(
        renderer="blender",
        size_px=16,
        fixed_views=1,
        free_views=0,
        num_frames=1,
        max_clips=1,
        samples=2,
    )
    files = []
    for name in ("one", "two"):
        run_farm([model], make_task(tmp_path / name, blender, settings))
        (path,) = (tmp_path / name / "clips").rglob("*.tar")
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_a_clip_does_not_depend_on_those_before_it(
    blender: Blender, builder: Any, tmp_path: Path
) -> None:
    """The third clip of a lit surface, rendered after the others and alone, by another run."""
    (tmp_path / "models").mkdir()
    builder.triangle()
    builder.append("nodes", {"mesh": 0})
    builder.animate(0, "translation", [0.0, 3 / 24], [[0, 0, 0], [0.1, 0, 0]])
    builder.write(tmp_path / "models")
    (model,) = find_models(tmp_path / "models")
    settings = RenderSettings(
        renderer="blender", size_px=16, fixed_views=1, free_views=1, num_frames=1, samples=4
    )
    task = make_task(tmp_path / "out", blender, settings)
    assert run_farm([model], task).clips == 3
    (last,) = (task.folder / "clips").rglob("*_002*.tar")
    before = last.read_bytes()
    assert pictures(last)[0, 0, ..., :3].max() > 0
    last.unlink()
    shutil.rmtree(task.folder / "ledger")
    assert run_farm([model], task).rendered_clips == 1
    assert last.read_bytes() == before


def test_bad_files_are_refused_and_nothing_else_is_touched(
    blender: Blender, new_builder: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other in one worker: each with its reason, and the last one still works."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / "models"
    folder.mkdir()
    good = marker_cube(new_builder(), folder, "good.glb").read_bytes()
    (folder / "cut.glb").write_bytes(good[: len(good) // 2])
    (folder / "empty.glb").write_bytes(b"")
    (folder / "text.gltf").write_text("not glTF")
    (folder / "junk.fbx").write_bytes(b"Kaydara FBX Binary  \x00" + b"junk" * 50)
    (folder / "junk.blend").write_bytes(b"BLENDER-junk")
    still = new_builder()
    still.triangle()
    still.append("nodes", {"mesh": 0})
    still.write(folder, "still.glb")
    nothing = new_builder()
    nothing.append("nodes", {})
    nothing.animate(0, "translation", [0.0, 1.0], [[0, 0, 0], [1, 0, 0]])
    nothing.write(folder, "nothing.glb")
    infinite = new_builder()
    infinite.triangle()
    infinite.append("nodes", {"mesh": 0})
    infinite.animate(0, "translation", [0.0, 1.0], [[0, 0, 0], [np.nan, 0, 0]])
    infinite.write(folder, "infinite.glb")
    outside = {
        "asset": {"version": "2.0"},
        "buffers": [{"uri": "../../secret.bin", "byteLength": 4}],
        "animations": [{"samplers": [], "channels": []}],
    }
    (folder / "outside.gltf").write_text(json.dumps(outside))
    outside["buffers"][0]["uri"] = "lost%20buffer.bin"
    (folder / "lost.gltf").write_text(json.dumps(outside))
    expected = {
        "cut.glb": "unreadable",
        "empty.glb": "unreadable",
        "text.gltf": "unreadable",
        "junk.fbx": "unreadable",
        "junk.blend": "unreadable",
        "still.glb": "no animation",
        "nothing.glb": "no triangles",
        "infinite.glb": "not finite",
        "outside.gltf": "unreadable",
        "lost.gltf": "missing file",
        "no.glb": "missing file",
    }
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    task = make_task(tmp_path / "out", blender)
    found = {}
    with Slot(task) as slot:
        for name in [*expected, "good.glb"]:
            model = Model(uid=name, path=str(folder / name))
            try:
                animations = opened(slot, model)
                job = clip_jobs(model, animations, task.settings, tmp_path / "out")[0]
                slot.render(model, job)
            except WorkerError as problem:
                found[name] = problem.kind if problem.alive and problem.final else str(problem)
    assert found == expected
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert not list(home.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"home", "models", "out"}
    assert len(list((tmp_path / "out").rglob("*.tar"))) == 1


def opened(slot: Slot, model: Model) -> list[dict[str, Any]]:
    """Open in the worker that is running, which the farm itself does for no second model."""
    slot._models_shown = 0
    return slot.animations(model)


def test_a_program_that_is_no_blender(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such program"):
        find_blender(tmp_path / "blender")
    other = tmp_path / "blender"
    other.write_text("#!/bin/sh\necho 'cannot open shared object libGL.so.1' >&2; exit 127\n")
    other.chmod(0o755)
    with pytest.raises(InputError, match=r"libGL\.so\.1.*libgl1"):
        find_blender(other)
    other.write_text("#!/bin/sh\necho 'Blender 5.0.1'\n")
    found = find_blender(other)
    assert (found.version, found.is_python) == ("5.0.1", False)
    command = found.worker_command()
    assert command[0] == str(other)
    assert command[-1] == "--"
