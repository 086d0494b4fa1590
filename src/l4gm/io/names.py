"""Names from outside: short enough for any file system, harmless on any terminal."""

from __future__ import annotations

import hashlib
import os
import unicodedata

_DIGEST_LETTERS = 8
# Control and format characters (escape sequences, newlines, marks that turn the writing
# direction) and halves of surrogate pairs (bytes of names that are not UTF-8).
_UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_JOINER = "\u200d"  # of emoji such as families; harmless


def printable(text: str) -> str:
    """Text as it may go to a terminal or into a log: what is not to be seen is escaped.

    A name's byte that is no UTF-8 becomes its code, as "\\xff".
    """
    return "".join(map(_escaped, text))


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
    if character == _JOINER or unicodedata.category(character) not in _UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds a byte that is no UTF-8
        code -= 0xDC00
    if code < 256:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
