"""How much is tried, and what came of it."""

from __future__ import annotations

import os
from collections import Counter

import pytest

CASES = int(os.environ.get("L4GM_FUZZ_CASES", "40"))
SEED = int(os.environ.get("L4GM_FUZZ_SEED", "0"))

_counts: Counter[str] = Counter()


@pytest.fixture(scope="session")
def counts() -> Counter[str]:
    """How many cases ended how; shown at the end."""
    return _counts


@pytest.fixture(scope="session")
def cases() -> int:
    """Cases of a reader (L4GM_FUZZ_CASES)."""
    return CASES


@pytest.fixture(scope="session")
def first_seed() -> int:
    """L4GM_FUZZ_SEED; the same cases for the same number."""
    return SEED * 1_000_003


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _counts:
        total = sum(_counts.values())
        parts = ", ".join(f"{count} {name}" for name, count in sorted(_counts.items()))
        terminalreporter.write_line(f"fuzz: {total} cases: {parts}")
