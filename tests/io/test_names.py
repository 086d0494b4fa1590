"""Names of others: harmless on a terminal, short enough for a file system."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l4gm.io.names import plain_file_name, printable, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cat video.mp4", "cat video.mp4"),
        ("Katze_Ä_猫_🐈.mp4", "Katze_Ä_猫_🐈.mp4"),
        ("👩\u200d👩\u200d👧", "👩\u200d👩\u200d👧"),
        ("\x1b[31mred\n", "\\x1b[31mred\\x0a"),
        (os.fsdecode(b"not-\xff-utf8"), "not-\\xff-utf8"),
        ("exe\u202egpj", "exe\\u202egpj"),
        ("\U000e0041", "\\U000e0041"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_what_is_not_to_be_seen_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.integers(12, 200))
def test_short_names_stay_different(name: str, limit: int) -> None:
    name = name.encode("utf-8", "ignore").decode()
    short = shortened(name, limit)
    assert len(os.fsencode(short)) <= limit
    assert (short == name) == (len(os.fsencode(name)) <= limit)
    if short != name:
        assert short != shortened(f"{name}x", limit)


@given(st.text())
def test_file_names_of_visitors(name: str) -> None:
    name = plain_file_name(name)
    assert 0 < len(os.fsencode(name)) <= 100
    assert not name.startswith(".")
    assert not set(name) & set("/\\\0\n\r\x1b")
    assert plain_file_name(name) == name
