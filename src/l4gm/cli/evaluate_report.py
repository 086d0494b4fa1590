"""`l4gm evaluate report`: everything that is known of a model, on one page and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from l4gm.cli.usage import CommonOptions, positive
from l4gm.errors import InputError
from l4gm.io.json_file import read_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from l4gm.cli.progress import Progress
    from l4gm.data.clip import Clip
    from l4gm.evaluation.findings import Findings
    from l4gm.evaluation.judges import Judges
    from l4gm.evaluation.renders import ClipScore

EXAMPLES = """
l4gm evaluate report --model mini -o out/report
l4gm evaluate report --models my_glb_files/ --ablation runs/ablation -o out/report --overwrite
l4gm evaluate report --clips 4 --use-clips 2 -o out/quick
"""

FPS = 8.0
HTML_NAME, TABLES_NAME = "report.html", "tables.md"


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What goes in."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder to write: report.html, report.json, and tables.md for a model card."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """mini (bundled), official (the paper's), a folder, a .safetensors file, or a hub name."""
    models: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of animated .glb or .gltf models, whose held-out ones are scored too."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DIR|URL")] = None
    """Packed set (l4gm data pack), whose held-out clips take the place of procedural objects."""
    clips: int = 12
    """Objects of each set to score."""
    frames: int = 8
    """Frames of each clip, at 8 a second."""
    size: int = 128
    """Width and height of the pictures, given and compared."""
    use_clips: int = 4
    """Objects to try frames a pass, rolls and given views on; 0 leaves that out."""
    ablation: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder with findings of l4gm evaluate ablation."""
    consistent4d: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """consistent4d.json of l4gm evaluate consistent4d."""
    preference: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Statistics that l4gm evaluate preference wrote from votes."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an earlier report."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""


def run(options: Options) -> None:
    """Score the model, gather the rest, write the page."""
    for name in ("clips", "frames", "size"):
        positive(f"--{name}", getattr(options, name))
    positive("--use-clips", options.use_clips + 1)

    from l4gm.cli.evaluate_ablation import TRAINED
    from l4gm.cli.output_folder import output_folder, write_report
    from l4gm.cli.progress import Progress
    from l4gm.evaluation.judges import load_judges
    from l4gm.evaluation.renders import markdown_table, summarize
    from l4gm.evaluation.report import Report, page, pictures_of
    from l4gm.pipeline.device import find_device

    findings = _read_findings(options.ablation, TRAINED)
    benchmark = _read_json(options.consistent4d, "methods")
    preference = _read_json(options.preference, "questions")
    judges = load_judges(find_device(options.device))
    with (
        output_folder(options.out, overwrite=options.overwrite) as folder,
        Progress() as progress,
    ):
        scored = _score(options, judges, progress)
        findings += _use_findings(options, progress)
        known = {finding.suite for finding in findings}
        report = Report(
            model=_model_files(options.model),
            protocol=(
                f"{options.clips} objects of each set, {options.frames} frames at {FPS:g} "
                f"a second, {options.size} px, whole pipeline; means over all frames of four "
                "free views (elevation -5 to 30 degrees); on axis: the four input azimuths."
            ),
            renders={name: [score for score, _ in rows] for name, rows in scored.items()},
            findings=findings,
            missing={suite: _command(suite) for suite in TRAINED if suite not in known},
            benchmark=benchmark,
            preference=preference,
            skipped=judges.skipped,
        )
        pictures = [p for name, rows in scored.items() for p in pictures_of(rows, name)]
        (folder / HTML_NAME).write_text(page(report, pictures), encoding="utf-8")
        summaries = {name: summarize(rows) for name, rows in report.renders.items()}
        (folder / TABLES_NAME).write_text(markdown_table(summaries) + "\n", encoding="utf-8")
        write_report(folder, report.to_dict())
    print(markdown_table(summaries))
    print(f"\n{options.out / HTML_NAME}: open it in a browser")


def _score(
    options: Options, judges: Judges, progress: Progress
) -> dict[str, list[tuple[ClipScore, NDArray[np.uint8]]]]:
    """By set, every clip's score in each setting and its comparison sheet."""
    from l4gm.cli.evaluate_renders import reconstruction_of
    from l4gm.cli.sources import clip_sources
    from l4gm.data.clip import ClipRequest
    from l4gm.evaluation.renders import comparison_sheet, evaluate_renders

    settings, reconstruct = reconstruction_of(options.model, options.device)
    request = ClipRequest(size_px=options.size, num_frames=options.frames, fps=FPS)
    scored: dict[str, list[tuple[ClipScore, NDArray[np.uint8]]]] = {}
    for name, source in clip_sources(options.models, options.data, seed=0, split="heldout").items():
        rows = scored.setdefault(name, [])
        total = options.clips * len(settings)

        def keep(
            clip: Clip,
            score: ClipScore,
            predicted: Tensor,
            rows: list[tuple[ClipScore, NDArray[np.uint8]]] = rows,
            name: str = name,
            total: int = total,
        ) -> None:
            rows.append((score, comparison_sheet(clip, predicted)))
            progress(f"score {name}", len(rows), total)

        evaluate_renders(
            source,
            reconstruct,
            request,
            num_clips=options.clips,
            settings=settings,
            judges=judges,
            on_clip=keep,
        )
    return scored


def _use_findings(options: Options, progress: Progress) -> list[Findings]:
    """The suites that try the model itself."""
    if not options.use_clips:
        return []
    from l4gm.ablation.use import SUITES, UseTest
    from l4gm.cli.sources import clip_sources
    from l4gm.pipeline.video_to_4d import VideoTo4D

    test = UseTest(
        pipeline=VideoTo4D.from_pretrained(options.model, device=options.device),
        sources=clip_sources(options.models, options.data, seed=0, split="heldout"),
        clips=options.use_clips,
        size_px=options.size,
        on_clip=progress,
    )
    return [suite(test) for suite in SUITES.values()]


def _read_findings(folder: Path | None, suites: tuple[str, ...]) -> list[Findings]:
    """Findings of the suites that train, as far as they are in the folder."""
    if folder is None:
        return []
    from l4gm.evaluation.findings import Findings

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected SUITE.json of l4gm evaluate ablation")
    paths = [folder / f"{suite}.json" for suite in suites]
    found = []
    for path in paths:
        if path.is_file():
            try:
                found.append(Findings.from_dict(read_json(path)))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{path}: not findings of l4gm evaluate ablation ({error}); run it again"
                ) from error
    return found


def _read_json(path: Path | None, key: str) -> dict[str, Any] | None:
    if path is None:
        return None
    values = read_json(path)
    if not isinstance(values, dict) or key not in values:
        raise InputError(f"{path}: not a result of l4gm evaluate (no {key!r} in it)")
    return values


def _model_files(name: str) -> dict[str, str]:
    """Its name, and the SHA-256 of each of its weight files."""
    from l4gm.model.sources import resolve_weights
    from l4gm.perceptual.published import sha256_of

    paths = resolve_weights(name).paths
    return {"name": name} | {path.name: f"SHA-256 {sha256_of(path)}" for path in paths}


def _command(suite: str) -> str:
    models = " --models FOLDER" if suite == "data" else ""
    return f"l4gm evaluate ablation --suite {suite}{models} -o runs/ablation"
