"""evaluate renders and report work with anything that makes Gaussians of frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from l4gm.cli import evaluate_renders
from l4gm.evaluation.contact_sheet import COLUMNS, LABEL_PX, TILE_PX
from l4gm.evaluation.scores import SETTINGS, ClipScore
from l4gm.gaussians.types import Gaussians
from l4gm.perceptual import published

SMALL = ("--clips", "1", "--frames", "2", "--size", "32", "--device", "cpu")


def grey_ball(frames: Tensor, views: Tensor | None) -> Gaussians:
    """No network at all."""
    count = len(frames)
    return Gaussians(
        means=torch.zeros(count, 1, 3),
        quats=torch.tensor([1.0, 0, 0, 0]).expand(count, 1, 4),
        scales=torch.full((count, 1, 3), 0.15),
        opacities=torch.ones(count, 1),
        colors=torch.full((count, 1, 3), 0.5),
    )


@pytest.fixture
def any_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[tuple[str, ...]], None]:
    """Put `grey_ball` in the place of every model."""

    def take(settings: tuple[str, ...] = tuple(SETTINGS)) -> None:
        found = (settings, grey_ball)
        monkeypatch.setattr(evaluate_renders, "reconstruction_of", lambda *given, **more: found)

    take()
    return take


def test_renders_prints_people_s_measures_first_and_json_has_all(
    run: Callable, any_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(published, "_in_package", lambda file: [])
    table = run("evaluate", "renders", *SMALL)
    assert table.code == 0, table.err
    lines = table.out.splitlines()
    assert lines[0].startswith("| set | setting | what | ST-LPIPS | alpha IoU | PSNR |")
    whats = [line.split("|")[3].strip() for line in lines[2:8]]
    assert whats == ["1 clip", "nearest image", "all white"] * 2
    assert "ST-LPIPS skipped: weights missing: alex_shift_tolerant.pth" in table.out
    assert "pip install stlpips-pytorch==0.0.2" in table.out

    outcome = run("evaluate", "renders", *SMALL, "--json")
    scores = json.loads(outcome.out)["procedural"]
    assert [score["setting"] for score in scores] == list(SETTINGS)
    for score in scores:
        assert score.keys() == {field.name for field in fields(ClipScore)}
        assert score["st_lpips"] is None
        assert score["splats"] == score["opaque_share"] == 1
        assert 0 <= score["f_score"] < 1
        assert 0 < score["chamfer"] <= 0.2


def test_report_begins_with_heldout_objects_and_videos(
    run: Callable, any_model, model_folder: Path, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "LICENSES.md").write_text("mine")
    images = [Image.new("RGB", (64, 64), "white") for _ in range(3)]
    for step, image in enumerate(images):
        ImageDraw.Draw(image).ellipse((16 + step, 16, 46 + step, 46), (200, 30, 30))
    images[0].save(videos / "ball.gif", save_all=True, append_images=images[1:], duration=100)
    folder = tmp_path / "report"
    outcome = run(
        "evaluate", "report", "--model", model_folder, *SMALL, "--use-clips", "0", "--sheet", "2",
        "--videos", videos, "-o", folder,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    names = {path.name for path in folder.iterdir()}
    assert names == {"report.html", "report.json", "tables.md", "contact_sheet.webp"}
    with Image.open(folder / "contact_sheet.webp") as sheet:
        assert sheet.size == (len(COLUMNS) * TILE_PX, 3 * (TILE_PX + LABEL_PX))
        # The video's own row begins with its frame: the red ball in the middle.
        red, green, _ = sheet.getpixel((TILE_PX // 2, sheet.height - TILE_PX // 2))
        assert red > 150 > 100 > green
    (first,) = json.loads((folder / "report.json").read_text())["renders"]["table"][:1]
    assert first["what"] == "1 clip"
    assert f"| {first['PSNR']} |" in (folder / "tables.md").read_text()


def test_report_refuses_videos_that_it_cannot_show(
    run: Callable, any_model, model_folder: Path, tmp_path: Path
) -> None:
    common = ("evaluate", "report", "--model", model_folder, *SMALL, "-o", tmp_path / "report")
    run(*common, "--videos", tmp_path / "no").assert_bad_input("no such folder")
    run(*common, "--videos", tmp_path).assert_bad_input("no videos in it", ".mp4")
    (tmp_path / "clip.mp4").write_bytes(b"")
    any_model(("views given",))
    run(*common, "--videos", tmp_path).assert_bad_input("--videos", "video alone")
    run(*common, "--sheet", "-1").assert_bad_input("--sheet")
    assert not (tmp_path / "report").exists()
