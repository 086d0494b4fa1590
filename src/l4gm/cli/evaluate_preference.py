"""`l4gm evaluate preference`: a blind comparison of two methods by people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from l4gm.cli.usage import CommonOptions, UsageError
from l4gm.errors import InputError
from l4gm.io.json_file import read_json

EXAMPLES = """
l4gm evaluate preference --first out/ours --second out/other --inputs videos -o out/study
l4gm evaluate preference --key out/study/key.json --votes a.json b.json -o out/study/result
"""

PAGE_NAME, KEY_NAME, RESULT_NAME = "vote.html", "key.json", "preference.json"


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Either two folders of videos, to make a page, or a key and votes, to count them."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder to write: vote.html and key.json, or preference.json."""
    first: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Videos of one method, NAME.mp4, .webm or .gif; the folder's name is the method's."""
    second: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Videos of the other, by the same names."""
    inputs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Input videos by the same names, to be shown beside them."""
    seed: int = 0
    """Seed of order and sides."""
    key: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """key.json of the study whose votes are counted."""
    votes: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE")] = ()
    """Files that voters saved."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an earlier result."""


def run(options: Options) -> None:
    """Make the page, or count votes."""
    making = options.first is not None and options.second is not None
    counting = options.key is not None and bool(options.votes)
    if making == counting:
        raise UsageError("give --first and --second to make a page, or --key and --votes to count")
    if making:
        _make(options)
    else:
        _count(options)


def _make(options: Options) -> None:
    from l4gm.cli.output_folder import output_folder, write_report
    from l4gm.evaluation.preference import key_of, make_pairs, preference_page

    assert options.first is not None
    assert options.second is not None
    first, second = options.first.resolve().name, options.second.resolve().name
    if first == second:
        raise UsageError(f"both folders are named {first!r}; methods are told apart by their names")
    pairs = make_pairs(options.first, options.second, options.seed, options.inputs)
    key = key_of(pairs, first, second)
    with output_folder(options.out, overwrite=options.overwrite) as folder:
        (folder / PAGE_NAME).write_text(preference_page(pairs), encoding="utf-8")
        (folder / KEY_NAME).write_text(json.dumps(key, indent=1) + "\n")
        write_report(folder, {"study": key["study"]})
    print(f"{options.out / PAGE_NAME}: send it to voters; keep {KEY_NAME} from them")


def _count(options: Options) -> None:
    from l4gm.cli.output_folder import output_folder, write_report
    from l4gm.evaluation.preference import QUESTIONS, count_votes

    assert options.key is not None
    key = _read(options.key)
    if not {"study", "names", "first_is_left", "first", "second"} <= set(key):
        raise InputError(f"{options.key}: not the key of a study; it lies beside {PAGE_NAME}")
    result = count_votes(key, [_read(path) for path in options.votes])
    with output_folder(options.out, overwrite=options.overwrite) as folder:
        (folder / RESULT_NAME).write_text(json.dumps(result, indent=1) + "\n")
        write_report(folder, result)
    for question, found in result["questions"].items():
        print(
            f"{QUESTIONS[question]} {result['first']}: {found['text']} of {found['votes']} votes, "
            f"p = {found['p']:.3g}"
        )
    print(f"{options.out / RESULT_NAME}: for l4gm evaluate report --preference")


def _read(path: Path) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected a JSON object, as the page saves it")
    return values
