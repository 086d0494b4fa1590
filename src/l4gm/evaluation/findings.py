"""What an ablation found: curves with their spread, and the paper's claims held against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from l4gm.evaluation.statistics import Interval, mean_interval

Verdict = Literal["agrees", "differs", "undecided"]


@dataclass(frozen=True)
class Curve:
    """One line of a plot.

    Args:
        label: what was varied.
        metric: "psnr", "ssim", "flicker", ...
        x: of each point.
        values: [repetitions][points], repetitions being seeds or objects.
    """

    label: str
    metric: str
    x: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def point(self, index: int) -> Interval:
        """Mean over the repetitions at one point, with its interval."""
        return mean_interval([row[index] for row in self.values])

    def last(self) -> tuple[float, ...]:
        """[repetitions] values of the last point."""
        return tuple(row[-1] for row in self.values)


@dataclass(frozen=True)
class Claim:
    """A statement of the paper and what we measured of it.

    Args:
        paper: the statement.
        measured: of which difference `difference` is, in words and units.
        difference: positive where it speaks for the statement, paired by repetition.
        verdict: by the interval: all above `margin` agrees, all below differs.
    """

    paper: str
    measured: str
    difference: Interval
    verdict: Verdict


@dataclass(frozen=True)
class Findings:
    """One suite's result.

    Args:
        suite, title: its name, and what it asks.
        setup: size, budget and data, in words.
        x_label: of all curves.
        repetitions: "seeds" or "objects".
        curves, claims: see there.
    """

    suite: str
    title: str
    setup: str
    x_label: str
    repetitions: Literal["seeds", "objects"]
    curves: tuple[Curve, ...]
    claims: tuple[Claim, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which knows no infinity: bounds of a single value are None."""
        values = asdict(self)
        for claim in values["claims"]:
            difference = claim["difference"]
            for bound in ("low", "high"):
                if math.isinf(difference[bound]):
                    difference[bound] = None
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Findings:
        """Inverse of `to_dict`."""
        curves = tuple(
            Curve(
                curve["label"],
                curve["metric"],
                tuple(curve["x"]),
                tuple(tuple(row) for row in curve["values"]),
            )
            for curve in values["curves"]
        )
        claims = tuple(
            Claim(**{**claim, "difference": _interval(claim["difference"])})
            for claim in values["claims"]
        )
        return Findings(**{**values, "curves": curves, "claims": claims})


def _interval(values: dict[str, Any]) -> Interval:
    low, high = values["low"], values["high"]
    return Interval(
        values["value"], -math.inf if low is None else low, math.inf if high is None else high
    )


def judge(
    paper: str,
    measured: str,
    better: Sequence[float],
    worse: Sequence[float],
    *,
    margin: float = 0.0,
) -> Claim:
    """Hold a claim "better - worse > margin" against paired repetitions.

    Args:
        paper, measured: as in `Claim`.
        better, worse: [repetitions] values, the same repetition at the same place.
        margin: what the difference must exceed; negative for "is not worse by more than".
    """
    difference = mean_interval([b - w for b, w in zip(better, worse, strict=True)])
    verdict: Verdict = "undecided"
    if difference.low > margin:
        verdict = "agrees"
    elif difference.high < margin:
        verdict = "differs"
    return Claim(paper, measured, difference, verdict)
