"""Each of our files is read by a program of others, and each of theirs by us.

PlayCanvas's splat-transform and the Khronos glTF validator, which tools/node.sh installs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from l4gm.evaluation.metrics import psnr
from l4gm.gaussians.glb import read_glb, write_glb
from l4gm.gaussians.ply import read_ply, write_ply
from l4gm.gaussians.still_formats import STILL_FORMATS
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rotations import matrix_from_quat
from l4gm.splat.render import render

# splat-transform writes no .splat and reads no .glb.
READ_BY_OTHERS = (
    *((kind, None) for kind in ("ply", "compressed-ply", "splat", "spz", "sog")),
    *(("ply", "full"), ("spz", "v4")),
)
WRITTEN_BY_OTHERS = (
    *((kind, ()) for kind in ("ply", "compressed-ply", "spz", "sog", "glb")),
    ("spz", ("--spz-version", "3")),
)


@pytest.fixture
def splat_transform(node_modules: Path) -> Callable[..., None]:
    """(source, target, *options): convert a file with PlayCanvas's program."""
    program = node_modules / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"

    def convert(source: Path, target: Path, *options: str) -> None:
        given = ["--quiet", "--overwrite", "--gpu", "cpu", source, target, *options]
        done = subprocess.run(
            ["node", program, *given], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert target.is_file()

    return convert


def in_order_of(gaussians: Gaussians, model: Gaussians) -> Gaussians:
    """The same set in the order of another, each next to where it was."""
    apart = model.means[:, None] - gaussians.means
    nearest = apart.square().sum(-1).argmin(-1)
    assert len(set(nearest.tolist())) == model.num_gaussians
    return gaussians.map(lambda tensor: tensor[nearest])


def shapes(gaussians: Gaussians) -> torch.Tensor:
    """Covariances [N, 3, 3] in units of the largest scale; half turns about own axes are none."""
    scales = gaussians.scales / gaussians.scales.amax(-1, keepdim=True)
    axes = matrix_from_quat(gaussians.quats) * scales[:, None]
    return axes @ axes.mT


def assert_drawn_alike(one: Gaussians, other: Gaussians, decibels: float) -> None:
    cameras = orbit_cameras([0, 70, 200], 20, size=128)
    left, right = (render(g.reshape(1), cameras).image for g in (one, other))
    assert psnr(left, right).min() > decibels


@pytest.fixture(scope="session")
def one(clip: GaussianSequence) -> Gaussians:
    return clip.gaussians[3].map(torch.clone)


@pytest.mark.parametrize(("kind", "layout"), READ_BY_OTHERS)
def test_others_read_ours(
    tmp_path: Path,
    one: Gaussians,
    splat_transform: Callable[..., None],
    kind: str,
    layout: str | None,
) -> None:
    """The same numbers as we read from it ourselves, and the same pictures as before."""
    source = tmp_path / f"ours{STILL_FORMATS[kind].suffix}"
    STILL_FORMATS[kind].writer(layout)(source, one)
    splat_transform(source, tmp_path / "theirs.ply")
    theirs = read_ply(tmp_path / "theirs.ply")
    ours = STILL_FORMATS[kind].read(source)
    assert theirs.num_gaussians == one.num_gaussians
    for name, tolerance in (("means", 1e-5), ("scales", 1e-5), ("colors", 1e-5)):
        torch.testing.assert_close(
            getattr(theirs, name), getattr(ours, name), atol=tolerance, rtol=1e-4
        )
    # They take the half between two bytes for a .splat quaternion's zero, and keep opacities off 0
    # and 1.
    torch.testing.assert_close(shapes(theirs), shapes(ours), atol=0.02, rtol=0)
    torch.testing.assert_close(theirs.opacities, ours.opacities, atol=1.01 / 255, rtol=0)
    assert_drawn_alike(theirs, one, 45)


@pytest.mark.parametrize(("kind", "options"), WRITTEN_BY_OTHERS)
def test_we_read_theirs(
    tmp_path: Path,
    one: Gaussians,
    splat_transform: Callable[..., None],
    kind: str,
    options: tuple[str, ...],
) -> None:
    """From the same PLY; they sort the Gaussians."""
    one = one.map(lambda tensor: tensor[:256])  # one view of four, whose places are apart
    write_ply(tmp_path / "a.ply", one, prune=False)
    target = tmp_path / f"theirs{STILL_FORMATS[kind].suffix}"
    splat_transform(tmp_path / "a.ply", target, *options)
    theirs = STILL_FORMATS[kind].read(target)
    if kind == "glb":  # they turn a PLY, taken as y down, so that y is up: by 180 degrees about z
        half_turn = torch.tensor([-1.0, -1, 1])
        torch.testing.assert_close(theirs.means * half_turn, one.means, atol=1e-5, rtol=0)
        torch.testing.assert_close(theirs.scales, one.scales)
        torch.testing.assert_close(theirs.opacities, one.opacities)
        torch.testing.assert_close(theirs.colors, one.colors, atol=1e-5, rtol=0)
        return
    theirs = in_order_of(theirs, one)
    torch.testing.assert_close(theirs.means, one.means, atol=2e-3, rtol=0)
    assert (theirs.scales / one.scales).log().abs().max() < 1 / 28
    torch.testing.assert_close(shapes(theirs), shapes(one), atol=0.08, rtol=0)
    seen = one.opacities > 1 / 255  # their pictures drop the colour of what is transparent
    torch.testing.assert_close(theirs.colors[seen], one.colors[seen], atol=1 / 120, rtol=0)
    torch.testing.assert_close(theirs.opacities, one.opacities, atol=1.01 / 255, rtol=0)
    assert_drawn_alike(theirs, one, 40)


@pytest.mark.parametrize("version", ["3", "4"])
def test_spz_of_others_is_read_with_harmonics(
    tmp_path: Path, splat_transform: Callable[..., None], version: str
) -> None:
    """A PLY with harmonics of degree 2, through their SPZ."""
    script = tmp_path / "scene.mjs"
    script.write_text(_GENERATOR)
    splat_transform(script, tmp_path / "a.spz", "--spz-version", version)
    back = STILL_FORMATS["spz"].read(tmp_path / "a.spz")
    assert back.num_gaussians == 5
    torch.testing.assert_close(back.opacities, torch.full((5,), 0.5), atol=1 / 255, rtol=0)
    torch.testing.assert_close(back.means[:, 0].abs(), torch.arange(5.0), atol=1e-3, rtol=0)


_GENERATOR = """
const rest = Array.from({length: 24}, (_, i) => `f_rest_${i}`);
class Generator {
    constructor() {
        this.count = 5;
        this.columnNames = ['x', 'y', 'z', 'scale_0', 'scale_1', 'scale_2', 'f_dc_0', 'f_dc_1',
            'f_dc_2', 'opacity', 'rot_0', 'rot_1', 'rot_2', 'rot_3', ...rest];
    }
    getRow(index, row) {
        for (const name of this.columnNames) row[name] = 0;
        row.x = index; row.rot_0 = 1; row.scale_0 = -3; row.scale_1 = -3; row.scale_2 = -3;
        for (const name of rest) row[name] = 0.3;
    }
    static create(params) { return new Generator(); }
}
export { Generator };
"""


def test_the_gltf_validator_finds_no_mistake(
    tmp_path: Path, one: Gaussians, gltf_report: Callable[[Path], dict[str, Any]]
) -> None:
    write_glb(tmp_path / "a.glb", one)
    report = gltf_report(tmp_path / "a.glb")
    assert report["info"]["version"] == "2.0"
    assert report["info"]["totalVertexCount"] == one.num_gaussians
    assert report["info"]["extensionsUsed"] == ["KHR_gaussian_splatting"]
    # This validator is older than the extension, and takes its attributes' names for mistakes.
    unknown = {
        f"/meshes/0/primitives/0/attributes/KHR_gaussian_splatting:{name}"
        for name in ("ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0")
    }
    serious = {
        (message["code"], message["pointer"])
        for message in report["issues"]["messages"]
        if message["severity"] < 2  # errors and warnings
    }
    assert serious == {("MESH_PRIMITIVE_INVALID_ATTRIBUTE", pointer) for pointer in unknown}


def test_the_gltf_validator_can_fail(
    tmp_path: Path, one: Gaussians, gltf_report: Callable[[Path], dict[str, Any]]
) -> None:
    """A picture of the harness: a file whose bounds are wrong is found out."""
    write_glb(tmp_path / "a.glb", one)
    content = (tmp_path / "a.glb").read_bytes()
    place = content.index(b'"max":[') + len(b'"max":[')
    digit = content[place : place + 1]
    (tmp_path / "b.glb").write_bytes(content[:place] + b"9" + content[place + 1 :])
    assert digit != b"9"
    assert read_glb(tmp_path / "b.glb").num_gaussians == one.num_gaussians
    codes = {m["code"] for m in gltf_report(tmp_path / "b.glb")["issues"]["messages"]}
    assert "ACCESSOR_MAX_MISMATCH" in codes
