"""What must be known and done to a glTF file before Blender's importer gets it.

Runs inside Blender's Python: only the standard library.
"""

from __future__ import annotations

import json
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from l4gm.datagen.farm_serve import RefusalError

GLTF_SUFFIXES = (".glb", ".gltf")
GLB_MAGIC, JSON_CHUNK = 0x46546C67, 0x4E4F534A
MAX_JSON_BYTES = 1 << 28


@dataclass(frozen=True)
class Gltf:
    """The JSON of a glTF file, and where in a .glb what follows it begins."""

    document: dict[str, Any]
    rest: int | None


def read_gltf(path: Path) -> Gltf:
    """Parse what is needed to list animations and cut them out.

    Raises:
        RefusalError: it is no glTF 2.0, is cut off, or needs files that are not there.
    """
    rest = None
    with path.open("rb") as file:
        head = file.read(20)
        if head[:4] == b"glTF":
            if len(head) < 20:
                raise RefusalError("unreadable", "cut off in its header")
            _, version, length, size, kind = struct.unpack("<5I", head)
            if version != 2 or kind != JSON_CHUNK:
                raise RefusalError("unreadable", f"glTF version {version}; expected 2")
            if length > path.stat().st_size:
                raise RefusalError(
                    "unreadable", f"cut off: {path.stat().st_size} of {length} bytes"
                )
            rest = 20 + size
        else:
            size = path.stat().st_size
            file.seek(0)
        if size > MAX_JSON_BYTES:
            raise RefusalError("unreadable", f"{size} bytes of JSON")
        text = file.read(size)
    try:
        document = json.loads(text)
        is_gltf = document["asset"]["version"].startswith("2.")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RefusalError("unreadable", f"not glTF 2.0 ({type(error).__name__})") from error
    if not is_gltf:
        raise RefusalError("unreadable", f"glTF version {document['asset']['version']}; expected 2")
    for uri in _external_files(document):
        inside = (path.parent / unquote(uri)).resolve()
        if "://" in uri or not inside.is_relative_to(path.parent.resolve()):
            raise RefusalError("unreadable", f"refers to {uri}, outside its folder")
        if not inside.is_file():
            raise RefusalError("missing file", uri)
    return Gltf(document, rest)


def _external_files(document: dict[str, Any]) -> list[str]:
    entries = [*document.get("buffers", []), *document.get("images", [])]
    uris = [entry["uri"] for entry in entries if isinstance(entry, dict) and "uri" in entry]
    return [uri for uri in uris if not uri.startswith("data:")]


def gltf_animations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Names, and seconds up to the last key (None where the file does not say)."""
    found: list[dict[str, Any]] = []
    try:
        for index, animation in enumerate(document.get("animations", [])):
            last = [
                document["accessors"][sampler["input"]].get("max", [None])[0]
                for sampler in animation["samplers"]
            ]
            known = last and None not in last
            found.append(
                {
                    "name": str(animation.get("name") or f"animation {index}"),
                    "seconds": float(max(last)) if known else None,
                }
            )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise RefusalError("unreadable", f"malformed animation ({error!r})") from error
    return found


def write_single_animation(path: Path, animation: int, target: Path) -> None:
    """Copy a glTF file, leaving out all animations but one."""
    gltf = read_gltf(path)
    document = gltf.document
    document["animations"] = [document["animations"][animation]]
    for entry in [*document.get("buffers", []), *document.get("images", [])]:
        if not entry.get("uri", "data:").startswith("data:"):
            entry["uri"] = quote(str((path.parent / unquote(entry["uri"])).resolve()))
    text = json.dumps(document).encode()
    if gltf.rest is None:
        target.write_bytes(text)
        return
    text += b" " * (-len(text) % 4)
    with path.open("rb") as source, target.open("wb") as copy:
        source.seek(8)
        (length,) = struct.unpack("<I", source.read(4))
        total = 20 + len(text) + length - gltf.rest
        copy.write(struct.pack("<5I", GLB_MAGIC, 2, total, len(text), JSON_CHUNK) + text)
        source.seek(gltf.rest)
        shutil.copyfileobj(source, copy)
