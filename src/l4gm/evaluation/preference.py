"""Blind pairwise comparison of two methods by people (the paper's Table 2), offline.

A page shows each pair of videos of the same name side by side, in random order and on random
sides, without saying which is whose, and asks the paper's questions. Votes are exported as a JSON
file; the sides stay hidden in it too: the key that says whose side was whose lies beside the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from l4gm.errors import InputError
from l4gm.evaluation.statistics import share_interval, sign_test

# The paper's Table 2.
QUESTIONS = {
    "overall": "Which is better overall?",
    "input": "Which looks more like the input video?",
    "appearance": "Which has the better appearance in the other views?",
    "motion": "Whose motion is more natural?",
}
VIDEO_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
_FORMAT = 1
_LISTED = 3


@dataclass(frozen=True)
class Pair:
    """One comparison.

    Args:
        name: of the object.
        left, right: the two videos.
        first_is_left: whether the first method is on the left.
        input: the input video, or None.
    """

    name: str
    left: Path
    right: Path
    first_is_left: bool
    input: Path | None = None


def make_pairs(first: Path, second: Path, seed: int, inputs: Path | None = None) -> list[Pair]:
    """Pairs of equal names, in random order, on sides that are balanced and random.

    Args:
        first, second: folders of videos NAME.mp4, .webm or .gif.
        seed: of order and sides.
        inputs: folder of the input videos by the same names.

    Raises:
        InputError: videos that only one of them has, or none at all.
    """
    folders = {"first": _videos(first), "second": _videos(second)}
    odd = sorted(folders["first"].keys() ^ folders["second"].keys())
    if odd:
        more = f" and {len(odd) - _LISTED} more" if len(odd) > _LISTED else ""
        raise InputError(
            f"{first} and {second}: only one of them has {', '.join(odd[:_LISTED])}{more}; "
            "both need the same names"
        )
    shown = {} if inputs is None else _videos(inputs)
    if inputs is not None and (lacking := sorted(folders["first"].keys() - shown.keys())):
        raise InputError(f"{inputs}: no input video of {', '.join(lacking[:_LISTED])}")
    generator = random.Random(seed)
    names = sorted(folders["first"])
    generator.shuffle(names)
    sides = [index % 2 == 0 for index in range(len(names))]
    generator.shuffle(sides)
    pairs = []
    for name, first_is_left in zip(names, sides, strict=True):
        two = folders["first"][name], folders["second"][name]
        left, right = two if first_is_left else two[::-1]
        pairs.append(Pair(name, left, right, first_is_left, shown.get(name)))
    return pairs


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected videos NAME.mp4 in it")
    found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEO_TYPES]
    # The page goes to voters: nothing gets into it that does not lie in this folder itself.
    for path in found:
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: a link or no file; put a copy of the video in its place")
    if not found:
        raise InputError(f"{folder}: no videos ({', '.join(VIDEO_TYPES)}) in it")
    names = [path.stem for path in found]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{folder}: two videos are named {doubled[0]}; keep one")
    return {path.stem: path for path in found}


def study_of(pairs: Sequence[Pair]) -> str:
    """Identifies a study by its videos, their order and sides, and says nothing of the methods."""
    digest = hashlib.sha256()
    for pair in pairs:
        for path in (pair.left, pair.right):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def preference_page(pairs: Sequence[Pair]) -> str:
    """The page, with all videos inside; neither names nor methods can be read from it."""
    items = [
        {
            "left": _data_url(pair.left),
            "right": _data_url(pair.right),
            "input": None if pair.input is None else _data_url(pair.input),
        }
        for pair in pairs
    ]
    data = {"format": _FORMAT, "study": study_of(pairs), "questions": QUESTIONS, "pairs": items}
    template = files("l4gm.evaluation").joinpath("preference.html").read_text("utf-8")
    # No text of ours can end the script element early.
    return template.replace("/*DATA*/null", json.dumps(data).replace("<", "\\u003c"))


def key_of(pairs: Sequence[Pair], first: str, second: str) -> dict[str, Any]:
    """What turns votes into preferences: kept from those who vote."""
    return {
        "format": _FORMAT,
        "study": study_of(pairs),
        "first": first,
        "second": second,
        "names": [pair.name for pair in pairs],
        "first_is_left": [pair.first_is_left for pair in pairs],
    }


def count_votes(key: dict[str, Any], ballots: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Shares of votes for the first method with their intervals.

    A ballot holds, by question, one of "left", "right", "tie" or None for each pair. A tie counts
    half in the share and not at all in the sign test. The intervals take votes as independent,
    which those of one person are not quite.

    Returns:
        {"first", "second", "ballots", "questions": {question: {"votes", "first", "second", "ties",
        "share", "low", "high", "p", "text"}}}; a question nobody answered is left out.

    Raises:
        InputError: a ballot of another study or of another form.
    """
    sides = key["first_is_left"]
    tallies = {question: {"first": 0, "second": 0, "ties": 0} for question in QUESTIONS}
    for number, ballot in enumerate(ballots, 1):
        _check_ballot(ballot, key, number)
        for question, answers in ballot["answers"].items():
            for first_is_left, answer in zip(sides, answers, strict=True):
                if answer == "tie":
                    tallies[question]["ties"] += 1
                elif answer is not None:
                    winner = "first" if (answer == "left") == first_is_left else "second"
                    tallies[question][winner] += 1
    questions = {
        question: _statistics(**tally) for question, tally in tallies.items() if any(tally.values())
    }
    return {
        "first": key["first"],
        "second": key["second"],
        "ballots": len(ballots),
        "questions": questions,
    }


def _statistics(first: int, second: int, ties: int) -> dict[str, Any]:
    votes = first + second + ties
    share = share_interval(first + ties / 2, votes)
    return {
        "votes": votes,
        "first": first,
        "second": second,
        "ties": ties,
        "share": share.value,
        "low": share.low,
        "high": share.high,
        "p": sign_test(first, second),
        "text": f"{share.value:.0%} [{share.low:.0%}, {share.high:.0%}]",
    }


def _check_ballot(ballot: dict[str, Any], key: dict[str, Any], number: int) -> None:
    if not isinstance(ballot, dict) or ballot.get("study") != key["study"]:
        raise InputError(f"votes, file {number}: not votes of study {key['study']!r}")
    answers = ballot.get("answers")
    if not isinstance(answers, dict) or not set(answers) <= set(QUESTIONS):
        raise InputError(f"votes, file {number}: questions other than {', '.join(QUESTIONS)}")
    known = ("left", "right", "tie", None)
    for question, row in answers.items():
        fits = isinstance(row, list) and len(row) == len(key["names"])
        if not fits or any(answer not in known for answer in row):
            raise InputError(
                f"votes, file {number}: {question} needs left, right, tie or null for each of "
                f"{len(key['names'])} pairs"
            )


def _data_url(path: Path) -> str:
    kind = VIDEO_TYPES[path.suffix.lower()]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
