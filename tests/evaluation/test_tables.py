"""The table of scores, and the previous bundled model in it."""

from __future__ import annotations

import math

import pytest

from l4gm.data.clip import ClipRequest
from l4gm.evaluation import previous
from l4gm.evaluation.scores import MEASURES, ClipScore
from l4gm.evaluation.tables import CLIP_HEAD, HEAD, clip_rows, markdown_table, score_rows

REQUEST = ClipRequest(size_px=64, num_frames=4)
FIELDS = ["name", "setting", *MEASURES]


def score(name: str, value: float, setting: str = "views given") -> ClipScore:
    return ClipScore(name=name, setting=setting, **dict.fromkeys(MEASURES, value))


def row(name: str, value: float, setting: str = "views given") -> list:
    return [name, setting, *[value] * len(MEASURES)]


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A previous model with two clips of each setting."""
    rows = [row(name, 0.5, s) for name in "ab" for s in ("views given", "video only")]
    run = {"size_px": 64, "frames": 4, "fps": 8.0, "fields": FIELDS, "sets": {"theirs": rows}}
    monkeypatch.setattr(previous, "record", lambda: {"runs": [run]})


def test_the_previous_model_is_shown_on_the_clips_that_it_was_measured_on() -> None:
    scores = {"set": [score("a", 0.1), score("b", 0.3), score("c", 9.0)]}
    rows = {cells[2]: dict(zip(HEAD, cells, strict=True)) for cells in score_rows(scores, REQUEST)}
    assert list(rows) == [
        "3 clips",
        "previous mini, 2 clips",
        "against it",
        "nearest image",
        "all white",
    ]
    assert rows["3 clips"]["PSNR"] == "3.13"
    assert rows["previous mini, 2 clips"]["PSNR"] == "0.50"
    # On the same two clips: a mean of 0.2 against 0.5.
    assert rows["against it"]["ST-LPIPS"] == "x 0.40"
    assert rows["against it"]["PSNR"] == "-0.30"
    assert rows["nearest image"]["alpha IoU"] == "3.133"
    assert rows["all white"]["alpha IoU"] == "-"


@pytest.mark.parametrize(
    ("names", "request_"),
    [("ba", REQUEST), ("x", REQUEST), ("a", ClipRequest(size_px=64, num_frames=5)), ("", REQUEST)],
)
def test_other_clips_are_not_compared(names: str, request_: ClipRequest) -> None:
    scores = {"set": [score(name, 0.1) for name in names]}
    assert not any("previous" in cells[2] for cells in score_rows(scores, request_))


def test_settings_are_compared_apart() -> None:
    scores = [score("a", 0.1, setting) for setting in ("video only", "views given")]
    text = markdown_table({"set": scores}, REQUEST)
    assert "| set | views given | 1 clip | 0.100 |" in text
    assert text.count("previous mini, 1 clip ") == 2
    assert text.splitlines()[0].startswith("| set | setting | what | ST-LPIPS | alpha IoU | PSNR |")


def test_what_is_not_measured_is_shown_as_such() -> None:
    least = {"psnr": 20.0, "psnr_nearest": 15.0, "psnr_white": 10.0, "alpha_iou": 1.0}
    bare = ClipScore(name="a", setting="views given", flicker=0.0, psnr_on_axis=0.0, **least)
    (cells,) = clip_rows({"set": [bare]})
    found = dict(zip(CLIP_HEAD, cells, strict=True))
    assert found["ST-LPIPS"] == found["F-score"] == "-"
    assert found["PSNR"] == "20.00"
    # Against a model that has no such number there is no change to tell.
    rows = score_rows({"set": [bare]}, REQUEST)
    assert rows[2][2:4] == ("against it", "-")


def test_the_frozen_file_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = previous.record()
    assert len(found["commit"]) == 40
    assert found["command"].startswith("l4gm evaluate renders")
    assert all(len(value) == 64 for value in found["sha256"].values())
    assert {run["size_px"] for run in found["runs"]} == {128, 256}
    for run in found["runs"]:
        for rows in run["sets"].values():
            scores = [ClipScore(**dict(zip(run["fields"], r, strict=True))) for r in rows]
            assert {score.setting for score in scores} == {"views given", "video only"}
            assert len({(score.name, score.setting) for score in scores}) == len(scores) >= 8
            for score in scores:
                assert score.st_lpips is not None
                assert all(
                    value is None or math.isfinite(value)
                    for name, value in vars(score).items()
                    if name in MEASURES
                )
