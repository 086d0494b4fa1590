"""The suites that train, each answering one question of the paper's Fig. 6."""

from __future__ import annotations

from collections.abc import Sequence

from l4gm.ablation.training import SIZE_PX, Budget, Laboratory, RunCurve, Variant, image_variant
from l4gm.ablation.training import video_variants as _video_variants
from l4gm.datagen.procedural import GENERATOR_VERSION
from l4gm.evaluation.findings import Curve, Findings, judge

_STEPS = "optimizer steps"


def pretraining(lab: Laboratory, seeds: Sequence[int]) -> Findings:
    """From single-frame weights, from scratch, or with them frozen; equal steps in all."""
    variants = _video_variants(lab.budget, lab.widest_data)
    names = ("pretrained", "from scratch", "frozen")
    runs = {name: [lab.run(variants[name], seed) for seed in seeds] for name in names}
    image = [lab.run(image_variant(lab.widest_data, lab.budget.image_steps), s) for s in seeds]
    curves = [_curve("single frames (the pretraining)", "psnr", image)]
    curves += [_curve(name, metric, runs[name]) for metric in ("psnr", "ssim") for name in names]
    final = {name: _final(runs[name], "psnr") for name in names}
    return Findings(
        suite="pretraining",
        title="Does training on clips need weights from single frames?",
        setup=_setup(lab.budget, lab, seeds),
        x_label=_STEPS,
        repetitions="seeds",
        curves=tuple(curves),
        claims=(
            judge(
                "without pretraining on single frames the network does not converge",
                "PSNR in dB, pretrained less from scratch, equal steps in all",
                final["pretrained"],
                final["from scratch"],
            ),
            judge(
                "with the pretrained weights frozen the result is worse",
                "PSNR in dB, all layers trained less temporal layers alone",
                final["pretrained"],
                final["frozen"],
            ),
        ),
    )


def temporal(lab: Laboratory, seeds: Sequence[int]) -> Findings:
    """With and without temporal attention, from the same single-frame weights."""
    variants = _video_variants(lab.budget, lab.widest_data)
    labels = {"pretrained": "with temporal attention", "no temporal attention": "without"}
    runs = {name: [lab.run(variants[name], seed) for seed in seeds] for name in labels}
    curves = [
        _curve(label, metric, runs[name])
        for metric in ("psnr", "flicker")
        for name, label in labels.items()
    ]
    with_it, without = runs["pretrained"], runs["no temporal attention"]
    return Findings(
        suite="temporal",
        title="What does temporal attention bring?",
        setup=_setup(lab.budget, lab, seeds),
        x_label=_STEPS,
        repetitions="seeds",
        curves=tuple(curves),
        claims=(
            judge(
                "without temporal attention PSNR is lower",
                "PSNR in dB, with less without",
                _final(with_it, "psnr"),
                _final(without, "psnr"),
            ),
            judge(
                "without temporal attention the result flickers",
                "flicker x 1000, without less with",
                [1000 * value for value in _final(without, "flicker")],
                [1000 * value for value in _final(with_it, "flicker")],
            ),
        ),
    )


def data(lab: Laboratory, seeds: Sequence[int]) -> Findings:
    """Procedural objects, modelled ones, or both: single frames, equal steps."""
    labels = {"procedural": "procedural", "models": "modelled", "both": "both"}
    variants: dict[str, Variant] = {
        name: image_variant(name, lab.budget.image_steps)  # type: ignore[arg-type]
        for name in labels
        if name in lab.sources
    }
    runs = {name: [lab.run(variants[name], seed) for seed in seeds] for name in variants}
    curves = [
        _curve(f"trained on {labels[name]}, judged on {judged}", "psnr", runs[name], judged)
        for judged in lab.judged
        for name in variants
    ]
    claims = [
        judge(
            "more and more varied data is better",
            f"PSNR in dB on held-out {judged} objects, both less {labels[part]} alone",
            _final(runs["both"], "psnr", judged),
            _final(runs[part], "psnr", judged),
        )
        for judged in lab.judged
        for part in variants
        if part != "both" and "both" in runs
    ]
    return Findings(
        suite="data",
        title="Which objects to train on?",
        setup=_setup(lab.budget, lab, seeds) + " Only the single-frame stage.",
        x_label=_STEPS,
        repetitions="seeds",
        curves=tuple(curves),
        claims=tuple(claims),
    )


def _curve(label: str, metric: str, runs: Sequence[RunCurve], judged: str | None = None) -> Curve:
    rows = tuple(_mean_over_sets(run, metric, judged) for run in runs)
    return Curve(label, metric, tuple(float(step) for step in runs[0].steps), rows)


def _final(runs: Sequence[RunCurve], metric: str, judged: str | None = None) -> list[float]:
    return [_mean_over_sets(run, metric, judged)[-1] for run in runs]


def _mean_over_sets(run: RunCurve, metric: str, judged: str | None) -> tuple[float, ...]:
    """Values over steps on one held-out set, or the mean over all sets."""
    rows = [run.values[name][metric] for name in ([judged] if judged else run.values)]
    return tuple(sum(column) / len(column) for column in zip(*rows, strict=True))


def _setup(budget: Budget, lab: Laboratory, seeds: Sequence[int]) -> str:
    sets = " and ".join(lab.judged)
    return (
        f"{SIZE_PX} px, 150,000 weights, {len(seeds)} seeds; {budget.image_steps} steps of "
        f"{budget.image_batch} single frames, {budget.video_steps} steps on a clip of "
        f"{budget.video_frames} frames; {budget.num_clips} clips to train on; judged on free views "
        f"of {budget.judged_clips} held-out objects each of: {sets} (procedural objects of version "
        f"{GENERATOR_VERSION}); the four views given."
    )
