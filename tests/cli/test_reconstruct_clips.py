"""`l4gm reconstruct` of clips as people have them: rates, shots, ways, images in a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.gaussians.sequence_file import read_sequence
from l4gm.media.video import write_video

SMALL = ("--orbit-size", "48", "--device", "cpu", "--no-interpolate")


def square(left: int, background: int = 255, width: int = 96) -> torch.Tensor:
    """uint8 [96, W, 3]: a red square of 30 px."""
    frame = torch.full((96, width, 3), background, dtype=torch.uint8)
    frame[30:60, left : left + 30] = torch.tensor([200, 60, 40]).byte()
    return frame


@pytest.mark.parametrize("fps", [24.0, 25.0, 5.0])
def test_the_result_has_the_rate_that_is_asked_for(
    run: Callable, tmp_path: Path, video_model: Path, fps: float
) -> None:
    write_video(tmp_path / "a.mp4", [square(20 + index) for index in range(12)], 30)
    out = tmp_path / "out"
    options = ("--model", video_model, "-o", out, "--output-fps", fps, *SMALL)
    assert run("reconstruct", tmp_path / "a.mp4", *options).code == 0
    sequence = read_sequence(out / "sequence.safetensors")
    assert sequence.fps == pytest.approx(fps)
    assert len(sequence) / fps == pytest.approx(12 / 30, abs=0.6 / fps)


def test_the_way_of_an_object_is_reported_and_put_back(
    run: Callable, tmp_path: Path, video_model: Path
) -> None:
    write_video(tmp_path / "a.mp4", [square(6 + 24 * k, width=240) for k in range(8)], 10)
    means = {}
    for name, option in (("still", ()), ("way", ("--keep-path",))):
        out = tmp_path / name
        options = ("--model", video_model, "-o", out, *option, *SMALL)
        outcome = run("reconstruct", tmp_path / "a.mp4", *options)
        assert outcome.code == 0
        means[name] = read_sequence(out / "sequence.safetensors").gaussians.means
    motion = torch.tensor(json.loads((tmp_path / "way/report.json").read_text())["video"]["motion"])
    assert motion.shape == (8, 2)
    assert (motion[1:, 0] > motion[:-1, 0]).all()
    moved = (means["way"] - means["still"]).mean(1)
    torch.testing.assert_close(moved[:, :2], motion, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved[:, 2], torch.zeros(8), atol=1e-5, rtol=0)


def test_a_shot_of_several(run: Callable, tmp_path: Path, video_model: Path) -> None:
    green = torch.tensor([40, 200, 60]).byte()
    second = [torch.where(square(40 + k) == 255, green, square(40 + k)) for k in range(6)]
    write_video(tmp_path / "a.mp4", [*[square(20 + k) for k in range(4)], *second], 10)
    out = tmp_path / "out"
    outcome = run("reconstruct", tmp_path / "a.mp4", "-o", out, "--model", video_model, *SMALL)
    assert outcome.code == 0
    assert outcome.err.count("2 shots: the longest, number 2, is used") == 1
    assert json.loads((out / "report.json").read_text())["result"]["num_frames"] == 6
    options = ("--shot", "1", "--overwrite", "--model", video_model, *SMALL)
    assert run("reconstruct", tmp_path / "a.mp4", "-o", out, *options).code == 0
    assert json.loads((out / "report.json").read_text())["result"]["num_frames"] == 4
    options = ("--shot", "3", "--model", video_model, *SMALL)
    refused = run("reconstruct", tmp_path / "a.mp4", "-o", tmp_path / "b", *options)
    assert refused.code == 2
    assert "shot 3 of 2" in refused.err


def test_images_in_a_row_are_one_video(
    run: Callable, tmp_path: Path, video_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cat").mkdir()
    names = [f"cat/f_{index:02d}.png" for index in range(4)]
    for index, name in enumerate(names):
        Image.fromarray(np.asarray(square(20 + 3 * index))).save(name)
    assert run("reconstruct", *names, "--model", video_model, *SMALL).code == 0
    assert len(read_sequence("f_4d/sequence.safetensors")) == 4
    Image.fromarray(np.asarray(square(0))).save("dog.png")
    refused = run("reconstruct", "dog.png", *names, "--model", video_model, *SMALL)
    assert refused.code == 2
    assert "numbered frames of one folder" in refused.err
