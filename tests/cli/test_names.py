"""Names from a hostile or an unusual world: they work, or are one line before any computing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from l4gm.files import save
from l4gm.gaussians.types import GaussianSequence

SMALL = ("--orbit-size", "16", "--device", "cpu", "--max-frames", "1")

REFUSED = {
    "escape": "cat\x1b[2J\x1b]0;owned\x07",
    "newline": "cat\nl4gm: error: none",
    "carriage return": "cat\rl4gm",
    "not UTF-8": os.fsdecode(b"cat\xff\xfe"),
    "C1": "cat\x9b31m",
    "long": "x" * 256,
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("verb", ["reconstruct", "reconstruct -o", "inspect", "export", "render"])
def test_refused_at_once(run: Callable, verb: str, name: str, tmp_path: Path) -> None:
    arguments = {
        "reconstruct": (name,),
        "reconstruct -o": ("cat.mp4", "-o", tmp_path / name),
        "inspect": (name,),
        "export": (name, "--format", "ply", "-o", tmp_path / "a.ply"),
        "render": ("a.ply", "-o", tmp_path / name),
    }[verb]
    outcome = run(verb.split()[0], *arguments)
    outcome.assert_bad_input("give a shorter one" if len(name) > 255 else "rename it")
    assert len(outcome.err) < 500
    assert outcome.err.isprintable() or outcome.err.strip("\n").isprintable()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("verb", ["\x1b[31mred", "a\nb"])
def test_verbs_and_options_too(run: Callable, verb: str) -> None:
    for arguments in ((verb,), ("inspect", "a.ply", f"--{verb}"), ("inspect", "a.ply", verb)):
        outcome = run(*arguments)
        outcome.assert_bad_input()
        assert outcome.err.strip("\n").isprintable()


@pytest.mark.parametrize(
    "name",
    [
        "x" * 252 + ".gl",
        "🐈" * 60,
        "👩\u200d👩\u200d👧 猫 Äöü",
        "a'b\"c $(id) `id` %s {x} [red]",
        "-.mp4",
    ],
    ids=["252 bytes", "60 emoji", "families", "quotes", "dash"],
)
def test_unusual_names_work(
    run: Callable, tmp_path: Path, video_model: Path, make_video: Callable, name: str
) -> None:
    video = make_video(tmp_path / "video.mp4", 1).rename(tmp_path / name)
    arguments = ("reconstruct", video, "--model", video_model, *SMALL)
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        outcome = run(*arguments)
        assert outcome.code == 0, outcome.err
        (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
        assert folder.name.endswith("_4d")
        report = json.loads((folder / "report.json").read_text())
        assert report["settings"]["video"] == str(video)
        assert run("inspect", folder).code == 0
    finally:
        os.chdir(before)


def test_messages_of_names_inside_files_are_printable(
    run: Callable, tmp_path: Path, sequence: GaussianSequence
) -> None:
    """Members of an archive have whatever names their maker wants."""
    from zipfile import ZipFile

    save(sequence, tmp_path / "a.l4gm")
    with ZipFile(tmp_path / "a.l4gm") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    index = members["index.json"].decode().replace("l4gm-compact", "\\u001b[31m\\nred")
    with ZipFile(tmp_path / "b.l4gm", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, index if name == "index.json" else content)
    outcome = run("inspect", tmp_path / "b.l4gm")
    outcome.assert_bad_input()
    assert outcome.err.strip("\n").isprintable()


def test_a_terminal_without_these_letters(tmp_path: Path, sequence: GaussianSequence) -> None:
    save(sequence, tmp_path / "猫.l4gm")
    done = subprocess.run(
        [sys.executable, "-m", "l4gm", "inspect", str(tmp_path / "猫.l4gm")],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rb"\u732b.l4gm" in done.stdout
