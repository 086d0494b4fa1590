"""Ablations of use, with a stand-in pipeline whose results are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from l4gm.ablation import use
from l4gm.data.clip import Clip
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.renders import clip_images
from l4gm.pipeline.video_to_4d import VideoTo4D


@pytest.fixture(scope="module")
def tried(video_model: Path) -> use.UseTest:
    pipeline = VideoTo4D.from_pretrained(
        video_model, device="cpu", chunk_frames=4, render_size=32, stage_size=32
    )
    pipeline.interpolation = pipeline.reconstruction
    return use.UseTest(
        pipeline=pipeline,
        sources={"procedural": ProceduralClips(0, "heldout")},
        clips=2,
        size_px=32,
        frames_in_use=(1, 3),
        rolls=3,
        frames_per_roll=3,
    )


def test_frames_in_use(tried: use.UseTest) -> None:
    findings = use.frames(tried)
    assert [curve.metric for curve in findings.curves] == ["psnr", "flicker"]
    assert findings.curves[0].x == (1.0, 3.0)
    assert len(findings.curves[0].values) == 2


def test_rolls_and_interpolation(tried: use.UseTest) -> None:
    findings = use.autoregressive(tried)
    handed_on, fresh = findings.curves[:2]
    assert handed_on.x == (1.0, 2.0, 3.0)
    for one, other in zip(handed_on.values, fresh.values, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-4)  # the first roll is the same
        assert one[1:] != pytest.approx(other[1:], abs=1e-6)
    assert {curve.metric for curve in findings.curves[2:]} == {"psnr of frames between"}
    assert findings.claims[1].difference.value == pytest.approx(
        sum(
            sum(a) / 2 - sum(b) / 2
            for a, b in zip(findings.curves[2].values, findings.curves[3].values, strict=True)
        )
        / 2
    )


def test_views_given(tried: use.UseTest) -> None:
    (curve,) = use.views(tried).curves
    assert curve.x == (1.0, 2.0, 3.0, 4.0)
    assert len(set(curve.values[0])) == 4


def test_frames_belong_to_the_roll_that_adds_them(tried: use.UseTest, monkeypatch) -> None:
    """7 frames in rolls of 4 that share one: the first frame is nobody's, then three each."""
    clip: Clip = tried.objects("x", 7)[0]
    images = clip_images(clip)
    truth = images[:, 4:]
    wrong = truth + torch.tensor([0.5, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])[:, None, None, None, None]
    monkeypatch.setattr(use, "_drawn", lambda gaussians, clip: wrong)
    values = use._per_roll(None, clip, images, step=3)  # type: ignore[arg-type]
    assert values == pytest.approx((20.0, 40.0), abs=1e-3)
