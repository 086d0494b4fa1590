"""Blender's importers read and play the mesh files; tools/blender.sh makes its environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from l4gm.datagen.blender import Blender, find_blender
from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.meshes.export import MeshFormat, MeshSource, export_meshes

pytestmark = pytest.mark.slow

COLOR = (0.8, 0.5, 0.2)

IMPORTED = """
import sys, json
import bpy
path, kind, frames = sys.argv[-3], sys.argv[-2], int(sys.argv[-1])
bpy.ops.wm.read_factory_settings(use_empty=True)
scene = bpy.context.scene
scene.render.fps = 8
if kind == "glb-mesh":
    bpy.ops.import_scene.gltf(filepath=path)
elif kind == "usd-mesh":
    bpy.ops.wm.usd_import(filepath=path)
else:
    bpy.ops.wm.obj_import(filepath=path)
seen = []
for frame in range(frames):
    scene.frame_set(frame)  # both importers put time 0 at frame 0
    graph = bpy.context.evaluated_depsgraph_get()
    shown = {}
    for item in bpy.data.objects:
        if item.type != "MESH" or item.evaluated_get(graph).matrix_world.determinant() < 1e-6:
            continue
        mesh = item.evaluated_get(graph).to_mesh()
        places = [item.matrix_world @ vertex.co for vertex in mesh.vertices]
        colors = [list(value.color) for value in mesh.color_attributes[0].data]
        shown[item.name] = {
            "triangles": sum(len(p.vertices) == 3 for p in mesh.polygons),
            "high": [max(place[axis] for place in places) for axis in range(3)],
            "color": [sum(c[k] for c in colors) / len(colors) for k in range(3)],
        }
    seen.append(shown)
print("RESULT" + json.dumps(seen))
"""


@pytest.fixture(scope="session")
def blender() -> Blender:
    try:
        found = find_blender()
    except InputError as error:
        pytest.skip(str(error))
    if not found.is_python:
        pytest.skip("needs Blender as a Python module (tools/blender.sh)")
    return found


def splats(radius: float, seed: int) -> Gaussians:
    """A ball that lies above the origin."""
    directions = torch.randn(4000, 3, generator=torch.Generator().manual_seed(seed))
    return Gaussians(
        radius * torch.nn.functional.normalize(directions, dim=-1) + torch.tensor([0, 0.5, 0]),
        torch.tensor([1.0, 0, 0, 0]).expand(4000, 4),
        torch.full((4000, 3), 0.02),
        torch.full((4000,), 0.95),
        torch.tensor(COLOR).expand(4000, 3),
    )


def imported(blender: Blender, path: Path, kind: str, frames: int) -> list[dict[str, Any]]:
    command = [str(blender.executable), "-c", IMPORTED, str(path), kind, str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert done.returncode == 0, done.stderr[-2000:]
    assert lines, done.stdout[-2000:]
    return json.loads(lines[0].removeprefix("RESULT"))


@pytest.mark.parametrize("kind", ["glb-mesh", "usd-mesh", "obj"])
def test_blender_shows_one_frame_at_a_time(
    tmp_path: Path, blender: Blender, kind: MeshFormat
) -> None:
    radii = [0.2, 0.3, 0.4] if kind != "obj" else [0.3]
    sets = [splats(radius, seed) for seed, radius in enumerate(radii)]
    source = MeshSource(num_frames=len(sets), fps=8.0, frame=sets.__getitem__, max_triangles=3000)
    suffix = {"glb-mesh": "glb", "usd-mesh": "usdc", "obj": "obj"}[kind]
    counts = export_meshes(tmp_path / f"a.{suffix}", kind, source)
    found = imported(blender, tmp_path / f"a.{suffix}", kind, len(sets))
    for index, shown in enumerate(found):
        (one,) = shown.values()
        assert one["triangles"] == counts[index]
        # Upright: our y is Blender's z.
        assert one["high"][2] == pytest.approx(0.5 + radii[index], abs=0.06)
        assert one["high"][0] == pytest.approx(radii[index], abs=0.06)
        linear = np.where(
            np.array(COLOR) <= 0.04045,
            np.array(COLOR) / 12.92,
            ((np.array(COLOR) + 0.055) / 1.055) ** 2.4,
        )
        np.testing.assert_allclose(one["color"], linear, atol=0.03)
