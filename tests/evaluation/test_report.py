"""The report: one self-contained page and JSON that say the same."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from l4gm.cli.main import main
from l4gm.data.clip import ClipRequest
from l4gm.evaluation.findings import Curve, Findings, judge
from l4gm.evaluation.plots import line_plot, ticks
from l4gm.evaluation.report import Report, ShownPicture, page, pictures_of
from l4gm.evaluation.scores import ClipScore


def score(name: str, psnr: float, setting: str = "views given", **more) -> ClipScore:
    return ClipScore(
        name=name,
        setting=setting,
        psnr=psnr,
        psnr_white=12.0,
        psnr_nearest=15.0,
        flicker=0.001,
        psnr_on_axis=psnr + 1,
        ssim=0.8,
        alpha_iou=0.9,
        **more,
    )


CURVE = Curve("with <it>", "psnr", (0.0, 50.0, 100.0), ((10.0, 14.0, 16.0), (11.0, 14.5, 17.0)))
FINDINGS = Findings(
    suite="temporal",
    title="What does it bring?",
    setup="Small.",
    x_label="steps",
    repetitions="seeds",
    curves=(CURVE,),
    claims=(judge("it helps", "PSNR", [16.0, 17.0, 16.5], [15.0, 15.9, 15.6]),),
)


def report(**changes) -> Report:
    values = {
        "model": {"name": "mini", "recon.safetensors": "SHA-256 abc"},
        "protocol": "8 frames",
        "request": ClipRequest(num_frames=8),
        "renders": {"procedural": [score("a", 18.0), score("b", 14.0), score("c", 20.0)]},
        "findings": [FINDINGS],
        "missing": {"data": "l4gm evaluate ablation --suite data"},
        "benchmark": None,
        "preference": None,
        "skipped": {"lpips_vgg": "weights missing: vgg16"},
    }
    return Report(**{**values, **changes})


VOID = {"meta", "img", "br", "path", "polygon", "polyline", "circle"}


class Checker(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    text = page(report(), [ShownPicture("worst <one>", pixels)])
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "data:image/webp;base64," in text
    assert "worst &lt;one&gt;" in text
    assert "<it>" not in text


def test_the_contact_sheet_is_the_first_image() -> None:
    sheet = np.full((8, 48, 3), 200, np.uint8)
    text = page(report(), [ShownPicture("worst", np.zeros((8, 8, 3), np.uint8))], sheet)
    first = re.search(r"<img[^>]*>", text)[0]
    assert 'alt="contact sheet"' in first
    assert text.index(first) < text.index("<h2>")
    assert "contact sheet" not in page(report(), [])


def test_failures_missing_runs_and_skipped_metrics_are_shown() -> None:
    text = page(report(), [])
    assert "below one on 1 of 3 objects" in text  # b: 14 dB, below 15
    assert '<span class="agrees">agrees</span> it helps' in text
    assert "l4gm evaluate ablation --suite data" in text
    assert "weights missing: vgg16" in text
    assert "Not run" in text
    assert "re-run in a later paper" in text  # published rows with their protocol


def test_json_says_what_the_page_says() -> None:
    values = json.loads(json.dumps(report().to_dict()))
    (summary,) = values["renders"]["summaries"]["procedural"]
    assert summary["psnr"] == pytest.approx(52 / 3)
    assert f"{summary['psnr']:.2f}" in page(report(), [])
    table = values["renders"]["table"]
    assert [row["what"] for row in table] == ["3 clips", "nearest image", "all white"]
    assert [row["PSNR"] for row in table] == ["17.33", "15.00", "12.00"]
    assert Findings.from_dict(values["ablations"][0]) == FINDINGS


def test_best_middle_and_worst_are_shown() -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    rows = [
        (score(name, psnr), pixels) for name, psnr in zip("abcde", (5, 1, 4, 2, 3), strict=True)
    ]
    captions = [picture.caption for picture in pictures_of(rows, "set")]
    assert [re.search(r": (\w),", caption)[1] for caption in captions] == ["b", "e", "a"]
    assert len(pictures_of(rows[:1], "set")) == 1
    # What people see decides, where it is known.
    rows = [
        (score(n, 9.0, st_lpips=d), pixels) for n, d in zip("abc", (0.3, 0.1, 0.2), strict=True)
    ]
    captions = [picture.caption for picture in pictures_of(rows, "set")]
    assert [re.search(r": (\w),", caption)[1] for caption in captions] == ["a", "c", "b"]


def test_points_of_a_plot_lie_where_their_values_say() -> None:
    text = line_plot([CURVE], "steps", "PSNR")
    points = re.search(r'polyline points="([^"]+)"', text)[1].split()
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, point.split(","))) for point in points]
    assert x1 - x0 == pytest.approx(x2 - x1)
    # Means 10.5, 14.25, 16.5: up is less.
    assert (y0 - y1) / (y0 - y2) == pytest.approx((14.25 - 10.5) / (16.5 - 10.5), abs=0.01)
    assert "with &lt;it&gt;" in text


@pytest.mark.parametrize(("low", "high"), [(10, 17), (-0.003, 0.0005), (5, 5), (0, 1e6)])
def test_ticks_are_round_and_cover(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 8
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0])


def test_wrong_inputs_are_named(tmp_path, capsys) -> None:
    out = ["-o", str(tmp_path / "out")]
    (tmp_path / "temporal.json").write_text('{"suite": 1}')
    assert main(["evaluate", "report", "--ablation", str(tmp_path), *out]) == 2
    assert "temporal.json: not findings" in capsys.readouterr().err
    assert main(["evaluate", "report", "--ablation", str(tmp_path / "no"), *out]) == 2
    bench = ["--consistent4d", str(tmp_path / "temporal.json")]
    assert main(["evaluate", "report", *bench, *out]) == 2
    assert "not a result of l4gm evaluate" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
