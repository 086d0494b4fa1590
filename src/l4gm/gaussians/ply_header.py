"""The sizes that a PLY's header claims, checked before anything is allocated or looped over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from l4gm.errors import InputError
from l4gm.io.budget import BUDGET, READ_BYTES_PER_GAUSSIAN

_MAX_HEADER_BYTES = 1 << 16
_MAX_LIST_ROWS = 1_000_000  # read one by one; no set of Gaussians has any
_ASCII_BYTES = 2  # of the shortest value: a digit and what parts it from the next
_TYPE_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64"), 8),
}


@dataclass
class _Element:
    """What a header says of an element: rows, bytes a row has at least, whether lists are in it."""

    count: int
    row_bytes: int = 0
    has_lists: bool = False


def check_ply_header(path: Path) -> None:
    """Raise InputError if a PLY claims more than its file can hold, or more than may be read.

    Anything else that is wrong with the header is left to the parser.
    """
    with path.open("rb") as stream:
        head = stream.read(_MAX_HEADER_BYTES)
    text, end, _ = head.partition(b"end_header")
    if not end:
        raise InputError(
            f"{path}: the PLY is damaged or cut off (no end_header in its first "
            f"{_MAX_HEADER_BYTES} bytes); get it anew"
        )
    elements = _elements(text.decode("ascii", errors="replace").split("\n"), path)
    size = path.stat().st_size
    claimed = sum(element.count * max(element.row_bytes, 1) for element in elements.values())
    if claimed > size:
        raise InputError(
            f"{path}: the PLY is damaged or cut off ({size} bytes, its header says at least "
            f"{claimed}); get it anew"
        )
    if any(each.has_lists and each.count > _MAX_LIST_ROWS for each in elements.values()):
        raise InputError(f"{path}: more than {_MAX_LIST_ROWS} lists; is it a mesh?")
    vertex = elements.get("vertex", _Element(0))
    BUDGET.check(path, claimed + vertex.count * READ_BYTES_PER_GAUSSIAN)


def _elements(lines: list[str], path: Path) -> dict[str, _Element]:
    """By name, what the header says of each element."""
    is_ascii = False
    elements: dict[str, _Element] = {}
    current = _Element(0)
    for words in map(str.split, lines):
        match words:
            case ["format", kind, *_]:
                is_ascii = kind == "ascii"
            case ["element", name, count]:
                if not (count.isascii() and count.isdigit() and len(count) < 16):
                    raise InputError(f"{path}: the PLY is damaged (element {name:.40} {count:.40})")
                current = elements[name] = _Element(int(count))
            case ["property", "list", kind, _, _]:
                current.row_bytes += _ASCII_BYTES if is_ascii else _TYPE_BYTES.get(kind, 1)
                current.has_lists = True
            case ["property", kind, _]:
                current.row_bytes += _ASCII_BYTES if is_ascii else _TYPE_BYTES.get(kind, 1)
    return elements
