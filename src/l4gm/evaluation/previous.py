"""The bundled model before this one, frozen as numbers: what a new one is held against.

Its weights are gone; `previous.json` has every measure of every clip, with the command and the
commit that gave them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from l4gm.evaluation.scores import ClipScore

PREVIOUS_MODEL = "previous mini"


def previous_scores(
    scores: Sequence[ClipScore], *, size_px: int, frames: int, fps: float
) -> list[ClipScore]:
    """What the previous bundled model had on the same clips, in the same settings.

    Args:
        scores: of the first clips of one set, in their order.
        size_px, frames, fps: of these clips.

    Returns:
        one for each of `scores`; none at all if one of the clips was not measured then.
    """
    wanted = [(score.setting, score.name) for score in scores]
    for run in record()["runs"]:
        if (run["size_px"], run["frames"], run["fps"]) != (size_px, frames, fps):
            continue
        for rows in run["sets"].values():
            known = [ClipScore(**dict(zip(run["fields"], row, strict=True))) for row in rows]
            same = known[: len(scores)]
            if [(score.setting, score.name) for score in same] == wanted:
                return same
    return []


@cache
def record() -> dict[str, Any]:
    """The file: model, commit, SHA-256 of the weights, and runs with their command."""
    text = files("l4gm.evaluation").joinpath("previous.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
