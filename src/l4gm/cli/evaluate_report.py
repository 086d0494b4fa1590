"""`l4gm evaluate report`: everything that is known of a model, on one page and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
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
    from l4gm.data.clip import Clip, ClipRequest, ClipSource
    from l4gm.evaluation.contact_sheet import Subject
    from l4gm.evaluation.findings import Findings
    from l4gm.evaluation.judges import Judges
    from l4gm.evaluation.renders import Reconstruct
    from l4gm.evaluation.scores import ClipScore

EXAMPLES = """
l4gm evaluate report --model mini -o out/report
l4gm evaluate report --models my_glb_files/ --ablation runs/ablation -o out/report --overwrite
l4gm evaluate report --clips 4 --use-clips 2 --sheet 4 -o out/quick
l4gm evaluate report --clips 0 --use-clips 0 --videos my_videos/ -o out/look  # contact sheet alone
"""

FPS = 8.0
HTML_NAME, TABLES_NAME, SHEET_NAME = "report.html", "tables.md", "contact_sheet.webp"
VIDEO_SUFFIXES = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
_SHEET_PX, _SHEET_FRAMES = 256, 16  # of what the contact sheet's objects are reconstructed from


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What goes in."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder to write: report.html, report.json, contact_sheet.webp, and tables.md for a model
    card."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """mini (bundled), official (the paper's), a folder, a .safetensors file, or a hub name."""
    models: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of animated .glb or .gltf models, whose held-out ones are scored too."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DIR|URL")] = None
    """Packed set (l4gm data pack), whose held-out clips take the place of procedural objects."""
    clips: int = 12
    """Objects of each set to score; 0 leaves that out."""
    frames: int = 8
    """Frames of each clip, at 8 a second."""
    size: int = 128
    """Width and height of the images, given and compared."""
    use_clips: int = 4
    """Objects to try frames a pass, rolls and given views on; 0 leaves that out."""
    sheet: int = 12
    """Held-out objects on the contact sheet."""
    videos: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of real videos to put on the contact sheet too."""
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
    for name in ("frames", "size"):
        positive(f"--{name}", getattr(options, name))
    for name in ("clips", "use_clips", "sheet"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name) + 1)

    from l4gm.cli.evaluate_ablation import TRAINED
    from l4gm.cli.evaluate_renders import reconstruction_of
    from l4gm.cli.output_folder import output_folder, write_report
    from l4gm.cli.progress import Progress
    from l4gm.cli.sources import clip_sources
    from l4gm.data.clip import ClipRequest
    from l4gm.evaluation.judges import load_judges
    from l4gm.evaluation.report import Report, page, pictures_of
    from l4gm.evaluation.tables import markdown_table
    from l4gm.pipeline.device import find_device

    findings = _read_findings(options.ablation, TRAINED)
    benchmark = _read_json(options.consistent4d, "methods")
    preference = _read_json(options.preference, "questions")
    videos = _videos(options.videos)
    sources = clip_sources(options.models, options.data, seed=0, split="heldout")
    settings, reconstruct = reconstruction_of(options.model, options.device)
    judges = load_judges(find_device(options.device))
    request = ClipRequest(size_px=options.size, num_frames=options.frames, fps=FPS)
    with (
        output_folder(options.out, overwrite=options.overwrite) as folder,
        Progress() as progress,
    ):
        sheet = _contact_sheet(options, sources, videos, settings, reconstruct, progress)
        scored = _score(options.clips, sources, settings, reconstruct, request, judges, progress)
        findings += _use_findings(options, progress)
        known = {finding.suite for finding in findings}
        report = Report(
            model=_model_files(options.model),
            protocol=(
                f"{options.clips} objects of each set, {options.frames} frames at {FPS:g} "
                f"a second, {options.size} px, whole pipeline; means over all frames of four "
                "free views (elevation -5 to 30 degrees)."
            ),
            request=request,
            renders={name: [score for score, _ in rows] for name, rows in scored.items()},
            findings=findings,
            missing={suite: _command(suite) for suite in TRAINED if suite not in known},
            benchmark=benchmark,
            preference=preference,
            skipped=judges.skipped,
        )
        pictures = [p for name, rows in scored.items() for p in pictures_of(rows, name)]
        table = markdown_table(report.renders, request)
        (folder / HTML_NAME).write_text(page(report, pictures, sheet), encoding="utf-8")
        (folder / TABLES_NAME).write_text(table + "\n", encoding="utf-8")
        if sheet is not None:
            _save_sheet(folder / SHEET_NAME, sheet)
        write_report(folder, report.to_dict())
    print(table)
    print(f"\n{options.out / HTML_NAME}: open it in a browser")


def _contact_sheet(
    options: Options,
    sources: dict[str, ClipSource],
    videos: list[Path],
    settings: tuple[str, ...],
    reconstruct: Reconstruct,
    progress: Progress,
) -> NDArray[np.uint8] | None:
    """Held-out objects and real videos from all sides; None where there are none of both."""
    from l4gm.data.clip import ClipRequest
    from l4gm.evaluation.contact_sheet import contact_sheet, heldout_subjects

    video_is_enough = "video only" in settings
    if videos and not video_is_enough:
        raise InputError(f"--videos: {options.model} cannot start from a video alone; leave it out")
    total, done = options.sheet + len(videos), 0
    if not total:
        return None

    def count(_: Subject) -> None:
        nonlocal done
        done += 1
        progress("contact sheet", done, total)

    request = ClipRequest(size_px=_SHEET_PX, num_frames=options.frames, fps=FPS)
    heldout = heldout_subjects(sources, request, options.sheet, views_given=not video_is_enough)
    return contact_sheet(chain(heldout, map(_video_subject, videos)), reconstruct, on_row=count)


def _videos(folder: Path | None) -> list[Path]:
    """The videos of a folder."""
    if folder is None:
        return []
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected videos in it")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    if not found:
        raise InputError(f"{folder}: no videos in it ({', '.join(VIDEO_SUFFIXES)})")
    return found


def _video_subject(path: Path) -> Subject:
    """The first frames of a video, background removed."""
    import torch

    from l4gm.evaluation.contact_sheet import Subject
    from l4gm.pipeline.prepare import prepare_video

    prepared = prepare_video(path, size=_SHEET_PX, max_frames=_SHEET_FRAMES)
    cutouts = torch.stack(list(prepared.cutouts()))
    color, alpha = cutouts[:, :3], cutouts[:, 3:]
    straight = torch.where(alpha > 0, color / alpha.clamp(min=1e-6), 1.0).clamp(0, 1)
    return Subject(path.stem, torch.cat([straight, alpha], 1))


def _save_sheet(path: Path, pixels: NDArray[np.uint8]) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, "WEBP", quality=82, method=4)


def _score(
    clips: int,
    sources: dict[str, ClipSource],
    settings: tuple[str, ...],
    reconstruct: Reconstruct,
    request: ClipRequest,
    judges: Judges,
    progress: Progress,
) -> dict[str, list[tuple[ClipScore, NDArray[np.uint8]]]]:
    """By set, every clip's score in each setting and its comparison sheet."""
    from l4gm.evaluation.renders import comparison_sheet, evaluate_renders

    scored: dict[str, list[tuple[ClipScore, NDArray[np.uint8]]]] = {}
    for name, source in sources.items():
        rows = scored.setdefault(name, [])

        def keep(
            clip: Clip,
            score: ClipScore,
            predicted: Tensor,
            rows: list[tuple[ClipScore, NDArray[np.uint8]]] = rows,
            name: str = name,
        ) -> None:
            rows.append((score, comparison_sheet(clip, predicted)))
            progress(f"score {name}", len(rows), clips * len(settings))

        evaluate_renders(
            source,
            reconstruct,
            request,
            num_clips=clips,
            settings=settings,
            judges=judges,
            surfaces=True,
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
