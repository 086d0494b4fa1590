"""The benchmark's protocol: what is averaged in which order, what is kept, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.cli.main import main
from l4gm.errors import InputError
from l4gm.evaluation import consistent4d
from l4gm.evaluation.consistent4d import Method, check_folders, draw_views, score_method
from l4gm.evaluation.judges import Judges, load_judges
from l4gm.gaussians.types import Gaussians
from l4gm.perceptual.i3d import VIDEOGPT

OBJECTS = ("cat", "dog")


def test_averages_are_over_frames_then_views_then_objects(make_tree, no_weights, tmp_path) -> None:
    """A constant offset of noise / 255 has a PSNR that does not depend on the picture."""
    truth, prediction = make_tree("gt"), make_tree("pred", noise=10)
    # One object's frames are all right; its mean must weigh as much as the other's.
    shutil.rmtree(prediction / "dog")
    shutil.copytree(truth / "dog", prediction / "dog")
    score = score_method(truth, Method("m", prediction), load_judges(), tmp_path / "c", OBJECTS)
    offset = -20 * np.log10(10 / 255)
    assert score.objects["cat"].views["psnr"] == pytest.approx([offset] * 4, abs=1e-3)
    assert score.objects["dog"].views["psnr"] == pytest.approx([100] * 4)
    assert score.averages["psnr"] == pytest.approx((offset + 100) / 2, abs=1e-3)
    assert score.objects["dog"].mean("ssim") == pytest.approx(1)
    assert set(score.averages) == {"psnr", "ssim"}
    for metric in ("lpips_vgg", "lpips_alex", "clip", "fvd", "fvd_consistent4d", "fv4d"):
        assert "weights missing" in score.skipped[metric]


class PixelFeatures(torch.nn.Module):
    """Stands for I3D: the mean colour of a video, repeated."""

    def __init__(self, min_frames: int) -> None:
        super().__init__()
        self.reading = type("Reading", (), {"min_frames": min_frames})()
        self.anchor = torch.nn.Parameter(torch.zeros(()))

    def forward(self, videos: torch.Tensor) -> torch.Tensor:
        return videos.mean((2, 3, 4)).repeat(1, 2)


def test_video_metrics_take_the_ways_that_are_long_enough(make_tree, no_weights, tmp_path) -> None:
    truth, prediction = make_tree("gt"), make_tree("pred", noise=30)
    judges = load_judges()
    judges.skipped.clear()
    judges.fvd = PixelFeatures(min_frames=3)  # type: ignore[assignment]
    judges.fvd_consistent4d = PixelFeatures(min_frames=1)  # type: ignore[assignment]
    same = score_method(truth, Method("same", truth), judges, tmp_path / "a", OBJECTS)
    for metric in ("fvd", "fvd_views", "fvd_diagonal", "fv4d", "fvd_consistent4d"):
        assert same.averages[metric] == pytest.approx(0, abs=1e-9)
    other = score_method(truth, Method("other", prediction), judges, tmp_path / "b", OBJECTS)
    assert all(other.averages[metric] > 0 for metric in ("fvd", "fv4d", "fvd_consistent4d"))
    judges.fvd = PixelFeatures(min_frames=VIDEOGPT.min_frames)  # type: ignore[assignment]
    short = score_method(truth, Method("other", prediction), judges, tmp_path / "d", OBJECTS)
    assert "too few views" in short.skipped["fvd_views"]


def test_finished_objects_are_kept_until_something_changes(
    make_tree, no_weights, tmp_path, monkeypatch
) -> None:
    truth, prediction = make_tree("gt"), make_tree("pred", noise=10)
    scored: list[str] = []
    original = consistent4d.score_object

    def counting(gt: Path, pred: Path, judges: Judges):
        scored.append(gt.name)
        if len(scored) == 2:
            raise KeyboardInterrupt
        return original(gt, pred, judges)

    monkeypatch.setattr(consistent4d, "score_object", counting)
    method, cache = Method("m", prediction), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        score_method(truth, method, load_judges(), cache, OBJECTS)
    first = score_method(truth, method, load_judges(), cache, OBJECTS)
    assert scored == ["cat", "dog", "dog"]
    assert score_method(truth, method, load_judges(), cache, OBJECTS) == first
    assert len(scored) == 3
    Image.new("RGB", (16, 16)).save(prediction / "cat" / "eval_0" / "0.png")
    changed = score_method(truth, method, load_judges(), cache, OBJECTS)
    assert scored[3:] == ["cat"]
    assert changed.averages["psnr"] < first.averages["psnr"]


def test_trees_that_do_not_fit_are_named(make_tree) -> None:
    truth = make_tree("gt")
    check_folders(truth, make_tree("fits"), OBJECTS)
    with pytest.raises(InputError, match="objects missing: dog"):
        check_folders(truth, make_tree("few", ("cat",)), OBJECTS)
    with pytest.raises(InputError, match="holds objects that are not scored: horse"):
        check_folders(truth, make_tree("many", ("cat", "dog", "horse")), OBJECTS)
    odd = make_tree("odd")
    (odd / "cat" / "eval_3").rename(odd / "cat" / "eval_4")
    with pytest.raises(InputError, match="differs in: eval_3, eval_4"):
        check_folders(truth, odd, OBJECTS)
    short = make_tree("short")
    (short / "dog" / "eval_1" / "2.png").unlink()
    with pytest.raises(InputError, match=r"eval_1: 1 of 3 frames are missing: 2\.png"):
        check_folders(truth, short, OBJECTS)


def test_another_size_is_resized_and_said(make_tree, no_weights, tmp_path) -> None:
    truth, prediction = make_tree("gt"), make_tree("pred")
    for path in prediction.rglob("*.png"):
        Image.open(path).resize((32, 32), Image.Resampling.NEAREST).save(path)
    score = score_method(truth, Method("m", prediction), load_judges(), tmp_path / "c", OBJECTS)
    assert score.objects["cat"].notes == ("prediction: 32 x 32 px, resized to 16",)


def test_views_are_drawn_at_the_benchmarks_azimuths() -> None:
    """A red splat at +z, which the input camera sees in the middle, turns to the right in the view
    at azimuth -75 (from the left of the input camera) and is seen at the side away."""
    means = torch.tensor([[[0.0, 0.0, 0.4]]])
    gaussians = Gaussians(
        means=means,
        quats=torch.tensor([[[1.0, 0, 0, 0]]]),
        scales=torch.full((1, 1, 3), 0.03),
        opacities=torch.ones(1, 1),
        colors=torch.tensor([[[1.0, 0, 0]]]),
    )
    views = draw_views(gaussians)
    assert views.shape == (4, 1, 512, 512, 3)
    columns = []
    for view in range(4):
        rows = 255 - views[view, 0, :, :, 1].astype(float)
        columns.append((rows.sum(0) * np.arange(512)).sum() / rows.sum())
    focal = 256 / np.tan(np.radians(49.1) / 2)
    for azimuth, column in zip((-75, 15, 105, 195), columns, strict=True):
        angle = np.radians(azimuth)
        right, depth = -0.4 * np.sin(angle), 1.5 - 0.4 * np.cos(angle)
        assert column == pytest.approx(255.5 + focal * right / depth, abs=1)


def test_command_scores_methods_side_by_side(make_tree, no_weights, tmp_path, capsys) -> None:
    truth, near, far = make_tree("gt"), make_tree("near", noise=5), make_tree("far", noise=40)
    arguments = ["evaluate", "consistent4d", "--gt", str(truth), "-o", str(tmp_path / "out")]
    arguments += ["--pred", f"near={near}", "--pred", f"far={far}", "--objects", "cat", "dog"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| near | 34.15 |" in printed
    assert "skipped lpips_vgg: weights missing" in printed
    assert "not the benchmark's seven objects" in printed
    assert "| L4GM | 0.12 | 0.94 | 692 | 3 s |" in printed
    result = json.loads((tmp_path / "out" / "consistent4d.json").read_text())
    averages = {name: method["averages"]["psnr"] for name, method in result["methods"].items()}
    assert averages["near"] > averages["far"]


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ([], "nothing to score"),
        (["--pred", "x"], "expected NAME=DIR"),
        (["--pred", "x=a", "--pred", "x=b"], "two methods have the same name"),
        (["--model", "mini"], "--model and --input go together"),
    ],
)
def test_command_line_mistakes(extra, text, tmp_path, capsys) -> None:
    gt = str(tmp_path)
    assert main(["evaluate", "consistent4d", "--gt", gt, "-o", str(tmp_path / "o"), *extra]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.slow
def test_command_reconstructs_draws_and_goes_on(
    make_tree, no_weights, video_model, tmp_path, capsys
) -> None:
    """A network of a few thousand numbers, from input pictures to scores; then again from disk."""
    truth = make_tree("gt")
    model, inputs = tmp_path / "debug", tmp_path / "input"
    shutil.copytree(video_model, model)
    for name in OBJECTS:
        (inputs / name).mkdir(parents=True)
        for frame in range(3):
            picture = Image.new("RGB", (64, 64), "white")
            picture.paste((200, 30, 40), (16 + frame, 12, 46 + frame, 52))
            picture.save(inputs / name / f"{frame}.png")
    arguments = ["evaluate", "consistent4d", "--gt", str(truth), "-o", str(tmp_path / "out")]
    arguments += ["--model", str(model), "--input", str(inputs), "--objects", *OBJECTS]
    assert main(arguments) == 0
    drawn = tmp_path / "out" / "predictions" / "debug" / "dog" / "eval_3"
    assert sorted(path.name for path in drawn.iterdir()) == ["0.png", "1.png", "2.png"]
    result = json.loads((tmp_path / "out" / "consistent4d.json").read_text())
    assert set(result["methods"]["debug"]["seconds_of_reconstruction"]) == set(OBJECTS)
    shutil.rmtree(model)  # nothing is left to reconstruct
    capsys.readouterr()
    assert main(arguments) == 0
    assert "| debug |" in capsys.readouterr().out
    (inputs / "dog" / "2.png").unlink()
    shutil.rmtree(tmp_path / "out")
    shutil.copytree(video_model, model)
    assert main(arguments) == 2
    assert "dog: 2 frames, the benchmark has 3" in capsys.readouterr().err
