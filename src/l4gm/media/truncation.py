"""Whether a file of video ends before its container says it does.

Told by the container's own sizes alone: durations and counts of frames are often wrong (edit
lists, recorders, sound longer than the picture), and a whole file must not be called cut off.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_BOXES = (
    *(b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof"),
    *(b"styp", b"sidx", b"uuid", b"mfra", b"meta", b"emsg", b"prft"),
)


def is_cut_off(path: Path) -> bool:
    """Whether an MP4 or QuickTime, a Matroska or WebM, or an AVI file is cut off.

    Files of other kinds, and live recordings that state no size, are not.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[4:8] in _BOXES:
            return _boxes_cut_off(file, size)
        if head[:4] == _EBML:
            return _segment_cut_off(file, size)
        if head[:4] == b"RIFF":
            (declared,) = struct.unpack("<I", head[4:8])
            return declared not in (0, 0xFFFFFFFF) and 8 + declared > size
    return False


def _boxes_cut_off(file: BinaryIO, size: int) -> bool:
    """ISO/IEC 14496-12, 4.2: size, type, and the content that a box counts as its own."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind not in _BOXES or length == 0:
            return False
        if length == 1:
            extended = file.read(8)
            if len(extended) < 8:
                return True
            (length,) = struct.unpack(">Q", extended)
        if length < 8:
            return False
        start += length
        if start > size:
            return True
    return False


def _segment_cut_off(file: BinaryIO, size: int) -> bool:
    """RFC 8794: the header element, then the segment that holds all else."""
    file.seek(4)
    header = _read_size(file)
    if header is None:
        return False
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return False
    segment = _read_size(file)
    return segment is not None and file.tell() + segment > size


def _read_size(file: BinaryIO) -> int | None:
    """A number of variable length; None where it says "unknown" or the file ends."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = first[0] & ((1 << (8 - length)) - 1)
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    value = int.from_bytes(bytes([value]) + rest, "big")
    return None if value == (1 << 7 * length) - 1 else value
