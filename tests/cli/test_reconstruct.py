"""`l4gm reconstruct` end to end with a tiny random model, and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from l4gm.files import load
from l4gm.gaussians.ply import read_ply
from l4gm.gaussians.sequence_file import read_sequence
from l4gm.gaussians.types import GaussianSequence
from l4gm.media.video import probe_video, read_frames
from l4gm.model.weights import file_sha256

SMALL = ("--orbit-size", "48", "--device", "cpu")


MakeVideo = Callable[[Path, int], Path]


def files_in(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, video: Path, model_folder: Path) -> Path:
    """The folder of one run."""
    from l4gm.cli.main import main

    out = tmp_path_factory.mktemp("results") / "disc"
    assert (
        main(["reconstruct", str(video), "-o", str(out), "--model", str(model_folder), *SMALL]) == 0
    )
    return out


def test_folder_holds_what_is_promised(result: Path) -> None:
    assert files_in(result) == [
        *(f"frame_{index:04d}.ply" for index in range(9)),
        "index.html",
        "input.mp4",
        "orbit.mp4",
        "report.json",
        "sequence.json",
        "sequence.safetensors",
    ]
    assert files_in(result.parent) == ["disc"]


def test_all_forms_hold_the_same_object(result: Path) -> None:
    sequence = read_sequence(result / "sequence.safetensors")
    assert len(sequence) == 9
    assert sequence.fps == 12.0
    loaded = load(result)
    assert isinstance(loaded, GaussianSequence)
    assert loaded.fps == 12.0
    for index in (0, 8):
        frame = read_ply(result / f"frame_{index:04d}.ply")
        torch.testing.assert_close(frame.means, sequence.gaussians[index].means)
        torch.testing.assert_close(
            frame.opacities, sequence.gaussians[index].opacities, atol=1e-5, rtol=1e-4
        )


def test_videos_play_in_time(result: Path) -> None:
    orbit = probe_video(result / "orbit.mp4")
    assert (orbit.width, orbit.height, orbit.fps) == (48, 48, 12.0)
    # At least four seconds, in whole rounds of the nine frames.
    assert orbit.num_frames == 54
    assert len(list(read_frames(result / "input.mp4"))) == 9


def test_page_stands_alone(result: Path) -> None:
    page = (result / "index.html").read_text()
    assert "<title>" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_report_tells_everything(result: Path, model_folder: Path, video: Path) -> None:
    report = json.loads((result / "report.json").read_text())
    assert report["settings"]["video"] == str(video)
    assert report["settings"]["seed"] == 0
    assert report["device"] == "cpu"
    weights = report["weights"]["recon.safetensors"]
    assert weights["sha256"] == file_sha256(model_folder / "recon.safetensors")
    assert report["result"] == {"num_frames": 9, "num_gaussians": 1024, "fps": 12.0}
    assert report["pipeline"]["first_guess"] == "every chunk"
    assert set(report["pipeline"]["seconds"]) >= {"load model", "prepare", "reconstruct", "orbit"}
    assert report["versions"]["torch"] == torch.__version__
    assert report["warnings"] == []


def test_existing_results_are_replaced_only_when_told(
    run: Callable, result: Path, video: Path, model_folder: Path
) -> None:
    common = ("reconstruct", video, "-o", result, "--model", model_folder, *SMALL)
    before = (result / "report.json").read_text()
    run(*common).assert_bad_input(str(result), "--overwrite")
    assert (result / "report.json").read_text() == before
    outcome = run(*common, "--overwrite", "--max-frames", "2")
    assert outcome.code == 0
    assert str(result / "index.html") in outcome.out
    assert "only the first 2 of about 9 frames are used; --max-frames 9" in outcome.err
    report = json.loads((result / "report.json").read_text())
    assert report["result"]["num_frames"] == 2
    assert len(report["warnings"]) == 1
    assert not (result / "frame_0002.ply").exists()
    assert files_in(result.parent) == ["disc"]


def test_same_seed_same_bytes(
    run: Callable, tmp_path: Path, model_folder: Path, make_video: MakeVideo
) -> None:
    video = make_video(tmp_path / "disc.mp4", 2)
    for name in ("one", "two"):
        common = ("--model", model_folder, "--device", "cpu", "--orbit-size", "16")
        assert run("reconstruct", video, "-o", tmp_path / name, *common).code == 0
    first, second = (
        (tmp_path / name / "sequence.safetensors").read_bytes() for name in ("one", "two")
    )
    assert first == second


def test_given_views_are_used(
    run: Callable, tmp_path: Path, model_folder: Path, make_video: MakeVideo
) -> None:
    video = make_video(tmp_path / "disc.mp4", 1)
    views = tmp_path / "views"
    views.mkdir()
    Image.new("RGB", (64, 64), (0, 0, 255)).save(views / "90.png")
    common = ("reconstruct", video, "--model", model_folder, *SMALL)
    assert run(*common, "-o", tmp_path / "alone").code == 0
    assert run(*common, "-o", tmp_path / "given", "--views", views).code == 0
    alone, given = (
        read_sequence(tmp_path / name / "sequence.safetensors") for name in ("alone", "given")
    )
    assert not torch.equal(alone.gaussians.colors, given.gaussians.colors)
    run(*common, "-o", tmp_path / "x", "--views", tmp_path / "no").assert_bad_input("no")
    assert not (tmp_path / "x").exists()


def test_default_name_is_the_videos(
    run: Callable,
    tmp_path: Path,
    model_folder: Path,
    make_video: MakeVideo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_video(tmp_path / "my disc.mp4", 1)
    monkeypatch.chdir(tmp_path)
    assert run("reconstruct", "my disc.mp4", "--model", model_folder, *SMALL).code == 0
    assert files_in(tmp_path) == ["my disc.mp4", "my disc_4d"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_run_leaves_nothing_under_the_name(
    tmp_path: Path, model_folder: Path, make_video: MakeVideo, number: signal.Signals
) -> None:
    """Killed as soon as frames are being written."""
    video = make_video(tmp_path / "long.mp4", 200)
    arguments = ["-m", "l4gm", "reconstruct", str(video), "-o", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, *arguments, "--model", str(model_folder), *SMALL, "--chunk-frames", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Where the tests themselves run in the background, Ctrl-C comes ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240  # the first run on a machine compiles the kernels
    while not list(tmp_path.glob(".out.partial-*/frame_0001.ply")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert not (tmp_path / "out").exists()
    if number == signal.SIGKILL:
        return
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert "Traceback" not in err
    assert files_in(tmp_path) == ["long.mp4"]
