"""inspect, render, export, view: every form of an asset in, the right figures and files out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.cli import view
from l4gm.cli.assets import open_asset
from l4gm.cli.turntable import Shot, film, frames_in_rounds, picture_count, shot_cameras
from l4gm.files import load, save
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras
from l4gm.media.video import probe_video
from l4gm.splat.render import render


@pytest.fixture(params=["folder", "safetensors", "ply"])
def asset(request: pytest.FixtureRequest, tmp_path: Path, sequence: GaussianSequence) -> Path:
    """The sequence in each form; as .ply its first frame."""
    if request.param == "folder":
        save(sequence, tmp_path / "cat")
        return tmp_path / "cat"
    if request.param == "safetensors":
        save(sequence, tmp_path / "cat.safetensors")
        return tmp_path / "cat.safetensors"
    save(sequence.gaussians[0], tmp_path / "cat.ply", prune=False)
    return tmp_path / "cat.ply"


@pytest.fixture
def stored(tmp_path: Path, sequence: GaussianSequence) -> Path:
    save(sequence, tmp_path / "cat.safetensors")
    return tmp_path / "cat.safetensors"


def test_inspect_counts_and_measures(
    run: Callable, asset: Path, sequence: GaussianSequence
) -> None:
    outcome = run("inspect", asset, "--json")
    assert outcome.code == 0
    figures = json.loads(outcome.out)
    assert figures["frames"] == (1 if asset.suffix == ".ply" else 3)
    assert figures["gaussians_per_frame"] == 50
    frames = sequence.gaussians[: figures["frames"]]
    low, high = np.array(figures["bounds"])
    means = frames.means.reshape(-1, 3).numpy()
    np.testing.assert_allclose(low, means.min(0), atol=1e-4)
    np.testing.assert_allclose(high, means.max(0), atol=1e-4)
    # Opacities run evenly from 0.02 to 0.98; the first two lie below 0.05.
    assert figures["opacity"]["50 %"] == pytest.approx(0.5, abs=0.02)
    assert figures["visible_share"] == pytest.approx(48 / 50)
    assert figures["scale"]["mean"] == pytest.approx(0.02, rel=1e-3)
    assert figures["bytes"] > 1000


def test_inspect_prints_a_table(run: Callable, stored: Path) -> None:
    out = run("inspect", stored).out
    assert "frames" in out
    assert "12 fps (0.25 s)" in out
    assert "50 a frame" in out


def test_visible_bounds_leave_out_the_faint(run: Callable, tmp_path: Path) -> None:
    gaussians = Gaussians(
        means=torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.9, 0.9]]),
        quats=torch.tensor([[1.0, 0, 0, 0]] * 2),
        scales=torch.full((2, 3), 0.1),
        opacities=torch.tensor([0.9, 0.01]),
        colors=torch.zeros(2, 3),
    )
    save(gaussians, tmp_path / "two.ply", prune=False)
    figures = json.loads(run("inspect", tmp_path / "two.ply", "--json").out)
    assert figures["bounds"][1] == pytest.approx([0.9, 0.9, 0.9], abs=1e-3)
    assert figures["visible_bounds"][1] == pytest.approx([0.1, 0.2, 0.3], abs=1e-3)


def test_frames_start_over(stored: Path, sequence: GaussianSequence) -> None:
    opened = open_asset(stored)
    frames = frames_in_rounds(opened, 1, 8)
    order = [1, 2, 0, 1, 2, 0, 1]
    torch.testing.assert_close(frames.means, sequence.gaussians.means[order])


@pytest.mark.parametrize(
    ("shot", "count"),
    [
        (Shot(path="fixed"), 3),
        (Shot(path="orbit"), 48),  # 4 s at 12 fps, already whole rounds of 3
        (Shot(path="spiral"), 96),  # two turns
        (Shot(path="orbit", num_frames=5), 5),
    ],
)
def test_picture_counts(stored: Path, shot: Shot, count: int) -> None:
    assert picture_count(shot, open_asset(stored)) == count


def test_film_draws_what_render_draws(stored: Path, sequence: GaussianSequence) -> None:
    """Picture k shows frame k mod T from azimuth 30 + 360 k / n."""
    shot = Shot(path="orbit", azimuth=30, elevation=10, size=24, num_frames=10)
    pictures = list(film(open_asset(stored), shot))
    assert len(pictures) == 10
    for index in (0, 7, 9):
        camera = orbit_cameras([30 + 36.0 * index], 10, size=24)
        truth = render(sequence.gaussians[index % 3], camera).image[0].clamp(0, 1)
        torch.testing.assert_close(pictures[index], truth, atol=1e-5, rtol=0)


def test_film_with_alpha_composes_to_the_same(stored: Path) -> None:
    shot = Shot(path="fixed", size=24)
    opened = open_asset(stored)
    for white, cutout in zip(film(opened, shot), film(opened, shot, alpha=True), strict=True):
        color, alpha = cutout[:3], cutout[3:]
        torch.testing.assert_close(color * alpha + 1 - alpha, white, atol=1e-4, rtol=0)


def test_spiral_climbs_and_turns_twice(stored: Path) -> None:
    shot = Shot(path="spiral", elevation=-10, climb=40, num_frames=8)
    got = shot_cameras(open_asset(stored), shot, 2, 5, 8)
    expected = orbit_cameras([180, 270, 360], [0, 5, 10])
    torch.testing.assert_close(got.world_from_camera, expected.world_from_camera)


@pytest.mark.parametrize("one_for_all", [False, True])
def test_input_cameras(tmp_path: Path, sequence: GaussianSequence, one_for_all: bool) -> None:
    """Pictures as the input video's cameras see them, at the size asked for, round and round."""
    cameras = orbit_cameras([20, 40, 60], 15, radius=1.2, size=256)
    given = cameras[1] if one_for_all else cameras
    save(GaussianSequence(sequence.gaussians, 12.0, given), tmp_path / "cat.safetensors")
    opened = open_asset(tmp_path / "cat.safetensors")
    pictures = list(film(opened, Shot(path="input", size=24, num_frames=5)))
    for index in (0, 2, 4):
        camera = cameras[1:2] if one_for_all else cameras[index % 3 : index % 3 + 1]
        truth = render(sequence.gaussians[index % 3], camera.resized(24)).image[0].clamp(0, 1)
        torch.testing.assert_close(pictures[index], truth, atol=1e-5, rtol=0)


def test_supersampling_is_the_mean_of_a_larger_picture(stored: Path) -> None:
    opened = open_asset(stored)
    (large, *_), (small, *_) = (
        list(film(opened, Shot(path="fixed", size=size, supersampling=by), alpha=True))
        for size, by in ((48, 1), (24, 2))
    )
    mean = (large[:3] * large[3:]).reshape(3, 24, 2, 24, 2).mean((2, 4))
    torch.testing.assert_close(small[:3] * small[3:], mean, atol=1e-4, rtol=0)


def test_depth_and_alpha_of_a_wall(tmp_path: Path) -> None:
    """An opaque sheet at z = 0.25 lies 1.25 from the camera: (2.5 - 1.25) / (2.5 - 0.5)."""
    side = torch.linspace(-0.3, 0.3, 20)
    x, y = (axis.reshape(-1) for axis in torch.meshgrid(side, side, indexing="xy"))
    gaussians = Gaussians(
        means=torch.stack([x, y, torch.full_like(x, 0.25)], -1),
        quats=torch.tensor([[1.0, 0, 0, 0]]).expand(400, 4),
        scales=torch.full((400, 3), 0.03),
        opacities=torch.full((400,), 0.99),
        colors=torch.rand(400, 3, generator=torch.Generator().manual_seed(0)),
    )
    save(gaussians, tmp_path / "wall.ply")
    opened = open_asset(tmp_path / "wall.ply")
    (depth,) = film(opened, Shot(path="fixed", size=32, layer="depth"))
    (alpha,) = film(opened, Shot(path="fixed", size=32, layer="alpha"))
    assert depth[:, 16, 16].tolist() == pytest.approx([0.625] * 3, abs=0.002)
    assert alpha[0, 16, 16] > 0.99
    assert depth[0, 0, 0] == alpha[0, 0, 0] == 0
    assert depth[0][depth[0] > 0].min() > 0.62


def test_render_gif(run: Callable, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "orbit.gif"
    arguments = ("--size", "32", "--frames", "7", "--device", "cpu", "--supersampling", "2")
    assert run("render", stored, "-o", out, *arguments).code == 0
    with Image.open(out) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (7, (32, 32), 0)
        durations = []
        for index in range(7):
            picture.seek(index)
            durations.append(picture.info["duration"])
    assert set(durations) <= {80, 90}  # 12 a second is 83.3 ms
    assert sum(durations) == 580


def test_render_depth_pictures(run: Callable, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "depth"
    arguments = ("--path", "fixed", "--size", "32", "--layer", "depth", "--device", "cpu")
    assert run("render", stored, "-o", out, *arguments).code == 0
    with Image.open(out / "frame_0000.png") as picture:
        assert picture.mode == "I;16"
        assert 20000 < np.array(picture).max() < 65536


def test_render_video(run: Callable, asset: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "orbit.mp4"
    outcome = run("render", asset, "-o", out, "--size", "32", "--frames", "6", "--device", "cpu")
    assert outcome.code == 0
    info = probe_video(out)
    assert (info.width, info.num_frames) == (32, 6)
    assert info.fps == pytest.approx(30 if asset.suffix == ".ply" else 12)


def test_render_pictures(run: Callable, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "frames"
    arguments = ("--path", "fixed", "--azimuth", "90", "--size", "32", "--alpha", "--device", "cpu")
    assert run("render", stored, "-o", out, *arguments).code == 0
    assert sorted(path.name for path in out.iterdir()) == [f"frame_000{i}.png" for i in range(3)]
    with Image.open(out / "frame_0000.png") as picture:
        assert (picture.mode, picture.size) == ("RGBA", (32, 32))
        levels = np.array(picture)
    assert levels[..., 3].max() > 128
    assert levels[0, 0, 3] < 128
    run("render", stored, "-o", out).assert_bad_input("frames", "exists")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("-o", "x.avi"), ".avi"),
        (("-o", "x.gif", "--alpha"), "transparency"),
        (("-o", "x", "--alpha", "--layer", "depth"), "--layer depth"),
        (("-o", "x.mp4", "--supersampling", "0"), "--supersampling"),
        (("-o", "x.mp4", "--size", "4096", "--supersampling", "4"), "--supersampling 4"),
        (("-o", "x.mp4", "--path", "input"), "cameras"),
        (("-o", "x.mp4", "--alpha"), "transparency"),
        (("-o", "x.mp4", "--size", "0"), "--size"),
        (("-o", "x.mp4", "--frames", "-1"), "--frames"),
    ],
)
def test_render_refuses(run: Callable, stored: Path, arguments: tuple[str, ...], word: str) -> None:
    run("render", stored, *arguments).assert_bad_input(word)


def test_export_round_trips(
    run: Callable, stored: Path, tmp_path: Path, sequence: GaussianSequence
) -> None:
    """Lossless to PLY and back, up to the PLY's own encoding."""
    assert run("export", stored, "--format", "ply", "-o", tmp_path / "frames").code == 0
    back = tmp_path / "back.safetensors"
    assert run("export", tmp_path / "frames", "--format", "safetensors", "-o", back).code == 0
    loaded = load(back)
    assert isinstance(loaded, GaussianSequence)
    assert loaded.fps == 12.0
    torch.testing.assert_close(loaded.gaussians.means, sequence.gaussians.means)
    torch.testing.assert_close(loaded.gaussians.colors, sequence.gaussians.colors)


def test_export_one_frame(
    run: Callable, stored: Path, tmp_path: Path, sequence: GaussianSequence
) -> None:
    out = tmp_path / "one.ply"
    run("export", stored, "--format", "ply", "-o", out).assert_bad_input("one.ply", "--frame")
    assert run("export", stored, "--format", "ply", "-o", out, "--frame", "2").code == 0
    loaded = load(out)
    assert isinstance(loaded, Gaussians)
    torch.testing.assert_close(loaded.means, sequence.gaussians.means[2])
    common = ("export", stored, "--format", "ply", "-o", out)
    run(*common, "--frame", "1").assert_bad_input("one.ply", "--overwrite")
    run(*common, "--frame", "3", "--overwrite").assert_bad_input("--frame 3", "0 to 2")


def test_export_page(run: Callable, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "cat.html"
    outcome = run("export", stored, "--format", "html", "-o", out, "--title", "My <cat>")
    assert outcome.code == 0
    assert "My &lt;cat&gt;" in out.read_text()
    run("export", stored, "--format", "html", "-o", tmp_path / "cat").assert_bad_input(".html")


def test_view_serves_the_page_on_this_machine_alone(stored: Path) -> None:
    page = view.player_page(stored, None)
    with view.serve_page(page) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(server.url) as answer:
                assert answer.read() == page
                assert answer.headers["Content-Type"].startswith("text/html")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(server.url + "../etc/passwd")
        finally:
            server.shutdown()
            thread.join()


OURS = b'<!DOCTYPE html><meta name="generator" content="l4gm 0"><p>ready'


def test_view_takes_a_ready_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(OURS)
    assert view.player_page(tmp_path, None) == OURS
    assert view.player_page(tmp_path / "index.html", None) == OURS


def test_view_serves_no_page_of_others(tmp_path: Path, run: Callable) -> None:
    (tmp_path / "index.html").write_bytes(b"<script>alert(1)</script>")
    run("view", tmp_path / "index.html").assert_bad_input("not a page that l4gm made")
    run("view", tmp_path).assert_bad_input("no frames")


@pytest.mark.slow
def test_view_ends_well_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(OURS)
    process = subprocess.Popen(
        [sys.executable, "-m", "l4gm", "view", str(tmp_path), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert "http://127.0.0.1:" in line
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert not err
