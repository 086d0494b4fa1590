"""`l4gm inspect --html`: an asset as pictures and charts, on one page that fetches nothing."""

from __future__ import annotations

import base64
import html
import io
import string
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image

from l4gm import __version__
from l4gm.cli.turntable import Shot, shot_cameras
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.visible import visible
from l4gm.splat.render import render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from l4gm.cli.assets import Asset

VIEWS = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}  # azimuths in degrees
SHEET_FRAMES = 8  # columns of the sheet at most
SOLID_OPACITY = 0.5

_PICTURE_PX = 176
_BINS = 40
_SCALE_LOGS = (-4.0, 0.0)  # decades of world units that the scales' histogram spans

_TEMPLATE = Path(__file__).with_name("inspect_page.html")


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What the charts show.

    Args:
        drawn, solid: of each frame, how many Gaussians have an opacity of at least 1/255, 0.5.
        opacities: [40] counts over all frames, opacity 0 to 1.
        scales: [40] counts over the drawn Gaussians of all frames, three axes each, by their
            decimal logarithm from -4 to 0; what lies beyond counts at the ends.
    """

    drawn: list[int]
    solid: list[int]
    opacities: Tensor
    scales: Tensor


def gather(asset: Asset) -> Statistics:
    """Go once through all frames."""
    drawn: list[int] = []
    solid: list[int] = []
    opacities, scales = torch.zeros(_BINS), torch.zeros(_BINS)
    for _, piece in asset.pieces():
        shown = visible(piece)
        drawn += shown.sum(-1).tolist()
        solid += (piece.opacities >= SOLID_OPACITY).sum(-1).tolist()
        opacities += piece.opacities.float().histc(_BINS, 0.0, 1.0)
        logs = piece.scales[shown].float().clamp(min=1e-12).log10().clamp(*_SCALE_LOGS)
        scales += logs.histc(_BINS, *_SCALE_LOGS)
    return Statistics(drawn=drawn, solid=solid, opacities=opacities, scales=scales)


def write_inspection(
    path: Path,
    asset: Asset,
    rows: Sequence[tuple[str, str]],
    *,
    on_picture: Callable[[int, int], None] | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: replaced if it exists.
        asset: what to show.
        rows: figures in words, for the table at the top; any text.
        on_picture: called with (pictures done, pictures in all).
    """
    title = html.escape(asset.path.resolve().name or str(asset.path))
    table = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    page = string.Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        version=__version__,
        title=title,
        table=table,
        sheet=_sheet(asset, on_picture),
        charts=_charts(gather(asset)),
    )
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")


def _sheet(asset: Asset, on_picture: Callable[[int, int], None] | None) -> str:
    """A table of pictures: a column for each of some frames, a row for each view."""
    count = min(SHEET_FRAMES, asset.num_frames)
    indices = torch.linspace(0, asset.num_frames - 1, count).round().int().tolist()
    cells: dict[str, list[str]] = {view: [] for view in VIEWS}
    for done, index in enumerate(indices, 1):
        gaussians = asset.frames(index, index + 1).to(torch.float32)
        for view, azimuth in VIEWS.items():
            shot = Shot(path="fixed", azimuth=azimuth, size=_PICTURE_PX)
            with torch.inference_mode():
                image = render(gaussians, shot_cameras(asset, shot, 0, 1, 1)).image[0, 0]
            cells[view].append(_picture(image, f"frame {index} from the {view}"))
        if on_picture is not None:
            on_picture(done, count)
    head = "".join(f"<th>{index}</th>" for index in indices)
    body = "".join(f"<tr><th>{view}</th>{''.join(row)}</tr>" for view, row in cells.items())
    return f'<table class="sheet"><tr><th>frame</th>{head}</tr>{body}</table>'


def _picture(image: Tensor, label: str) -> str:
    levels = image.clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    stream = io.BytesIO()
    Image.fromarray(levels).save(stream, "WEBP", quality=88)
    data = base64.b64encode(stream.getvalue()).decode()
    return f'<td><img alt="{label}" src="data:image/webp;base64,{data}"></td>'


def _charts(statistics: Statistics) -> str:
    last = len(statistics.drawn) - 1
    charts = [
        _bars("Opacity", statistics.opacities.tolist(), ("0", "0.5", "1"), "of all Gaussians"),
        _bars(
            "Scale",
            statistics.scales.tolist(),
            ("0.0001", "0.01", "1"),
            "standard deviations in world units, of the Gaussians that are drawn",
        ),
        _lines(
            "Gaussians in each frame",
            {"opacity ≥ 1/255, drawn": statistics.drawn, "opacity ≥ 0.5": statistics.solid},
            ("0", str(last)),
        ),
    ]
    return "".join(charts)


_WIDTH, _HEIGHT, _LEFT, _BELOW = 400, 190, 46, 20  # of a chart, its margins
_COLORS = ("#2f6fde", "#e0803a")


def _bars(title: str, values: list[float], marks: Sequence[str], caption: str) -> str:
    """A histogram; `marks` are written evenly below it."""
    top, total = max(*values, 1.0), max(sum(values), 1.0)
    width = (_WIDTH - _LEFT) / len(values)
    bars = []
    for index, value in enumerate(values):
        height = (_HEIGHT - _BELOW - 12) * value / top
        bars.append(
            f'<rect x="{_LEFT + index * width:.2f}" y="{_HEIGHT - _BELOW - height:.2f}" '
            f'width="{width - 1:.2f}" height="{height:.2f}" fill="{_COLORS[0]}"/>'
        )
    return _chart(title, "".join(bars), marks, f"{100 * top / total:.1f} %", caption)


def _lines(title: str, series: dict[str, list[int]], marks: Sequence[str]) -> str:
    """Lines of numbers by frame, from 0 up."""
    top = max(1, *(value for values in series.values() for value in values))
    drawing = []
    for values, color in zip(series.values(), _COLORS, strict=True):
        across = (_WIDTH - _LEFT) / max(1, len(values) - 1)
        points = [
            (_LEFT + index * across, _HEIGHT - _BELOW - (_HEIGHT - _BELOW - 12) * value / top)
            for index, value in enumerate(values)
        ]
        if len(points) == 1:  # a still object: a level line
            points.append((_WIDTH, points[0][1]))
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        drawing.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    legend = ", ".join(
        f'<b style="color: {color}">{name}</b>' for name, color in zip(series, _COLORS, strict=True)
    )
    return _chart(title, "".join(drawing), marks, f"{top:,}", legend)


def _chart(title: str, drawing: str, marks: Sequence[str], top: str, caption: str) -> str:
    """A drawing between axes; all texts are our own, and HTML."""
    base = _HEIGHT - _BELOW
    anchors = ["start", *["middle"] * (len(marks) - 2), "end"]
    across = (_WIDTH - _LEFT) / max(1, len(marks) - 1)
    labels = "".join(
        f'<text x="{_LEFT + index * across:.1f}" y="{_HEIGHT - 5}" '
        f'text-anchor="{anchor}">{mark}</text>'
        for index, (mark, anchor) in enumerate(zip(marks, anchors, strict=True))
    )
    return f"""<figure><h2>{title}</h2>
<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">
<path d="M{_LEFT} 8V{base}H{_WIDTH}" fill="none" stroke="#c9ced6"/>
<text x="{_LEFT - 5}" y="16" text-anchor="end">{top}</text>
<text x="{_LEFT - 5}" y="{base}" text-anchor="end">0</text>
{drawing}{labels}</svg>
<figcaption>{caption}</figcaption></figure>"""
