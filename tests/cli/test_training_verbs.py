"""train, evaluate, data: the thin verbs, at the smallest size that does the real thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4gm.media.video import probe_video, read_frames
from l4gm.train.presets import debug_preset


@pytest.mark.slow
def test_train_stop_resume_and_use(run: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    common = ("train", "reconstruction", "--preset", "debug", "-o", folder, "--device", "cpu")
    first = run(*common, "--validation-clips", "0", "--max-minutes", "0.000001")
    assert first.code == 0
    assert "--resume goes on" in first.out
    run(*common).assert_bad_input(str(folder), "--resume")
    second = run(*common, "--validation-clips", "0", "--resume")
    assert second.code == 0
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "log.jsonl", "recon.safetensors", "report.html"} <= names
    assert any(name.startswith("checkpoint_") for name in names)
    outcome = run(
        "evaluate", "renders", "--model", folder, "--clips", "1", "--frames", "2", "--size", "32",
        "--pictures", tmp_path / "pictures", "--device", "cpu",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "| procedural | views given | 1 clip |" in outcome.out
    assert "video only" not in outcome.out
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["procedural_000_views_given.png"]
    with Image.open(tmp_path / "pictures" / names[0]) as sheet:
        assert sheet.size == (4 * 32, 4 * 32)  # 4 free views; truth, rendering, first and last
    alone = run(
        "evaluate", "renders", "--model", folder, "--clips", "1", "--frames", "2", "--size", "32",
        "--network-alone", "--json", "--device", "cpu",
    )  # fmt: skip
    scores = json.loads(alone.out)["procedural"]
    assert [score["setting"] for score in scores] == ["views given"]
    assert all(5 < score["psnr"] < 50 for score in scores)


@pytest.mark.slow
def test_train_interpolation_from_a_reconstruction(
    run: Callable, model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    common = ("train", "interpolation", "--preset", "debug", "-o", folder, "--device", "cpu")
    weights = ("--weights", model_folder / "recon.safetensors", "--validation-clips", "1")
    first = run(*common, *weights, "--max-minutes", "0.000001")
    assert "--resume goes on" in first.out, first.err
    assert (folder / "recon.safetensors").exists()
    second = run(*common, "--resume", "--validation-clips", "1")
    assert second.code == 0, second.err
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert last["shortfall"] == pytest.approx(
        last["psnr_reconstructed"] - last["psnr_between"], abs=1e-3
    )
    run("train", "reconstruction", "--preset", "debug", "-o", folder, "--resume").assert_bad_input(
        "another network", "interpolation"
    )


def test_train_on_a_packed_set(run: Callable, tmp_path: Path) -> None:
    packed = tmp_path / "set"
    made = run("data", "procedural", "-o", packed, "--clips", "6", "--size", "32", "--frames", "4",
               "--heldout-share", "0")  # fmt: skip
    assert made.code == 0, made.err
    common = ("train", "reconstruction", "--preset", "debug", "--data", packed, "--device", "cpu")
    run(*common, "-o", tmp_path / "run").assert_bad_input("heldout", "--validation-clips 0")
    trained = run(*common, "-o", tmp_path / "run", "--validation-clips", "0")
    assert trained.code == 0, trained.err
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == debug_preset().total_steps
    assert (tmp_path / "run/recon.safetensors").is_file()


def test_evaluate_a_network_that_works_from_a_video_alone(run: Callable, video_model: Path) -> None:
    common = ("--clips", "1", "--frames", "2", "--size", "32", "--json", "--device", "cpu")
    for more in ((), ("--network-alone",)):
        outcome = run("evaluate", "renders", "--model", video_model, *common, *more)
        assert outcome.code == 0, outcome.err
        scores = json.loads(outcome.out)["procedural"]
        assert [score["setting"] for score in scores] == ["views given", "video only"]


def test_train_refuses(run: Callable, tmp_path: Path) -> None:
    common = ("train", "reconstruction", "-o", tmp_path / "run")
    run(*common, "--resume").assert_bad_input("no checkpoint", "--resume")
    run(*common, "--skip-stages", "99").assert_bad_input("--skip-stages", "0 to")
    run(*common, "--micro-batches", "3").assert_bad_input("dealt out evenly")
    run(*common, "--models", tmp_path / "no").assert_bad_input("no is not a folder")
    run(*common, "--weights", tmp_path / "no.safetensors").assert_bad_input("no.safetensors")
    run("train", "interpolation", "-o", tmp_path / "run").assert_bad_input("--weights")
    run(*common, "--true-views", "1").assert_bad_input("--true-views", "interpolation")
    run(
        "train", "interpolation", "-o", tmp_path / "run", "--true-views", "2",
        "--weights", tmp_path / "no.safetensors",
    ).assert_bad_input("--true-views 2")  # fmt: skip
    run("train", "everything", "-o", tmp_path).assert_bad_input("everything", "reconstruction")
    assert not list(tmp_path.iterdir())


def test_procedural_clips_on_disk(run: Callable, tmp_path: Path) -> None:
    out = tmp_path / "objects"
    arguments = ("--clips", "1", "--size", "32", "--frames", "3", "--fps", "8", "--free-views", "1")
    assert run("data", "procedural", "-o", out, "--videos", *arguments).code == 0
    clip = out / "clip_0000"
    assert sorted(path.name for path in clip.iterdir()) == [
        "cameras.json",
        "first",
        *(f"view_0{index}.webm" for index in range(5)),
    ]
    info = probe_video(clip / "view_00.webm")
    assert (info.width, info.fps, info.has_alpha) == (32, 8.0, True)
    cameras = json.loads((clip / "cameras.json").read_text())
    assert np.array(cameras["world_from_camera"]).shape == (5, 4, 4)
    # The first frame as a picture and in the video are the same view.
    with Image.open(clip / "first" / "90.png") as picture:
        exact = np.array(picture).astype(float)
    coded = next(read_frames(clip / "view_01.webm")).numpy().astype(float)
    assert np.abs(exact[..., 3] - coded[..., 3]).mean() < 4
    run("data", "procedural", "-o", out, "--videos").assert_bad_input("objects", "--overwrite")


def test_multiview_names_a_folder_that_is_not_there(run: Callable, tmp_path: Path) -> None:
    run("evaluate", "renders", "--multiview", tmp_path / "no").assert_bad_input(
        "--multiview", "there is no such folder"
    )
