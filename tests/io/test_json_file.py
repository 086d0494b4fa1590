"""JSON of others: one line, whatever is wrong with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from l4gm.errors import InputError
from l4gm.io.json_file import parse_json, read_json


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 200_000, '{"a":' * 200_000, b"\xff", "1" * 5000, "[1,]", b"\x00"]
)
def test_what_is_none_is_one_line(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (lambda: read_json(path), lambda: parse_json(text, path)):
        with pytest.raises(InputError, match=r"a\.json") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_values_sizes_and_places(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, "x"]}')
    assert read_json(path) == {"a": [1, 2.5, "x"]}
    with pytest.raises(InputError, match="larger than the 5 bytes"):
        read_json(path, max_bytes=5)
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "b.json")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "pipe.json")
