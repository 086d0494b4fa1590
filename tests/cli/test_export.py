"""export: every format out of the command line and back in; names that do not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from l4gm.cli.export import FOR_SEQUENCES, MESHES, SUFFIXES
from l4gm.files import load, save
from l4gm.gaussians.still_formats import STILL_FORMATS
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.meshes.export import MESH_FORMATS


@pytest.fixture
def stored(tmp_path: Path, sequence: GaussianSequence) -> Path:
    save(sequence, tmp_path / "cat.safetensors")
    return tmp_path / "cat.safetensors"


def test_every_format_that_files_knows_can_be_exported() -> None:
    assert set(SUFFIXES) == {*STILL_FORMATS, *FOR_SEQUENCES, *MESHES}
    assert MESHES == MESH_FORMATS
    for kind, still in STILL_FORMATS.items():
        assert SUFFIXES[kind] == (still.suffix,)


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_animations_go_to_folders_and_frames_to_files(
    run: Callable, stored: Path, tmp_path: Path, sequence: GaussianSequence, kind: str
) -> None:
    out = tmp_path / "frames"
    assert run("export", stored, "--format", kind, "-o", out).code == 0
    back = load(out)
    assert isinstance(back, GaussianSequence)
    assert back.fps == 12.0
    torch.testing.assert_close(back.gaussians.means, sequence.gaussians.means, atol=1e-3, rtol=0)
    one = tmp_path / f"one{SUFFIXES[kind][0]}"
    arguments = ("export", out, "--format", kind, "-o", one)
    run(*arguments).assert_bad_input(one.name, "--frame", "folder")
    assert run(*arguments, "--frame", "2").code == 0
    loaded = load(one)
    assert isinstance(loaded, Gaussians)
    torch.testing.assert_close(loaded.means, sequence.gaussians.means[2], atol=1e-3, rtol=0)
    figures = json.loads(run("inspect", out, "--json").out)
    assert (figures["frames"], figures["kind"]) == (3, "folder of frames")


@pytest.mark.parametrize("kind", ["l4gm", "usd"])
def test_sequences_in_one_file(
    run: Callable, stored: Path, tmp_path: Path, sequence: GaussianSequence, kind: str
) -> None:
    if kind == "usd":
        pytest.importorskip("pxr")
    out = tmp_path / f"cat{SUFFIXES[kind][0]}"
    assert run("export", stored, "--format", kind, "-o", out).code == 0
    back = load(out)
    assert isinstance(back, GaussianSequence)
    # Here rows have nothing to do with each other from frame to frame, and need not keep in step.
    apart = torch.cdist(back.gaussians.means, sequence.gaussians.means)
    assert max(apart.amin(1).max(), apart.amin(2).max()) < 2e-3
    figures = json.loads(run("inspect", out, "--json").out)
    assert (figures["frames"], figures["fps"], figures["gaussians_per_frame"]) == (3, 12.0, 50)
    run("export", stored, "--format", kind, "-o", tmp_path / "cat").assert_bad_input(out.name)


@pytest.mark.parametrize("kind", MESHES)
def test_meshes(run: Callable, tmp_path: Path, kind: str) -> None:
    """A ball of opaque Gaussians; the count that is told is the file's."""
    if kind == "usd-mesh":
        pytest.importorskip("pxr")
    directions = torch.randn(2, 3000, 3, generator=torch.Generator().manual_seed(0))
    ball = GaussianSequence(
        Gaussians(
            0.4 * torch.nn.functional.normalize(directions, dim=-1),
            torch.tensor([1.0, 0, 0, 0]).expand(2, 3000, 4).clone(),
            torch.full((2, 3000, 3), 0.02),
            torch.full((2, 3000), 0.95),
            torch.full((2, 3000, 3), 0.5),
        ),
        12.0,
    )
    save(ball, tmp_path / "ball.safetensors")
    out = tmp_path / ("frames" if kind == "obj" else f"ball{SUFFIXES[kind][0]}")
    arguments = ("export", tmp_path / "ball.safetensors", "--format", kind, "-o", out)
    outcome = run(*arguments, "--triangles", "800")
    assert outcome.code == 0
    told = re.search(r"2 frames of (\d+)(?: to (\d+))? triangles, [\d.]+ [kM]B", outcome.out)
    assert told
    counts = sorted(int(count) for count in told.groups() if count)
    assert 300 < counts[0] <= counts[-1] <= 800
    if kind == "obj":
        texts = [path.read_text() for path in sorted(out.iterdir())]
        assert sorted({len(re.findall("^f ", text, re.M)) for text in texts}) == counts
    one = tmp_path / f"one{SUFFIXES[kind][0]}"
    assert run(*arguments[:-1], one, "--frame", "1", "--triangles", "800").code == 0
    run(*arguments, "--overwrite", "--triangles", "9").assert_bad_input("--triangles")


def test_what_is_left_out_is_not_counted(
    run: Callable, tmp_path: Path, sequence: GaussianSequence
) -> None:
    sequence = GaussianSequence(sequence.gaussians.map(torch.clone), sequence.fps)
    sequence.gaussians.opacities[:] = 0.5
    sequence.gaussians.opacities[0, :20] = 0.001
    save(sequence, tmp_path / "cat.safetensors")
    out = tmp_path / "frames"
    outcome = run("export", tmp_path / "cat.safetensors", "--format", "ply", "-o", out)
    assert "3 frames of 30 to 50 Gaussians" in outcome.out
    assert load(out / "frame_0000.ply").num_gaussians == 30
    assert (load(out).gaussians.opacities > 0).sum(-1).tolist() == [30, 50, 50]


def test_layouts(run: Callable, stored: Path, tmp_path: Path) -> None:
    for layout, kind, start in (("full", "ply", b"ply"), ("v4", "spz", b"NGSP")):
        out = tmp_path / f"a{SUFFIXES[kind][0]}"
        arguments = ("export", stored, "--frame", "0", "--layout", layout)
        assert run(*arguments, "--format", kind, "-o", out).code == 0
        assert out.read_bytes().startswith(start)
        run(*arguments, "--format", "sog", "-o", tmp_path / "b.sog").assert_bad_input(
            f"--layout {layout}", kind
        )
    assert b"f_rest_44" in (tmp_path / "a.ply").read_bytes()


def test_axes_and_size(
    run: Callable, stored: Path, tmp_path: Path, sequence: GaussianSequence
) -> None:
    out, back = tmp_path / "a.ply", tmp_path / "b.splat"
    common = ("export", "--frame", "1")
    assert run(*common, stored, "--format", "ply", "-o", out, "--up", "z", "--scale", "2").code == 0
    loaded = load(out)
    assert isinstance(loaded, Gaussians)
    x, y, z = sequence.gaussians.means[1].unbind(-1)
    torch.testing.assert_close(loaded.means, 2 * torch.stack([x, -z, y], -1))
    arguments = ("export", out, "--input-up", "z", "--scale", "0.5", "--format", "splat")
    assert run(*arguments, "-o", back).code == 0
    loaded = load(back)
    assert isinstance(loaded, Gaussians)
    torch.testing.assert_close(loaded.means, sequence.gaussians.means[1])


def test_what_does_not_fit_is_said(run: Callable, stored: Path, tmp_path: Path) -> None:
    def export(kind: str, name: str, *more: str) -> Callable:
        return run("export", stored, "--format", kind, "-o", tmp_path / name, *more)

    export("glb", "out", "--up", "z").assert_bad_input("out", "y up by definition")
    export("l4gm", "a.l4gm", "--scale", "2").assert_bad_input("a.l4gm", "own size")
    export("ply", "out", "--scale", "0").assert_bad_input("--scale", "above 0")
    export("usd", "a.usdc", "--up", "-y").assert_bad_input("a.usdc", "y and z")
    export("ply", "a.compressed.ply").assert_bad_input("a.compressed.ply")
    export("spz", "a.ply").assert_bad_input("a.ply", ".spz")
    (tmp_path / "plain").write_text("x")
    export("sog", "plain").assert_bad_input("plain", "is a file")
    assert {path.name for path in tmp_path.iterdir()} == {"cat.safetensors", "plain"}
    export("spz", "frames")
    export("sog", "frames", "--overwrite").assert_bad_input("frames of another kind")


def test_names_are_never_run_or_followed(run: Callable, stored: Path, tmp_path: Path) -> None:
    """A name with HTML in it stays text, wherever it goes."""
    name = "<img src=x onerror=alert(1)>"
    assert run("export", stored, "--format", "l4gm", "-o", tmp_path / f"{name}.l4gm").code == 0
    page = tmp_path / "page.html"
    source = tmp_path / f"{name}.l4gm"
    assert run("export", source, "--format", "html", "-o", page, "--title", name).code == 0
    assert name not in page.read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page.read_text()
