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
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a square that moves right on white."""
    frames = torch.full((6, 64, 64, 3), 255, dtype=torch.uint8)
    for index, frame in enumerate(frames):
        frame[24:40, 16 + 2 * index : 32 + 2 * index] = torch.tensor([200, 80, 30])
    path = tmp_path_factory.mktemp("video") / "square.mp4"
    write_video(path, list(frames), fps=8.0)
    return path


@pytest.mark.slow
def test_reconstruct_then_render(tmp_path: Path, video: Path) -> None:
    said = run("01_reconstruct.py", video, "--out", tmp_path / "a")
    asset = tmp_path / "a" / "object.safetensors"
    result = load(asset)
    number = result.gaussians.num_gaussians
    assert f"{len(result)} frames of {number:,} Gaussians, {result.fps:g} a second" in said
    assert len(result) == round((6 - 1) * result.fps / 8) + 1
    assert "square" in (tmp_path / "a" / "object.html").read_text()

    said = run("02_render.py", asset, "--out", tmp_path / "strip.png", "--size", 48)
    assert "frames [0, " in said
    assert Image.open(tmp_path / "strip.png").size == (4 * 48, 3 * 48)


@pytest.mark.slow
def test_long_video(tmp_path: Path, video: Path) -> None:
    out = tmp_path / "new" / "long.safetensors"
    said = run("03_long_video.py", video, "-o", out)
    total = len(load(out))
    assert said.splitlines()[-1] == f"{total} of {total} frames"


@pytest.mark.slow
def test_fit(tmp_path: Path) -> None:
    small = ("--gaussians", 50, "--size", 16, "--steps", 3)
    run("04_fit_gaussians.py", "-o", tmp_path / "fit", *small)
    assert {path.name for path in (tmp_path / "fit").iterdir()} >= {"fit.png", "fit.ply"}
