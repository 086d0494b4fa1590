"""Tables of scores on rendered clips: what people look at first, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from l4gm.evaluation.previous import PREVIOUS_MODEL
from l4gm.evaluation.scores import Summary

HEAD = (
    "set",
    "setting",
    "what",
    "ST-LPIPS",
    "alpha IoU",
    "PSNR",
    "SSIM",
    "sharpness",
    "F-score",
    "front PSNR",
    "front sharpness",
    "motion",
    "opaque",
)
LEGEND = (
    "ST-LPIPS: 0 is best. Sharpness, motion: of the truth's detail and motion; 1 is right. "
    "F-score: surface within 0.02. Front: the video's own view rendered again. Opaque: splats with "
    "opacity above 0.5."
)
MISSING = "-"


def score_rows(
    summaries: Mapping[str, Sequence[Summary]], previous: Mapping[str, Sequence[Summary]]
) -> list[list[str]]:
    """Cells under `HEAD`: for each set and setting the model, what it has over the previous
    bundled one, that one, and the baselines.

    Args:
        summaries: by set.
        previous: of the previous bundled model on the same clips, where known.
    """
    rows = []
    for name, group in summaries.items():
        old = {summary.setting: summary for summary in previous.get(name, ())}
        for summary in group:
            lines = [(f"{summary.clips} clips", _cells(summary))]
            if summary.setting in old:
                before = old[summary.setting]
                lines.append((PREVIOUS_MODEL, _cells(before)))
                lines.append(("against it", _changes(summary, before)))
            lines.append(("nearest image", _baseline(summary, "nearest")))
            lines.append(("all white", _baseline(summary, "white")))
            rows += [[name, summary.setting, what, *cells] for what, cells in lines]
    return rows


def markdown_table(
    summaries: Mapping[str, Sequence[Summary]],
    previous: Mapping[str, Sequence[Summary]] | None = None,
) -> str:
    """`score_rows` as Markdown, with what its columns mean."""
    lines = [HEAD, ["---"] * len(HEAD), *score_rows(summaries, previous or {})]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{LEGEND}"


def number(value: float | None, digits: int = 3) -> str:
    """A measure for a table."""
    return MISSING if value is None else f"{value:.{digits}f}"


def _cells(summary: Summary) -> list[str]:
    return [
        number(summary.st_lpips),
        number(summary.alpha_iou),
        number(summary.psnr, 2),
        number(summary.ssim),
        number(summary.sharpness, 2),
        number(summary.f_score),
        number(summary.front_psnr, 2),
        number(summary.front_sharpness, 2),
        number(summary.motion_ratio, 2),
        number(summary.opaque_share, 2),
    ]


def _baseline(summary: Summary, which: str) -> list[str]:
    """A baseline has no splats, and its detail is that of another view."""
    found = [
        (getattr(summary, f"{name}_{which}", None), digits)
        for name, digits in (("st_lpips", 3), ("alpha_iou", 3), ("psnr", 2), ("ssim", 3))
    ]
    cells = [number(value, digits) for value, digits in found]
    return cells + [MISSING] * (len(HEAD) - 3 - len(cells))


def _changes(now: Summary, before: Summary) -> list[str]:
    """Distances as a factor, the others as differences."""

    def factor(name: str) -> str:
        new, old = getattr(now, name), getattr(before, name)
        return MISSING if new is None or not old else f"x {new / old:.2f}"

    def difference(name: str, digits: int) -> str:
        new, old = getattr(now, name), getattr(before, name)
        return MISSING if new is None or old is None else f"{new - old:+.{digits}f}"

    columns: list[tuple[str, Callable[[str], str]]] = [
        ("st_lpips", factor),
        ("alpha_iou", lambda name: difference(name, 3)),
        ("psnr", lambda name: difference(name, 2)),
        ("ssim", lambda name: difference(name, 3)),
        ("sharpness", lambda name: difference(name, 2)),
        ("f_score", lambda name: difference(name, 3)),
        ("front_psnr", lambda name: difference(name, 2)),
        ("front_sharpness", lambda name: difference(name, 2)),
        ("motion_ratio", lambda name: difference(name, 2)),
        ("opaque_share", lambda name: difference(name, 2)),
    ]
    return [change(name) for name, change in columns]
