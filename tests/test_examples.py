"""The examples run as they are written, at small size, one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from l4gm import load
from l4gm.media.video import write_video
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.presets import debug_preset

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: object) -> str:
    environment = os.environ | {"PYTHONWARNINGS": "error::DeprecationWarning:__main__"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = L4GM(debug_preset().model)
    save_weights(network, folder / "recon.safetensors", metadata={"chunk_frames": "4"})
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a square that moves right on white."""
    frames = torch.full((6, 64, 64, 3), 255, dtype=torch.uint8)
    for index, frame in enumerate(frames):
        frame[24:40, 16 + 2 * index : 32 + 2 * index] = torch.tensor([200, 80, 30])
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    write_video(path, list(frames), fps=8.0)
    return path


@pytest.mark.slow
def test_reconstruct_then_render(tmp_path: Path, model_folder: Path, video: Path) -> None:
    said = run("01_reconstruct.py", video, "--out", tmp_path / "a", "--model", model_folder)
    assert "6 frames of 1,024 Gaussians, 8 a second" in said
    asset = tmp_path / "a" / "object.safetensors"
    assert len(load(asset)) == 6
    assert "square" in (tmp_path / "a" / "object.html").read_text()

    said = run("02_render.py", asset, "--out", tmp_path / "strip.png", "--size", 48)
    assert "frames [0, 3, 5]" in said
    assert Image.open(tmp_path / "strip.png").size == (4 * 48, 3 * 48)


@pytest.mark.slow
def test_long_video(tmp_path: Path, model_folder: Path, video: Path) -> None:
    out = tmp_path / "new" / "long.safetensors"
    said = run("03_long_video.py", video, "-o", out, "--model", model_folder)
    assert said.splitlines() == ["4 of 6 frames", "6 of 6 frames"]
    assert len(load(out)) == 6


@pytest.mark.slow
def test_fit(tmp_path: Path) -> None:
    small = ("--gaussians", 50, "--size", 16, "--steps", 3)
    run("04_fit_gaussians.py", "-o", tmp_path / "fit", *small)
    assert {path.name for path in (tmp_path / "fit").iterdir()} >= {"fit.png", "fit.ply"}
