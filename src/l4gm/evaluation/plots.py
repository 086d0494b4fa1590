"""Line plots as SVG text, for pages that need nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from l4gm.evaluation.findings import Curve

_WIDTH, _HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 42
# Okabe and Ito's colours, told apart by everybody.
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
_DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2", "10 4")


def line_plot(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Means over the repetitions, with bands from the least to the greatest of them.

    Args:
        curves: of one metric.
        x_label, y_label: of the axes.

    Returns:
        an `<svg>` and its legend, as HTML.
    """
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for row in curve.values for y in row]
    x_range, y_ticks = (min(xs), max(xs)), ticks(min(ys), max(ys))
    y_range = (min(*ys, y_ticks[0]), max(*ys, y_ticks[-1]))

    def place(x: float, y: float) -> str:
        across = (x - x_range[0]) / (x_range[1] - x_range[0] or 1)
        up = (y - y_range[0]) / (y_range[1] - y_range[0] or 1)
        column = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return f"{column:.1f},{_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM):.1f}"

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} over {escape(x_label)}">'
    ]
    for tick in y_ticks:
        _, row = place(x_range[0], tick).split(",")
        parts.append(f'<path class="grid" d="M{_LEFT},{row}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{row}" class="y">{tick:g}</text>')
    for tick in sorted(set(xs)) if len(set(xs)) <= 10 else ticks(*x_range):
        if x_range[0] <= tick <= x_range[1]:
            column, _ = place(tick, y_range[0]).split(",")
            parts.append(f'<text x="{column}" y="{_HEIGHT - _BOTTOM + 16}">{tick:g}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 6}">{escape(x_label)}</text>')
    for index, curve in enumerate(curves):
        color, dash = _COLORS[index % len(_COLORS)], _DASHES[index % len(_DASHES)]
        columns = list(zip(*curve.values, strict=True))
        low = [place(x, min(column)) for x, column in zip(curve.x, columns, strict=True)]
        high = [place(x, max(column)) for x, column in zip(curve.x, columns, strict=True)]
        means = [place(x, curve.point(i).value) for i, x in enumerate(curve.x)]
        band = " ".join([*low, *reversed(high)])
        parts.append(f'<polygon points="{band}" fill="{color}" opacity="0.13"/>')
        parts.append(
            f'<polyline points="{" ".join(means)}" fill="none" stroke="{color}" '
            f'stroke-width="2" stroke-dasharray="{dash}"/>'
        )
        for point in means:
            column, row = point.split(",")
            parts.append(f'<circle cx="{column}" cy="{row}" r="2.5" fill="{color}"/>')
    parts.append("</svg>")
    keys = "".join(
        f'<li><svg viewBox="0 0 30 8" class="key"><path d="M0,4H30" stroke-width="3" '
        f'stroke="{_COLORS[i % len(_COLORS)]}" stroke-dasharray="{_DASHES[i % len(_DASHES)]}"/>'
        f"</svg>{escape(curve.label)}</li>"
        for i, curve in enumerate(curves)
    )
    return (
        f'<figure class="plot"><figcaption>{escape(y_label)}</figcaption>{"".join(parts)}'
        f"<ul>{keys}</ul></figure>"
    )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover a range, about so many: steps of 1, 2 or 5 times a power of ten."""
    span = high - low or abs(high) or 1.0
    power = 10 ** math.floor(math.log10(span / about))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= about)
    first = math.floor(low / step)
    last = max(math.ceil(high / step), first + 1)
    return [round(step * index, 10) for index in range(first, last + 1)]
