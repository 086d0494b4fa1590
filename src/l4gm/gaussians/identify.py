"""What a file holds, by its first bytes: for messages about files that are something else."""

from __future__ import annotations

import os
from pathlib import Path

_STARTS = (
    (b"ply", "a PLY file"),
    (b"glTF", "a binary glTF (.glb) file"),
    (b"NGSP", "an SPZ file"),
    (b"\x1f\x8b", "a gzip file (SPZ up to version 3 is one)"),
    (b"PK\x03\x04", "a zip file (.sog, .l4gm and .usdz are zip files)"),
    (b"PXR-USDC", "a USD file"),
    (b"#usda", "a USD text file"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"RIFF", "a WebP image or AVI video"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (b"Kaydara FBX", "an FBX model"),
    (b"BLENDER", "a Blender file"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"{", "a JSON text"),
    (b"# ", "a text (an OBJ model?)"),
    (b"v ", "an OBJ model"),
)


def what_it_is(path: str | os.PathLike[str]) -> str:
    """A few words for a message, "it is a PLY file"; "it is empty"; or "its content is unknown"."""
    with Path(path).open("rb") as stream:
        head = stream.read(64)
    if not head:
        return "it is empty"
    if head[4:8] == b"ftyp":
        return "it is an MP4 or MOV video"
    if head[8:16] == b'{"__meta' or head[8:10] == b'{"':
        return "it is a .safetensors file"
    kind = next((name for start, name in _STARTS if head.startswith(start)), None)
    return "its content is unknown" if kind is None else f"it is {kind}"
