"""Safetensors files whose bytes are the same for the same content."""

from __future__ import annotations

import json
from pathlib import Path


def sort_header(path: Path) -> None:
    """Put the entries of a safetensors file's header, and its metadata, in order.

    The library writes metadata in the order of a hash table that differs from run to run. The
    header keeps its length, and nothing else in the file moves.
    """
    with path.open("r+b") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        if "__metadata__" in header:
            header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) <= length:  # else the library escapes otherwise; then it stays as it is
            stream.seek(8)
            stream.write(text.ljust(length))
