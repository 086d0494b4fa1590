"""The log, TensorBoard's files, and the page at the end."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from l4gm.train.presets import debug_preset
from l4gm.train.records import Records, read_log
from l4gm.train.report import line_chart, write_report
from l4gm.train.tasks import HeldOut


def test_the_log_keeps_means_and_the_later_of_repeated_steps(tmp_path):
    records = Records(tmp_path)
    for step, loss in enumerate([1.0, 3.0, 5.0, 7.0], 1):
        records.add(step, 60.0 * step, {"loss": loss, "skipped": float(step == 3)}, 2)
    records.log(4, 240.0, {"psnr_video_only": 20.0})
    again = Records(tmp_path)  # killed after step 4, resumed at step 2
    again.add(3, 180.0, {"loss": 5.0, "skipped": 0.0}, 2)
    again.add(4, 240.0, {"loss": 9.0, "skipped": 0.0}, 2)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # cut off
    entries = read_log(tmp_path)
    assert [(e["step"], e["loss"]) for e in entries if "loss" in e] == [(2, 2.0), (4, 7.0)]
    assert [e["psnr_video_only"] for e in entries if "psnr_video_only" in e] == [20.0]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()[:-1]]
    assert [line.get("skipped") for line in lines] == [None, 1.0, None, None]


def test_other_processes_write_nothing(tmp_path):
    Records(tmp_path, writes=False, tensorboard=True).log(1, 1.0, {"loss": 1.0})
    assert not list(tmp_path.iterdir())


def test_tensorboard_gets_the_same_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    Records(tmp_path, tensorboard=True).log(7, 60.0, {"loss": 0.25})
    found = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    event = found.Scalars("loss")[0]
    assert (event.step, event.value) == (7, 0.25)


def test_the_report_stands_alone_and_shows_everything(tmp_path):
    records = Records(tmp_path)
    for step in range(1, 5):
        records.add(step, step * 30.0, {"loss": 1 / step, "rgb": 0.1, "learning_rate": 1e-3}, 1)
        records.log(step, step * 30.0, {"psnr_video_only": 10.0 + step})
    pictures = [HeldOut("<cat>", "video only", torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))]
    page = write_report(tmp_path, debug_preset(), pictures).read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "&lt;cat&gt;, video only" in page
    assert "data:image/png;base64," in page
    assert "<td>14.00</td>" in page
    assert page.count("<svg") == 3  # loss, rate, PSNR;
    assert page.count("Nothing was logged.") == 1  # of gradient norms


@pytest.mark.parametrize("logarithmic", [False, True])
def test_curves_stay_inside_their_chart(logarithmic):
    curves = {"a": [(0, 1e-3), (10, 5.0)], "b": [(5, 1.0)], "c": [(3, float("nan")), (4, 2.0)]}
    figure = line_chart(curves, logarithmic)
    svg = ElementTree.fromstring(figure[figure.index("<svg") : figure.index("</svg>") + 6])
    lines = [line.get("points") for line in svg.iter("polyline")]
    assert len(lines) == 3
    places = [tuple(map(float, p.split(","))) for line in lines for p in line.split()]
    assert all(0 <= x <= 640 and 0 <= y <= 220 for x, y in places)
    first = [tuple(map(float, p.split(","))) for p in lines[0].split()]
    assert first[0][0] < first[1][0]
    assert first[0][1] > first[1][1]  # larger values are higher up


def test_values_that_cannot_be_shown_leave_no_chart():
    assert line_chart({"a": [(0, -1.0)]}, True) == "<p>Nothing was logged.</p>"
