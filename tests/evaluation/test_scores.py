"""Means over clips."""

from __future__ import annotations

import math

import pytest

from l4gm.evaluation.scores import MEASURES, ClipScore, ratio, summarize


def score(name: str = "a", setting: str = "views given", **measures) -> ClipScore:
    least = {"psnr": 20.0, "psnr_nearest": 15.0, "psnr_white": 10.0, "alpha_iou": 1.0}
    values = least | {"flicker": 0.0, "psnr_on_axis": 21.0} | measures
    return ClipScore(name=name, setting=setting, **values)


def test_the_better_mean_baseline_counts_and_the_worst_clip_is_named() -> None:
    scores = [
        score("a", psnr=20.0, psnr_white=10.0, psnr_nearest=15.0, ssim=0.5),
        score("b", psnr=16.0, psnr_white=14.0, psnr_nearest=11.0, ssim=0.7),
    ]
    (summary,) = summarize(scores)
    assert summary.psnr == 18
    assert summary.gain == 5  # against the nearest image's mean, 13
    assert (summary.worst_name, summary.worst_psnr, summary.clips) == ("b", 16.0, 2)
    assert math.isclose(scores[1].gain, 2.0)
    assert summary.ssim == pytest.approx(0.6)


def test_every_measure_is_averaged() -> None:
    scores = [score(**dict.fromkeys(MEASURES, value)) for value in (2.0, 8.0)]
    (summary,) = summarize(scores)
    ratios = {"sharpness", "front_sharpness", "motion_ratio"}
    for name in MEASURES:
        assert getattr(summary, name) == pytest.approx(4 if name in ratios else 5), name


def test_a_measure_that_a_clip_lacks_is_not_averaged_over_the_others() -> None:
    scores = [score(ssim=0.9, motion_ratio=0.5), score(ssim=None, motion_ratio=None)]
    (summary,) = summarize(scores)
    assert summary.ssim is None
    assert summary.motion_ratio == pytest.approx(0.5)  # the other clip does not move
    assert summary.sharpness is None


def test_settings_come_apart_and_in_order() -> None:
    scores = [score(setting="video only", psnr=1.0), score(psnr=2.0)]
    assert [(s.setting, s.psnr) for s in summarize(scores)] == [
        ("views given", 2.0),
        ("video only", 1.0),
    ]


def test_a_ratio_to_nothing_is_none() -> None:
    assert ratio(0.5, 0.25) == 2
    assert ratio(0.5, 0.0) is None
