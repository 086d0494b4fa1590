"""Ablation runs: what is varied and nothing else, kept on disk, equal budgets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l4gm.ablation import suites
from l4gm.ablation.training import Budget, Laboratory, image_variant, video_variants
from l4gm.cli.main import main
from l4gm.evaluation.findings import Findings
from l4gm.model.weights import load_model

BUDGET = Budget(
    image_steps=2,
    image_batch=1,
    video_steps=3,
    video_frames=2,
    num_clips=2,
    judged_clips=1,
    points=1,
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    return Laboratory(tmp_path_factory.mktemp("runs"), BUDGET)


def weights(lab: Laboratory, name: str) -> dict[str, torch.Tensor]:
    variant = video_variants(BUDGET, "procedural")[name]
    lab.run(variant, 0)
    return load_model(lab.weights(variant, 0)).state_dict()


def test_variants_have_seen_equally_many_steps(lab: Laboratory) -> None:
    for variant in video_variants(BUDGET, "procedural").values():
        curve = lab.run(variant, 0)
        assert curve.steps[-1] == 5
        assert len(curve.values["procedural"]["psnr"]) == len(curve.steps)


def test_frozen_trains_the_temporal_layers_alone(lab: Laboratory) -> None:
    image = image_variant("procedural", BUDGET.image_steps)
    lab.run(image, 0)
    start = load_model(lab.weights(image, 0)).state_dict()
    frozen, free = weights(lab, "frozen"), weights(lab, "pretrained")
    assert not any(".t_attns." in name for name in start)
    for name, value in start.items():
        torch.testing.assert_close(frozen[name], value, rtol=1e-6, atol=1e-6)
    assert any((free[name] != value).any() for name, value in start.items())
    added = {name for name in frozen if ".t_attns." in name}
    assert added == set(frozen) - set(start)
    assert any(frozen[name].abs().sum() > 0 for name in added if name.endswith("proj.weight"))


def test_without_temporal_attention_there_is_none(lab: Laboratory) -> None:
    assert not any(".t_attns." in name for name in weights(lab, "no temporal attention"))


def test_runs_are_kept_and_seeds_differ(lab: Laboratory) -> None:
    variant = image_variant("procedural", BUDGET.image_steps)
    first = lab.run(variant, 0)
    trained: list[tuple[str, int]] = []
    again = Laboratory(lab.folder, BUDGET, on_run=lambda v, s: trained.append((v.name, s)))
    assert again.run(variant, 0) == first
    assert trained == []
    assert again.run(variant, 1) != first
    assert trained == [("image-procedural", 1)]


def test_suites_make_findings_that_survive_json(lab: Laboratory) -> None:
    for suite in (suites.temporal, suites.pretraining, suites.data):
        findings = suite(lab, [0])
        assert Findings.from_dict(json.loads(json.dumps(findings.to_dict()))) == findings
        for curve in findings.curves:
            assert len(curve.values) == 1
            assert len(curve.values[0]) == len(curve.x)
        # One seed proves nothing.
        assert all(claim.verdict == "undecided" for claim in findings.claims)
    labels = [curve.label for curve in suites.temporal(lab, [0]).curves]
    assert labels == ["with temporal attention", "without"] * 2


def test_command_line_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path)]
    assert main(["evaluate", "ablation", "--suite", "data", *out]) == 2
    assert "give --models DIR" in capsys.readouterr().err
    assert main(["evaluate", "ablation", "--suite", "temporal", "--seeds", "0", *out]) == 2
    assert main(["evaluate", "ablation", "--suite", "colour", *out]) == 2
