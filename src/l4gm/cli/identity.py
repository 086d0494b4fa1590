"""What makes a run the same run: digests of its inputs, and how two runs differ."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l4gm.media.sequences import matching_files


def path_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, or of the names and contents of the files of a folder or a
    pattern."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for inner in sorted(path.iterdir() if path.is_dir() else matching_files(path) or ()):
        if inner.is_file() and not inner.name.startswith("."):
            digest.update(f"{inner.name}\0{path_sha256(inner)}\n".encode())
    return digest.hexdigest()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The entries that differ, in words; digests are only named."""
    parts = []
    for name in sorted(before.keys() | now.keys()):
        one, other = before.get(name), now.get(name)
        if one == other:
            continue
        if name in ("video", "views", "weights"):
            parts.append(f"another {name}" if name != "views" else "other views")
        else:
            parts.append(f"{name.replace('_', '-')} was {one}, now {other}")
    return ", ".join(parts) or "nothing"
