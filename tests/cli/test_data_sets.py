"""data procedural, pack, filter, stats: from seeds to a set, one command each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = ("--clips", "3", "--size", "32", "--frames", "2", "--fixed-views", "4", "--free-views", "1")


def test_a_set_from_seeds(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    first, second = tmp_path / "first", tmp_path / "second"
    made = run("data", "procedural", "-o", first, *SMALL)
    assert made.code == 0, made.err
    assert f"{first}: 3 clips" in made.out
    again = run("data", "procedural", "-o", first, *SMALL)
    assert again.out == made.out
    run("data", "procedural", "-o", first, *SMALL, "--seed", "1").assert_bad_input("another set")
    stats = json.loads(run("data", "stats", first, "--verify", "--json").out)
    assert (stats["clips"], stats["frames"], stats["damaged"]) == (3, 3 * 2 * 5, {})
    assert "exact flow" in run("data", "stats", first).out
    assert "2 of 3 clips kept" in run("data", "filter", first, "--keep", "0.7").out
    assert "2 clips" in run("data", "pack", first, "-o", second, "--heldout-share", "0").out
    shard = second / "shard-00000.tar"
    shard.write_bytes(shard.read_bytes()[:5000])
    damaged = run("data", "stats", second, "--verify")
    assert damaged.code == 1
    assert "2 of 2 clips are damaged" in damaged.err
    assert "shard-00000.tar" in damaged.out


def test_wrong_input(run: Callable, tmp_path: Path) -> None:
    run("data", "pack", tmp_path, "-o", tmp_path / "x").assert_bad_input("no clips in it")
    run("data", "pack", "-o", tmp_path / "x").assert_bad_input("at least one folder")
    run("data", "pack", tmp_path, "-o", "x", "--heldout-share", "2").assert_bad_input("0 to 1")
    run("data", "stats", tmp_path / "no").assert_bad_input("no packed set")
    run("data", "filter", tmp_path).assert_bad_input("no packed set")
    run("data", "filter", tmp_path, "--keep", "7").assert_bad_input("--keep 7")
    run("data", "procedural", "-o", tmp_path / "x", "--clips", "0").assert_bad_input("--clips 0")
    assert not list(tmp_path.iterdir())
