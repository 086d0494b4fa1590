"""Names from outside: short enough for any file system, harmless on any terminal."""

from __future__ import annotations

import hashlib
import os
import unicodedata

_DIGEST_LETTERS = 8
# Control and format characters (escape sequences, newlines, marks that turn the writing
# direction) and halves of surrogate pairs (bytes of names that are not UTF-8).
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_REFUSED_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # of letters, and of emoji such as families; harmless
_MAX_NAME_BYTES = 255  # of every file system in use
_MAX_PATH_BYTES = 4095


def printable(text: str) -> str:
    """Text as it may go to a terminal or into a log: what is not to be seen is escaped.

    A name's byte that is no UTF-8 becomes its code, as "\\xff".
    """
    return "".join(map(_escaped, text))


def name_fault(path: str) -> str | None:
    """Why a path cannot be used, in words; None if it can.

    Control characters and bytes that are not UTF-8 are refused in what the command line names:
    libraries, reports and pages cannot hold them.
    """
    if any(unicodedata.category(character) in _REFUSED_CATEGORIES for character in path):
        return "it holds control characters or is not UTF-8; rename it"
    if len(path.encode()) > _MAX_PATH_BYTES or any(
        len(part.encode()) > _MAX_NAME_BYTES for part in path.split("/")
    ):
        return f"a name in it has more than {_MAX_NAME_BYTES} bytes; give a shorter one"
    return None


def shortened(name: str, limit_bytes: int) -> str:
    """A file name, or part of one, of at most so many bytes.

    A longer one is cut between characters and gets a digest of the whole, so that different names
    stay different.
    """
    encoded = os.fsencode(name)
    if len(encoded) <= limit_bytes:
        return name
    digest = hashlib.sha256(encoded).hexdigest()[:_DIGEST_LETTERS]
    room = limit_bytes - len(digest) - 1
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return f"{name}-{digest}"


def plain_file_name(name: str, limit_bytes: int = 100) -> str:
    """A file name made of somebody's text: no folders, no hidden file, nothing that is not seen.

    Args:
        name: what somebody says a file is called.
        limit_bytes: of the result; the suffix is kept where it is a usual one.
    """
    name = "".join(c for c in name.replace("\\", "/").split("/")[-1] if _escaped(c) == c)
    stem, dot, suffix = name.strip(". ").rpartition(".")
    if not dot or not suffix.isalnum() or len(os.fsencode(suffix)) > 10:
        stem, suffix = f"{stem}{dot}{suffix}", ""
    stem = shortened(stem.strip(". ") or "file", limit_bytes - len(suffix) - 1)
    return f"{stem}.{suffix}" if suffix else stem


def _escaped(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        code -= 0xDC00
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
