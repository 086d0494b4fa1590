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

from l4gm.data.clip import ClipRequest
from l4gm.evaluation.scores import ClipScore

PREVIOUS_MODEL = "previous mini"


def previous_scores(scores: Sequence[ClipScore], request: ClipRequest) -> list[ClipScore]:
    """What the previous bundled model had on the same clips.

    Args:
        scores: of the first clips of one set in one setting, in their order.
        request: what these clips were.

    Returns:
        for the first of `scores`, as far as these clips were measured then.
    """
    asked = (request.size_px, request.num_frames, request.fps)
    best: list[ClipScore] = []
    for run in record()["runs"]:
        if (run["size_px"], run["frames"], run["fps"]) != asked:
            continue
        for rows in run["sets"].values():
            known = (ClipScore(**dict(zip(run["fields"], row, strict=True))) for row in rows)
            in_setting = [old for old in known if scores and old.setting == scores[0].setting]
            same = 0
            for old, score in zip(in_setting, scores, strict=False):
                if old.name != score.name:
                    break
                same += 1
            if same > len(best):
                best = in_setting[:same]
    return best


@cache
def record() -> dict[str, Any]:
    """The file: commit, SHA-256 of the weights, and runs with their command."""
    text = files("l4gm.evaluation").joinpath("previous.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
