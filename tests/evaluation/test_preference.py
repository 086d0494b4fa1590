"""Blind comparison: nothing is given away, sides are balanced, and votes are counted right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from l4gm.cli.main import main
from l4gm.errors import InputError
from l4gm.evaluation.preference import (
    QUESTIONS,
    count_votes,
    key_of,
    make_pairs,
    preference_page,
    study_of,
)


def folder_of(root: Path, method: str, names: list[str]) -> Path:
    folder = root / method
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.mp4").write_bytes(f"{method}:{name}".encode())
    return folder


NAMES = [f"object{index}" for index in range(8)]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return folder_of(tmp_path, "ours", NAMES), folder_of(tmp_path, "theirs", NAMES)


def test_sides_are_balanced_and_both_order_and_sides_depend_on_the_seed(folders) -> None:
    pairs = make_pairs(*folders, seed=0)
    assert sorted(pair.name for pair in pairs) == NAMES
    assert Counter(pair.first_is_left for pair in pairs) == {True: 4, False: 4}
    for pair in pairs:
        first = pair.left if pair.first_is_left else pair.right
        assert first.parent.name == "ours"
        assert {pair.left.stem, pair.right.stem} == {pair.name}
    assert make_pairs(*folders, seed=0) == pairs
    orders = {tuple(pair.name for pair in make_pairs(*folders, seed=seed)) for seed in range(5)}
    sides = {tuple(p.first_is_left for p in make_pairs(*folders, seed=s)) for s in range(5)}
    assert min(len(orders), len(sides)) > 1


def test_the_page_gives_neither_names_nor_methods_away(folders) -> None:
    page = preference_page(make_pairs(*folders, seed=0))
    for word in ("ours", "theirs", *NAMES):
        assert word not in page
    assert page.count("data:video/mp4;base64,") == 16
    assert "http" not in page  # works offline
    assert all(question in page for question in QUESTIONS.values())


def ballot(key: dict, prefer: str) -> dict:
    """Answers of somebody who always prefers one method, whichever side it is on."""
    sides = [
        "left" if first_is_left == (prefer == "first") else "right"
        for first_is_left in key["first_is_left"]
    ]
    return {"study": key["study"], "answers": {question: list(sides) for question in QUESTIONS}}


def test_votes_find_their_method_on_either_side(folders) -> None:
    pairs = make_pairs(*folders, seed=3)
    key = key_of(pairs, "ours", "theirs")
    votes = ballot(key, "first")
    votes["answers"]["motion"][:3] = ["tie", "tie", None]
    result = count_votes(key, [votes, ballot(key, "first"), ballot(key, "second")])
    overall = result["questions"]["overall"]
    assert (overall["first"], overall["second"], overall["ties"]) == (16, 8, 0)
    assert overall["share"] == pytest.approx(2 / 3)
    assert overall["low"] < 2 / 3 < overall["high"]
    motion = result["questions"]["motion"]
    assert (motion["first"], motion["second"], motion["ties"]) == (13, 8, 2)
    assert motion["share"] == pytest.approx((13 + 1) / 23)


def test_wrong_votes_are_named(folders) -> None:
    pairs = make_pairs(*folders, seed=0)
    key = key_of(pairs, "ours", "theirs")
    good = ballot(key, "first")
    other = key_of(make_pairs(*folders, seed=1), "ours", "theirs")
    assert study_of(pairs) != other["study"]
    with pytest.raises(InputError, match="file 2: not votes of study"):
        count_votes(key, [good, ballot(other, "first")])
    short = {"study": key["study"], "answers": {"overall": ["left"]}}
    with pytest.raises(InputError, match="for each of 8 pairs"):
        count_votes(key, [short])
    with pytest.raises(InputError, match="questions other than"):
        count_votes(key, [{"study": key["study"], "answers": {"beauty": []}}])


def test_folders_that_do_not_match_are_named(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path, "a", ["x", "y"]), folder_of(tmp_path, "b", ["x", "z"])
    with pytest.raises(InputError, match="only one of them has y, z"):
        make_pairs(first, second, seed=0)
    with pytest.raises(InputError, match="no input video of y"):
        make_pairs(first, first, seed=0, inputs=folder_of(tmp_path, "in", ["x"]))
    (second / "x.webm").touch()
    with pytest.raises(InputError, match="two videos are named x"):
        make_pairs(second, second, seed=0)


def test_from_folders_to_statistics(folders, tmp_path: Path, capsys) -> None:
    study, result = tmp_path / "study", tmp_path / "result"
    make = ["evaluate", "preference", "--first", str(folders[0]), "--second", str(folders[1])]
    assert main([*make, "-o", str(study)]) == 0
    key = json.loads((study / "key.json").read_text())
    votes = tmp_path / "votes.json"
    votes.write_text(json.dumps(ballot(key, "second")))
    count = ["evaluate", "preference", "--key", str(study / "key.json"), "--votes", str(votes)]
    assert main([*count, "-o", str(result)]) == 0
    assert "ours: 0% [0%, 32%] of 8 votes, p = 0.00781" in capsys.readouterr().out
    assert main([*make, *count[2:], "-o", str(tmp_path / "x")]) == 2
