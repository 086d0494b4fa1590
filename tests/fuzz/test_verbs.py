"""Damaged files through the command line: done, or one line and nothing left behind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from l4gm.cli.main import main
from l4gm.cli.view import player_page
from l4gm.errors import InputError

from .mutations import mutated
from .readers import READERS

ASSETS = [r for r in READERS if r.name in ("a.ply", "a.safetensors", "a.l4gm", "a.spz", "a.sog")]
VIDEOS = [r for r in READERS if r.name in ("a.mp4", "a.webm", "moving.gif", "moving.webp", "a.png")]
VERBS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "ASSET"),
    "page": ("inspect", "ASSET", "--html", "out.html"),
    "export": ("export", "ASSET", "--format", "html", "-o", "out.html"),
    "small": ("export", "ASSET", "--format", "l4gm", "-o", "out.l4gm"),
    "frames": ("export", "ASSET", "--format", "ply", "-o", "out"),
    "render": ("render", "ASSET", "-o", "out.gif", "--size", "16", "--frames", "1"),
}
RECONSTRUCT = (
    *("reconstruct", "ASSET", "-o", "out", "--max-frames", "2"),
    *("--no-matting", "--orbit-size", "16", "--device", "cpu", "--model"),
)


def outcome(
    arguments: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """How a command ends ("done", "refused" or "faulty"), and what is wrong about it."""
    before = {path.name for path in folder.iterdir()}
    capsys.readouterr()
    code = main(list(arguments))
    err = capsys.readouterr().err
    errors = [line for line in err.splitlines() if line.startswith("l4gm: error: ")]
    if code == 0:
        return "done", ""
    if code != 2 or len(errors) != 1 or "bug" in errors[0] or "Traceback" in err:
        return "faulty", f"{code}: {err[-300:]}"
    left = {path.name for path in folder.iterdir()} - before
    return ("faulty", f"left {left}") if left - {"out"} else ("refused", "")


def attempts(
    reader_index: int,
    commands: list[tuple[str, ...]],
    seeds: range,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    counts: Counter[str],
) -> list[str]:
    """Every command on as many damaged files; what went wrong."""
    reader = [*ASSETS, *VIDEOS][reader_index]
    path = folder / reader.name
    reader.make(path)
    content = path.read_bytes()
    faults = []
    # First each command on the good file: it must be the damage that they refuse.
    for seed in [*range(-len(commands), 0), *seeds]:
        path.write_bytes(content if seed < 0 else mutated(content, seed))
        arguments = commands[seed % len(commands)]
        arguments = tuple(path.name if word == "ASSET" else word for word in arguments)
        found, fault = outcome(arguments, folder, capsys)
        counts[found] += 1
        if fault or (seed < 0 and found != "done"):
            faults.append(f"seed {seed}: {' '.join(arguments)}: {found} {fault}")
        for leftover in folder.glob("out*"):
            leftover.rename(folder.parent / f"{reader.name}-{seed}-{leftover.name}")
    return faults


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("index", range(len(ASSETS)), ids=[r.name for r in ASSETS])
def test_damaged_assets(
    index: int,
    tmp_path: Path,
    cases: int,
    first_seed: int,
    counts: Counter[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    seeds = range(first_seed, first_seed + cases)
    assert not attempts(index, list(VERBS.values()), seeds, folder, capsys, counts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("index", range(len(VIDEOS)), ids=[r.name for r in VIDEOS])
def test_damaged_videos(
    index: int,
    tmp_path: Path,
    video_model: Path,
    cases: int,
    first_seed: int,
    counts: Counter[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    seeds = range(first_seed, first_seed + max(cases // 8, 2))
    command = (*RECONSTRUCT, str(video_model))
    assert not attempts(len(ASSETS) + index, [command], seeds, folder, capsys, counts)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_pages_are_not_served(tmp_path: Path, seed: int) -> None:
    page = tmp_path / "a.html"
    page.write_bytes(mutated(b"<!DOCTYPE html><p>no page of ours</p>" * 9, seed))
    with pytest.raises(InputError, match="not a page that l4gm made"):
        player_page(page, None)
