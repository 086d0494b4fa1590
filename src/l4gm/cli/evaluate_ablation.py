"""`l4gm evaluate ablation`: the paper's ablations at a size that trains on a CPU."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from l4gm.cli.usage import CommonOptions, UsageError, positive

if TYPE_CHECKING:
    from l4gm.ablation.use import UseTest
    from l4gm.cli.progress import Progress
    from l4gm.evaluation.findings import Findings

EXAMPLES = """
l4gm evaluate ablation --suite temporal -o runs/ablation
l4gm evaluate ablation --suite data --models my_glb_files/ --seeds 3 -o runs/ablation
l4gm evaluate ablation --suite autoregressive --model mini -o runs/ablation
"""

TRAINED = ("pretraining", "temporal", "data")


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which question, and with what."""

    suite: Literal["pretraining", "temporal", "autoregressive", "frames", "views", "data"]
    """The question. pretraining, temporal and data train small networks; the others try a model."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Working folder: takes SUITE.json, and runs that other suites and later calls use again."""
    models: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of animated .glb or .gltf models, to train on and (held-out ones) to judge on."""
    seeds: int = 3
    """Repetitions of what is trained."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """Model for autoregressive, frames and views."""
    clips: int = 4
    """Objects for autoregressive, frames and views."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps; training is on the CPU."""


def run(options: Options) -> None:
    """Run one suite, write its findings and print them."""
    for name in ("seeds", "clips"):
        positive(f"--{name}", getattr(options, name))
    if options.suite == "data" and options.models is None:
        raise UsageError(
            "--suite data compares procedural with modelled objects: give --models DIR"
        )

    from l4gm.cli.progress import Progress
    from l4gm.gaussians.atomic import atomic_file

    with Progress() as progress:
        if options.suite in TRAINED:
            findings = _train(options, progress)
        else:
            findings = use_findings(options.suite, use_test(options, progress))
    path = options.out / f"{options.suite}.json"
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(findings.to_dict(), indent=1) + "\n")
    print(text_of(findings))
    print(f"\n{path}: every value; l4gm evaluate report --ablation {options.out} plots it")


def _train(options: Options, progress: Progress) -> Findings:
    from l4gm.ablation import suites
    from l4gm.ablation.training import Budget, Laboratory, Variant

    def on_run(variant: Variant, seed: int) -> None:
        progress(f"train {variant.name}, seed {seed}", 0, 0)

    lab = Laboratory(options.out / "runs", Budget(), options.models, on_run)
    return getattr(suites, options.suite)(lab, range(options.seeds))


def use_test(options: Options, progress: Progress) -> UseTest:
    """The model and the held-out objects to try it on."""
    from l4gm.ablation.use import UseTest
    from l4gm.cli.sources import clip_sources
    from l4gm.pipeline.video_to_4d import VideoTo4D

    return UseTest(
        pipeline=VideoTo4D.from_pretrained(options.model, device=options.device),
        sources=clip_sources(options.models, seed=0, split="heldout"),
        clips=options.clips,
        on_clip=progress,
    )


def use_findings(suite: str, test: UseTest) -> Findings:
    """One of the suites that need no training."""
    from l4gm.ablation.use import SUITES

    return SUITES[suite](test)


def text_of(findings: Findings) -> str:
    """The last point of every curve, and the verdicts."""
    lines = [findings.title, findings.setup, ""]
    for curve in findings.curves:
        last = curve.point(-1)
        lines.append(f"{curve.metric:<24} {curve.label:<44} {last.value:8.3f} at {curve.x[-1]:g}")
    lines.append("")
    for claim in findings.claims:
        lines.append(f"paper: {claim.paper}")
        lines.append(f"  {claim.verdict}: {claim.measured}: {claim.difference}")
    return "\n".join(lines)
