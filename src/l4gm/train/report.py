"""The report of a finished run: one HTML page without scripts or links, to be sent around."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from l4gm.gaussians.atomic import atomic_file
from l4gm.train.config import TrainConfig
from l4gm.train.records import read_log
from l4gm.train.tasks import HeldOut

REPORT_NAME = "report.html"
TERMS = ("loss", "rgb", "alpha", "lpips", "structure")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _MARGIN = 640, 220, 56, 28, 8
_COLORS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#4b5563")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1f2937}svg{max-width:100%;height:auto}table{border-collapse:collapse}td,th{padding:"
    ".2rem .8rem .2rem 0;text-align:left;vertical-align:top}figure{margin:1rem 0}img{width:100%;"
    "max-width:48rem;image-rendering:pixelated;border:1px solid #e5e7eb}figcaption{color:#4b5563}"
    ".key{display:inline-block;width:.8em;height:.8em;margin:0 .3em 0 1em}"
)

Points = Sequence[tuple[float, float]]


def write_report(folder: Path, config: TrainConfig, pictures: Iterable[HeldOut]) -> Path:
    """Write `report.html`: curves from the log, validation over time, held-out clips.

    Args:
        folder: of the run, with its log.
        config: of the run.
        pictures: from the last validation.
    """
    entries = read_log(folder)
    training = [entry for entry in entries if "loss" in entry]
    scores = [entry for entry in entries if "loss" not in entry]
    parts = [
        f"<h1>Training of the {config.network} network</h1>",
        _facts(config, entries),
        "<h2>Loss</h2>",
        line_chart(_curves(training, TERMS), True),
        "<h2>Learning rate and gradient norm</h2>",
        line_chart(_curves(training, ("learning_rate",)), False),
        line_chart(_curves(training, ("gradient_norm",)), True),
        "<h2>Validation, dB on objects never trained on</h2>",
        *_validation(scores),
        "<h2>Held-out clips</h2>",
        "<p>Free views of one frame: the truth above, the network below.</p>",
        *(_figure(picture) for picture in pictures),
    ]
    path = folder / REPORT_NAME
    with atomic_file(path) as partial:
        partial.write_text(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
            f'content="width=device-width"><title>{config.network}</title><style>{_STYLE}</style>'
            + "\n".join(parts)
            + "</html>\n",
            encoding="utf-8",
        )
    return path


def _facts(config: TrainConfig, entries: list[dict[str, Any]]) -> str:
    last: dict[str, Any] = entries[-1] if entries else {"step": 0, "minutes": 0.0}
    skipped = sum(entry.get("skipped", 0) for entry in entries)
    rows = {
        "steps": f"{last['step']} of {config.total_steps}, {skipped:.0f} skipped",
        "time": f"{last['minutes']:.1f} minutes",
        "stages": "<br>".join(
            f"{s.steps} steps at {s.size_px} px, T = {s.num_frames}, {s.batch_size} clips a step, "
            f"learning rate {s.learning_rate:g} ({s.schedule})"
            for s in config.stages
        ),
        "precision": config.precision,
        "seed": str(config.seed),
    }
    cells = (f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def _curves(entries: list[dict[str, Any]], names: Iterable[str]) -> dict[str, Points]:
    curves = {name: [(e["step"], e[name]) for e in entries if name in e] for name in names}
    return {name: points for name, points in curves.items() if points}


def _validation(scores: list[dict[str, Any]]) -> list[str]:
    if not scores:
        return ["<p>No clips were held out.</p>"]
    names = [name for name in scores[-1] if name not in ("step", "minutes")]
    last = "".join(f"<tr><th>{n}</th><td>{scores[-1][n]:.2f}</td></tr>" for n in names)
    groups = dict.fromkeys(name.split("_")[0] for name in names)
    charts = [
        line_chart(_curves(scores, [n for n in names if n.split("_")[0] == group]), False)
        for group in groups
    ]
    return [*charts, f"<table>{last}</table>"]


@dataclass(frozen=True)
class _Axes:
    """Where a chart's values lie on the page.

    Args:
        x, y: least and greatest step and value; logarithms of the values on a logarithmic axis.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a step and a value."""
        height = math.log10(y) if self.logarithmic else y
        across = (x - self.x[0]) / max(self.x[1] - self.x[0], 1)
        up = (height - self.y[0]) / (self.y[1] - self.y[0])
        return (
            _LEFT + across * (_WIDTH - _LEFT - _MARGIN),
            _MARGIN + (1 - up) * (_HEIGHT - _BOTTOM - _MARGIN),
        )

    def marks(self) -> str:
        """Three lines across with their values, and the first and last step."""
        marks = []
        for share in (0.0, 0.5, 1.0):
            height = self.y[0] + share * (self.y[1] - self.y[0])
            value = 10**height if self.logarithmic else height
            x, y = self.place(self.x[0], value)
            marks.append(
                f'<line x1="{x:.1f}" x2="{_WIDTH - _MARGIN}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="#e5e7eb"/><text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end" '
                f'font-size="11">{value:.3g}</text>'
            )
        for step, anchor in zip(self.x, ("start", "end"), strict=True):
            left = _LEFT if anchor == "start" else _WIDTH - _MARGIN
            marks.append(
                f'<text x="{left}" y="{_HEIGHT - 8}" text-anchor="{anchor}" font-size="11">'
                f"{step:.0f} steps</text>"
            )
        return "".join(marks)


def line_chart(curves: dict[str, Points], logarithmic: bool) -> str:
    """An SVG of some curves over steps, with its key; values that cannot be shown are left out."""
    shown = {
        name: [(x, y) for x, y in curve if math.isfinite(y) and (y > 0 or not logarithmic)]
        for name, curve in curves.items()
    }
    shown = {name: curve for name, curve in shown.items() if curve}
    if not shown:
        return "<p>Nothing was logged.</p>"
    steps = [x for curve in shown.values() for x, _ in curve]
    values = [y for curve in shown.values() for _, y in curve]
    heights = [math.log10(y) if logarithmic else y for y in values]
    low, high = min(heights), max(heights)
    if high == low:
        low, high = low - 0.5, high + 0.5
    axes = _Axes((min(steps), max(steps)), (low, high), logarithmic)
    lines, key = [axes.marks()], []
    for color, (name, curve) in zip(_COLORS, shown.items(), strict=False):
        path = " ".join("{:.1f},{:.1f}".format(*axes.place(x, y)) for x, y in curve)
        # A curve of one point would be invisible as a line.
        ends = "round" if len(curve) == 1 else "butt"
        path = f"{path} {path}" if len(curve) == 1 else path
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" '
            f'stroke-width="{6 if len(curve) == 1 else 1.5}" stroke-linecap="{ends}"/>'
        )
        key.append(f'<span class=key style="background:{color}"></span>{html.escape(name)}')
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    return (
        f"<figure><svg {size}>{''.join(lines)}</svg>"
        f"<figcaption>{''.join(key)}</figcaption></figure>"
    )


def _figure(picture: HeldOut) -> str:
    rows = [torch.cat(list(views), -1) for views in (picture.truth, picture.predicted)]
    sheet = torch.cat(rows, -2).clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(sheet.contiguous().numpy()).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = html.escape(f"{picture.name}, {picture.setting}")
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
