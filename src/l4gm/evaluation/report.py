"""The report: all results as one page that needs nothing else, and as JSON.

The page begins with a contact sheet, shows what the JSON holds, and images beside the truth: the
best, the middle and the worst object of every set, so that failures are seen.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from l4gm.data.clip import ClipRequest
from l4gm.evaluation.consistent4d import PUBLISHED
from l4gm.evaluation.consistent4d import markdown_table as benchmark_table
from l4gm.evaluation.findings import Findings
from l4gm.evaluation.plots import line_plot
from l4gm.evaluation.preference import QUESTIONS
from l4gm.evaluation.previous import PREVIOUS_MODEL, record
from l4gm.evaluation.scores import ClipScore, Summary, summarize
from l4gm.evaluation.tables import CLIP_HEAD, HEAD, LEGEND, clip_rows, score_rows

FORMAT = 2
_Y_LABELS = {
    "psnr": "PSNR, dB (higher is better)",
    "ssim": "SSIM (higher is better)",
    "flicker": "flicker beyond the truth's motion (0 is best)",
    "psnr of frames between": "PSNR of frames between, dB (higher is better)",
}


@dataclass(frozen=True)
class ShownPicture:
    """A comparison sheet for the page."""

    caption: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that is known of a model.

    Args:
        model: name, and SHA-256 of its files.
        protocol: of the renders: size, frames, rate, in words.
        request: the same, of every clip.
        renders: by name of the set, the score of every clip and setting.
        findings: of the ablations.
        missing: by suite of ablations that was not run, the command that runs it.
        benchmark: result of the Consistent4D benchmark, or None.
        preference: statistics of votes, or None.
        skipped: by metric, why it is missing.
    """

    model: dict[str, str]
    protocol: str
    request: ClipRequest
    renders: dict[str, list[ClipScore]]
    findings: Sequence[Findings]
    missing: dict[str, str]
    benchmark: dict[str, Any] | None
    preference: dict[str, Any] | None
    skipped: dict[str, str]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """`score_rows` of the renders."""
        return score_rows(self.renders, self.request)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "format": FORMAT,
            "model": self.model,
            "renders": {
                "protocol": self.protocol,
                "summaries": {
                    name: [asdict(summary) | {"gain": summary.gain} for summary in summarize(rows)]
                    for name, rows in self.renders.items()
                },
                "table": [dict(zip(HEAD, row, strict=True)) for row in self.rows],
                "clips": {
                    name: [asdict(row) for row in rows] for name, rows in self.renders.items()
                },
            },
            "ablations": [finding.to_dict() for finding in self.findings],
            "ablations_not_run": self.missing,
            "consistent4d": self.benchmark,
            "consistent4d_published": [asdict(row) for row in PUBLISHED],
            "preference": self.preference,
            "skipped": self.skipped,
        }


def page(
    report: Report, pictures: Sequence[ShownPicture], sheet: NDArray[np.uint8] | None = None
) -> str:
    """The report as one HTML file.

    Args:
        pictures: beside the truth, see `pictures_of`.
        sheet: `contact_sheet` of the model.
    """
    style = files("l4gm.evaluation").joinpath("report.css").read_text("utf-8")
    name = escape(report.model["name"])
    sections = [
        _renders_section(report),
        _pictures_section(pictures),
        *(_findings_section(finding) for finding in report.findings),
        _missing_section(report.missing),
        _benchmark_section(report.benchmark),
        _preference_section(report.preference),
        _skipped_section(report),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>l4gm evaluation: {name}</title><style>{style}</style></head>\n<body>"
        f"<h1>Evaluation of <code>{name}</code></h1>"
        f"{_sheet_section(sheet)}{_summary(report)}{''.join(sections)}</body></html>\n"
    )


def pictures_of(
    rows: Sequence[tuple[ClipScore, NDArray[np.uint8]]], set_name: str
) -> list[ShownPicture]:
    """The best, the middle and the worst clip of each setting: by ST-LPIPS, else by PSNR."""
    shown = []
    for setting in dict.fromkeys(score.setting for score, _ in rows):
        ranked = sorted((row for row in rows if row[0].setting == setting), key=_quality)
        places = {"worst": 0, "middle": len(ranked) // 2, "best": len(ranked) - 1}
        used: set[int] = set()
        for label, place in places.items():
            if place in used:
                continue
            used.add(place)
            score, pixels = ranked[place]
            distance = "" if score.st_lpips is None else f"ST-LPIPS {score.st_lpips:.3f}, "
            caption = (
                f"{set_name}, {setting}, {label} of {len(ranked)}: {score.name}, {distance}"
                f"{score.psnr:.2f} dB, alpha IoU {score.alpha_iou:.2f}"
            )
            shown.append(ShownPicture(caption, pixels))
    return shown


def _quality(row: tuple[ClipScore, NDArray[np.uint8]]) -> float:
    score, _ = row
    return score.psnr if score.st_lpips is None else -score.st_lpips


def _summary(report: Report) -> str:
    lines = []
    for name, rows in report.renders.items():
        for summary in summarize(rows):
            below = sum(row.gain <= 0 for row in rows if row.setting == summary.setting)
            lines.append(f"<li>{escape(_in_short(name, summary, below))}</li>")
    for finding in report.findings:
        for claim in finding.claims:
            lines.append(
                f'<li><span class="{claim.verdict}">{claim.verdict}</span> '
                f"{escape(claim.paper)} <small>({escape(finding.suite)}; "
                f"{escape(claim.measured)}: {claim.difference})</small></li>"
            )
    sums = "".join(
        f"<li><code>{escape(key)}</code> {escape(value)}</li>"
        for key, value in report.model.items()
        if key != "name"
    )
    return (
        f"<h2>In short</h2><ul>{''.join(lines)}</ul>"
        f"<p>Words like <i>agrees</i> hold our measurement against the paper's statement: the 95 % "
        f"interval of the difference decides, and <i>undecided</i> means that it spans the margin."
        f"</p><details><summary>Files</summary><ul>{sums}</ul></details>"
    )


def _in_short(name: str, summary: Summary, below: int) -> str:
    perceptual = (
        ""
        if summary.st_lpips is None
        else f"ST-LPIPS {summary.st_lpips:.3f} (nearest image {summary.st_lpips_nearest:.3f}), "
    )
    return (
        f"{name} objects, {summary.setting}: {perceptual}alpha IoU {summary.alpha_iou:.2f}; "
        f"{summary.psnr:.2f} dB, {summary.gain:+.2f} against the better baseline, below one on "
        f"{below} of {summary.clips} objects."
    )


def _renders_section(report: Report) -> str:
    source = (
        f"{PREVIOUS_MODEL} was measured at commit {record()['commit'][:7]}: {record()['command']}"
    )
    return (
        f"<h2>Objects that training never shows</h2><p>{escape(report.protocol)}</p>"
        f"{_table(HEAD, report.rows)}<p>{escape(LEGEND)} "
        f"{escape(source)}.</p><details><summary>Every clip</summary>"
        f"{_table(CLIP_HEAD, clip_rows(report.renders))}</details>"
    )


def _sheet_section(sheet: NDArray[np.uint8] | None) -> str:
    if sheet is None:
        return ""
    return (
        f'<img class="sheet" alt="contact sheet" src="{_data_url(sheet)}"><p>Objects that training '
        "never shows, each from its video alone (or with four views, for a model that needs them), "
        "at the middle frame. The camera sees the front; all else is the model's guess.</p>"
    )


def _pictures_section(pictures: Sequence[ShownPicture]) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(picture.caption)}" src="{_data_url(picture.pixels)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    return (
        "<h2>Images beside the truth</h2><p>Four free views a row. Rows: truth and result at the "
        f'first frame, truth and result at the last.</p><div class="pictures">{figures}</div>'
    )


def _findings_section(finding: Findings) -> str:
    metrics = list(dict.fromkeys(curve.metric for curve in finding.curves))
    plots = "".join(
        line_plot(
            [curve for curve in finding.curves if curve.metric == metric],
            finding.x_label,
            _Y_LABELS.get(metric, metric),
        )
        for metric in metrics
    )
    rows = [
        [
            claim.paper,
            claim.measured,
            str(claim.difference),
            f'<span class="{claim.verdict}">{claim.verdict}</span>',
        ]
        for claim in finding.claims
    ]
    head = ("the paper says", "measured", "mean [95 % interval]", "")
    return (
        f"<h2>{escape(finding.title)}</h2><p>{escape(finding.setup)} Lines are means over "
        f'{finding.repetitions}, bands go from the least to the greatest.</p><div class="plots">'
        f"{plots}</div>{_table(head, rows, raw_last=True)}"
    )


def _missing_section(missing: dict[str, str]) -> str:
    if not missing:
        return ""
    lines = "".join(
        f"<li>{escape(suite)}: <code>{escape(command)}</code></li>"
        for suite, command in missing.items()
    )
    return f"<h2>Ablations that were not run</h2><ul>{lines}</ul>"


def _benchmark_section(benchmark: dict[str, Any] | None) -> str:
    title = "<h2>Consistent4D benchmark</h2>"
    if benchmark is None:
        empty = {
            "methods": {},
            "protocol": {"is_the_benchmark": True},
            "published": [asdict(row) for row in PUBLISHED],
        }
        note = (
            "<p>Not run: its data and the weights of LPIPS, CLIP and I3D are downloads. "
            "<code>l4gm evaluate consistent4d</code> runs it. Published rows, each with where it "
            "comes from, because protocols differ:</p>"
        )
        return title + note + _from_markdown(benchmark_table(empty), skip_tables=1)
    return title + _from_markdown(benchmark_table(benchmark))


def _preference_section(preference: dict[str, Any] | None) -> str:
    if preference is None:
        return ""
    rows = [
        [QUESTIONS[question], str(found["votes"]), found["text"], f"{found['p']:.3g}"]
        for question, found in preference["questions"].items()
    ]
    head = ("question", "votes", f"prefer {preference['first']}", "p, sign test")
    against = f"{preference['first']} against {preference['second']}, blind"
    return (
        f"<h2>What people prefer</h2><p>{escape(against)}; {preference['ballots']} voters; share "
        f"with its 95 % interval.</p>{_table(head, rows)}"
    )


def _skipped_section(report: Report) -> str:
    if not report.skipped:
        return ""
    lines = "".join(
        f"<li>{escape(metric)}: {escape(reason)}</li>" for metric, reason in report.skipped.items()
    )
    return f"<h2>Metrics skipped</h2><ul>{lines}</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], raw_last: bool = False) -> str:
    def cell(value: str, raw: bool) -> str:
        return f"<td>{value if raw else escape(value)}</td>"

    body = "".join(
        "<tr>"
        + "".join(cell(v, raw_last and i == len(row) - 1) for i, v in enumerate(row))
        + "</tr>"
        for row in rows
    )
    heads = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="table"><table><tr>{heads}</tr>{body}</table></div>'


def _from_markdown(text: str, skip_tables: int = 0) -> str:
    """Tables and lines of our own Markdown."""
    parts: list[str] = []
    blocks = [block for block in text.split("\n\n") if block.strip()]
    for block in blocks:
        lines = [line for line in block.splitlines() if line.strip()]
        if lines[0].startswith("|"):
            if skip_tables:
                skip_tables -= 1
                continue
            cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
            parts.append(_table(cells[0], cells[2:]))
        else:
            parts.append("".join(f"<p>{escape(line)}</p>" for line in lines))
    return "".join(parts)


def _data_url(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
