"""Tables of scores on rendered clips: what people look at first, beside what costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from l4gm.data.clip import ClipRequest
from l4gm.evaluation.previous import PREVIOUS_MODEL, previous_scores
from l4gm.evaluation.scores import SETTINGS, ClipScore, Measures, Summary, summarize

# Heading, measure, digits, and whether the change against another model is a factor.
_COLUMNS = (
    ("ST-LPIPS", "st_lpips", 3, True),
    ("alpha IoU", "alpha_iou", 3, False),
    ("PSNR", "psnr", 2, False),
    ("SSIM", "ssim", 3, False),
    ("sharpness", "sharpness", 2, False),
    ("F-score", "f_score", 3, False),
    ("front PSNR", "front_psnr", 2, False),
    ("front sharpness", "front_sharpness", 2, False),
    ("motion", "motion_ratio", 2, False),
    ("opaque", "opaque_share", 2, False),
)
_MEASURE_HEAD = tuple(heading for heading, _, _, _ in _COLUMNS)
HEAD = ("set", "setting", "what", *_MEASURE_HEAD)
CLIP_HEAD = ("set", "setting", "clip", *_MEASURE_HEAD)
LEGEND = (
    "ST-LPIPS: 0 is best. Sharpness and motion are shares of the truth's detail and motion: 1 is "
    "right. F-score: surface within 0.02. Front: the video's own view rendered again. Opaque: "
    "splats with opacity above 0.5. -: not measured."
)


def score_rows(
    scores: Mapping[str, Sequence[ClipScore]], request: ClipRequest
) -> list[tuple[str, ...]]:
    """Cells under `HEAD`: in each set and setting the model, the previous bundled one on the same
    clips, where it was measured on them, the change against it, and the baselines.

    Args:
        scores: by set.
        request: what the clips are.
    """
    rows: list[tuple[str, ...]] = []
    for name, group in scores.items():
        for setting in SETTINGS:
            rows += [(name, setting, *cells) for cells in _setting_rows(group, setting, request)]
    return rows


def markdown_table(scores: Mapping[str, Sequence[ClipScore]], request: ClipRequest) -> str:
    """`score_rows` as Markdown, with what its columns mean."""
    lines = [HEAD, ("---",) * len(HEAD), *score_rows(scores, request)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{LEGEND}"


def clip_rows(scores: Mapping[str, Sequence[ClipScore]]) -> list[tuple[str, ...]]:
    """Cells under `CLIP_HEAD`, one row for every score."""
    return [
        (name, score.setting, score.name, *_cells(score))
        for name, group in scores.items()
        for score in group
    ]


def _setting_rows(
    scores: Sequence[ClipScore], setting: str, request: ClipRequest
) -> list[tuple[str, ...]]:
    group = [score for score in scores if score.setting == setting]
    if not group:
        return []
    (summary,) = summarize(group)
    rows = [(_clips(summary), *_cells(summary))]
    before = previous_scores(group, request)
    if before:
        (old,), (new,) = summarize(before), summarize(group[: len(before)])
        rows.append((f"{PREVIOUS_MODEL}, {_clips(old)}", *_cells(old)))
        rows.append(("against it", *_changes(new, old)))
    rows.append(("nearest image", *_cells(summary, "_nearest")))
    rows.append(("all white", *_cells(summary, "_white")))
    return rows


def _clips(summary: Summary) -> str:
    return f"{summary.clips} clip{'s' if summary.clips > 1 else ''}"


def _cells(measures: Measures, baseline: str = "") -> list[str]:
    return [
        _number(getattr(measures, name + baseline, None), digits) for _, name, digits, _ in _COLUMNS
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _changes(new: Measures, old: Measures) -> list[str]:
    """Of each column, as a factor or as a difference."""
    cells = []
    for _, name, digits, as_factor in _COLUMNS:
        now, before = getattr(new, name), getattr(old, name)
        if now is None or before is None or (as_factor and not before):
            cells.append("-")
        else:
            cells.append(f"x {now / before:.2f}" if as_factor else f"{now - before:+.{digits}f}")
    return cells
