"""Files of meshes, read by programs of others: glTF's validator, three.js, Pixar's USD, trimesh."""

from __future__ import annotations

import json
import math
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.meshes.export import MeshSource, export_meshes
from l4gm.meshes.glb import write_mesh_glb
from l4gm.meshes.mesh import Mesh
from l4gm.meshes.obj import write_obj


def ball(radius: float, level: int = 2) -> Mesh:
    shape = trimesh.creation.icosphere(level, radius)
    positions = np.asarray(shape.vertices, np.float32)
    colors = (0.5 + 0.5 * positions / radius).astype(np.float32)
    return Mesh(positions, np.asarray(shape.faces, np.int32), colors)


def balls(count: int) -> list[Mesh | None]:
    """Of growing size; every other one of another number of triangles."""
    return [ball(0.2 + 0.1 * index, 1 + index % 2) for index in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_gltf_validator_finds_no_mistake(
    tmp_path: Path, gltf_report: Callable[[Path], dict[str, Any]], count: int
) -> None:
    write_mesh_glb(tmp_path / "a.glb", balls(count), 12.0)
    report = gltf_report(tmp_path / "a.glb")
    messages = [m for m in report["issues"]["messages"] if m["severity"] < 2]
    assert messages == []
    info = report["info"]
    assert "extensionsUsed" not in info
    assert info["drawCallCount"] == count
    assert info["animationCount"] == (1 if count > 1 else 0)
    assert info["totalTriangleCount"] == sum(len(m.faces) for m in balls(count) if m)


SHOWN_IN_THREE_JS = """
globalThis.self = globalThis;
const fs = require('fs');
const [file, ...times] = process.argv.slice(1);
(async () => {
    const THREE = await import('three');
    const { GLTFLoader } = await import('three/examples/jsm/loaders/GLTFLoader.js');
    const bytes = fs.readFileSync(file);
    const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
    new GLTFLoader().parse(data, '', gltf => {
        const shown = () => {
            const names = [];
            gltf.scene.updateMatrixWorld(true);
            gltf.scene.traverse(node => {
                if (node.isMesh && node.matrixWorld.determinant() > 0.5) names.push(node.name);
            });
            return names;
        };
        const result = {rest: shown(), at: [], duration: 0};
        if (gltf.animations.length) {
            const mixer = new THREE.AnimationMixer(gltf.scene);
            mixer.clipAction(gltf.animations[0]).play();
            result.duration = gltf.animations[0].duration;
            for (const time of times) { mixer.setTime(Number(time)); result.at.push(shown()); }
        }
        const mesh = gltf.scene.getObjectByName('frame_0000');
        if (mesh) {
            result.colors = Array.from(mesh.geometry.attributes.color.array).slice(0, 8);
            result.vertices = mesh.geometry.attributes.position.count;
        }
        console.log(JSON.stringify(result));
    }, error => { console.error(error); process.exit(1); });
})();
"""


@pytest.fixture
def in_three_js(node_modules: Path) -> Callable[..., dict[str, Any]]:
    if not (node_modules / "three").is_dir():
        pytest.skip("no three.js (tools/node.sh installs it)")

    def shown(path: Path, *times: float) -> dict[str, Any]:
        command = ["node", "-e", SHOWN_IN_THREE_JS, "--", str(path), *map(str, times)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=200, cwd=node_modules.parent
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return shown


def test_three_js_shows_one_frame_at_a_time(
    tmp_path: Path, in_three_js: Callable[..., dict[str, Any]]
) -> None:
    """Each from its own time on for a frame's length, the last too; without playing the first."""
    meshes = balls(5)
    meshes[3] = None  # nothing to see
    write_mesh_glb(tmp_path / "a.glb", meshes, 10.0)
    times = [0.0, 0.05, 0.1001, 0.15, 0.2501, 0.301, 0.38, 0.4001, 0.49]
    seen = in_three_js(tmp_path / "a.glb", *times)
    assert seen["duration"] == pytest.approx(0.5)
    assert seen["rest"] == ["frame_0000"]
    frames = [0, 0, 1, 1, 2, None, None, 4, 4]
    assert seen["at"] == [[] if f is None else [f"frame_{f:04d}"] for f in frames]
    assert seen["vertices"] == len(meshes[0].positions)  # type: ignore[union-attr]
    first = meshes[0].colors[0]  # type: ignore[union-attr]
    linear = np.where(first <= 0.04045, first / 12.92, ((first + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(np.array(seen["colors"][:3]) / 65535, linear, atol=1e-4)


def test_three_js_shows_a_still_one(
    tmp_path: Path, in_three_js: Callable[..., dict[str, Any]]
) -> None:
    write_mesh_glb(tmp_path / "a.glb", balls(1), 10.0)
    assert in_three_js(tmp_path / "a.glb")["rest"] == ["frame_0000"]


def test_large_meshes_have_long_indices(
    tmp_path: Path, gltf_report: Callable[[Path], dict[str, Any]]
) -> None:
    write_mesh_glb(tmp_path / "a.glb", [ball(0.5, 7)], 1.0)
    report = gltf_report(tmp_path / "a.glb")
    assert [m for m in report["issues"]["messages"] if m["severity"] < 2] == []
    assert report["info"]["totalVertexCount"] > 65536


def test_nothing_to_see_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.glb: nothing solid"):
        write_mesh_glb(tmp_path / "a.glb", [None, None], 10.0)
    assert not list(tmp_path.iterdir())


def test_obj_is_read_by_trimesh(tmp_path: Path) -> None:
    mesh = ball(0.4, 3)
    write_obj(tmp_path / "a.obj", mesh)
    back = trimesh.load(tmp_path / "a.obj", process=False, maintain_order=True)
    np.testing.assert_allclose(back.vertices, mesh.positions, atol=1e-5)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    np.testing.assert_allclose(back.visual.vertex_colors[:, :3] / 255, mesh.colors, atol=0.005)


def splats(radius: float, seed: int) -> Gaussians:
    directions = torch.randn(4000, 3, generator=torch.Generator().manual_seed(seed))
    return Gaussians(
        radius * torch.nn.functional.normalize(directions, dim=-1) + torch.tensor([0.2, 0, 0]),
        torch.tensor([1.0, 0, 0, 0]).expand(4000, 4),
        torch.full((4000, 3), 0.03),
        torch.full((4000,), 0.95),
        torch.tensor([0.8, 0.5, 0.2]).expand(4000, 3),
    )


def growing() -> MeshSource:
    """Three frames, of which the second is empty."""
    sets = [splats(0.25, 0), splats(0.25, 1), splats(0.4, 2)]
    sets[1].opacities[:] = 0.0
    return MeshSource(num_frames=3, fps=8.0, frame=sets.__getitem__, max_triangles=2000)


def test_pixars_library_reads_every_frame(tmp_path: Path) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom

    counts = export_meshes(tmp_path / "a.usdc", "usd-mesh", growing(), up="z", scale=100.0)
    assert counts[1] == 0
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 2)
    assert stage.GetTimeCodesPerSecond() == 8
    prim = UsdGeom.Mesh(stage.GetDefaultPrim())
    assert prim.GetSubdivisionSchemeAttr().Get() == "none"
    for frame, radius in ((0, 25.0), (2, 40.0)):
        points = np.array(prim.GetPointsAttr().Get(frame))
        faces = np.array(prim.GetFaceVertexIndicesAttr().Get(frame)).reshape(-1, 3)
        assert len(faces) == counts[frame]
        assert set(prim.GetFaceVertexCountsAttr().Get(frame)) == {3}
        checked = trimesh.Trimesh(points, faces, process=True)
        assert checked.is_watertight
        assert UsdGeom.Mesh.ValidateTopology(
            prim.GetFaceVertexIndicesAttr().Get(frame),
            prim.GetFaceVertexCountsAttr().Get(frame),
            len(points),
        )[0]
        centre = np.array([20.0, 0, 0])
        distances = np.linalg.norm(points[np.unique(faces)] - centre, axis=1)
        assert 0 < np.median(distances) - radius < 6  # where round splats of 3 units end
        colors = np.array(UsdGeom.PrimvarsAPI(prim).GetPrimvar("displayColor").Get(frame))
        assert len(colors) == len(points) == len(prim.GetNormalsAttr().Get(frame))
        linear = [0.6038, 0.2140, 0.0331]  # of 0.8, 0.5, 0.2
        np.testing.assert_allclose(np.median(colors, 0), linear, atol=0.03)
        low, high = (np.array(corner) for corner in prim.GetExtentAttr().Get(frame))
        assert (low <= points.min(0)).all()
        assert (high >= points.max(0)).all()
    # Held until the next frame.
    positions = prim.GetPointsAttr()
    assert positions.Get(0.7) == positions.Get(0)
    assert len(prim.GetFaceVertexCountsAttr().Get(1)) == 0


def test_a_folder_of_objs(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame_0001.obj").write_text("of an earlier export")
    (out / "notes.txt").write_text("mine")
    counts = export_meshes(out, "obj", growing())
    assert sorted(path.name for path in out.iterdir()) == [
        "frame_0000.obj",
        "frame_0002.obj",
        "notes.txt",
    ]
    assert len(trimesh.load(out / "frame_0002.obj", process=False).faces) == counts[2]
    with pytest.raises(InputError, match="holds one frame of 3"):
        export_meshes(tmp_path / "a.obj", "obj", growing())


def test_axes_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="y up by definition"):
        export_meshes(tmp_path / "a.glb", "glb-mesh", growing(), up="z")
    assert not list(tmp_path.iterdir())


def test_size_of_a_file(tmp_path: Path) -> None:
    """28 bytes a vertex and 6 a triangle, and little besides."""
    meshes = [ball(0.5, 4)] * 4
    write_mesh_glb(tmp_path / "a.glb", meshes, 10.0)
    content = (tmp_path / "a.glb").read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    expected = 4 * (32 * len(meshes[0].positions) + 6 * len(meshes[0].faces))
    assert math.isclose(len(content), expected, rel_tol=0.02)
    assert length < 6000
