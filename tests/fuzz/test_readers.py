"""Damaged files: every reader reads or refuses them in one line, in bounded time and memory."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from l4gm.errors import InputError

from .mutations import mutated, mutated_json
from .readers import READERS, Reader

SECONDS = 10  # of processor time, of a case
MAX_EXTRA_BYTES = 700 * 2**20  # beyond what a process needs by itself


class TooSlowError(Exception):
    """A case took longer than `SECONDS`."""


@contextmanager
def time_limit() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def attempt(reader: Reader, path: Path) -> str:
    """How reading ends: "read", "refused", or what is wrong about it."""
    try:
        with time_limit():
            reader.read(path)
    except InputError as error:
        text = str(error)
        if "\n" in text or len(text) > 2000:
            return f"a message of {len(text)} letters in {len(text.splitlines())} lines"
        return "refused"
    except TooSlowError:
        return f"longer than {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return "read"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS, ids=[reader.name for reader in READERS])
def test_damaged_files(
    reader: Reader, tmp_path: Path, cases: int, first_seed: int, counts: Counter[str]
) -> None:
    good = tmp_path / "good" / reader.name
    good.parent.mkdir()
    reader.make(good)
    assert attempt(reader, good) == "read"
    content = (good / reader.target).read_bytes()
    is_json = (reader.target or reader.name).endswith(".json")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faults = {}
    path = tmp_path / reader.name
    if reader.target:
        shutil.copytree(good, path)
    for seed in range(first_seed, first_seed + max(cases // reader.cost, 3)):
        if is_json and seed % 2:
            damaged = mutated_json(content.decode(), seed).encode()
        else:
            damaged = mutated(content, seed)
        (path / reader.target).write_bytes(damaged)
        outcome = attempt(reader, path)
        counts[outcome if outcome in ("read", "refused") else "faulty"] += 1
        if outcome not in ("read", "refused"):
            faults[seed] = outcome
    extra = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert not faults, "\n".join(f"seed {seed}: {fault}" for seed, fault in faults.items())
    assert extra < MAX_EXTRA_BYTES


def test_the_damage_itself_is_the_same_for_a_seed() -> None:
    content = bytes(range(256)) * 8
    assert mutated(content, 5) == mutated(content, 5) != mutated(content, 6)
    assert sum(mutated(content, seed) != content for seed in range(100)) > 95


def test_a_case_that_never_ends_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(path: Path) -> None:
        began = time.process_time()
        while time.process_time() - began < 5:
            pass

    monkeypatch.setattr(f"{__name__}.SECONDS", 0.05)
    endless = Reader(name="a", make=lambda path: None, read=busy)
    assert "longer than" in attempt(endless, tmp_path)
    broken = Reader(name="a", make=lambda path: None, read=lambda path: {}["x"])
    assert attempt(broken, tmp_path) == "KeyError: 'x'"
