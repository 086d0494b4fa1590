"""inspect, render, export, view: every form of an asset in, the right figures and files out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.cli import view
from l4gm.cli.assets import open_asset
from l4gm.cli.turntable import Shot, film, frames_in_rounds, picture_count
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
        (("-o", "x.gif"), ".gif"),
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
    server = ThreadingHTTPServer((view.ADDRESS, 0), view.page_handler(page))
    assert server.server_address[0] == "127.0.0.1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == page
            assert answer.headers["Content-Type"].startswith("text/html")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(address + "../etc/passwd")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_view_takes_a_ready_page(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<p>ready")
    assert view.player_page(tmp_path, None) == b"<p>ready"
    assert view.player_page(tmp_path / "index.html", None) == b"<p>ready"


@pytest.mark.slow
def test_view_ends_well_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(b"<p>ready")
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
