"""JSON from outside: whatever is wrong with it is one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from l4gm.errors import InputError

MAX_JSON_BYTES = 64 * 2**20


def parse_json(text: str | bytes, source: str | os.PathLike[str]) -> Any:
    """The value of a JSON text.

    Args:
        text: UTF-8 where it is bytes.
        source: where it stands, for the message.

    Raises:
        InputError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{source}: its JSON is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error})") from None


def read_json(path: str | os.PathLike[str], max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The value of a JSON file.

    Raises:
        InputError: no such file, none that can be read, larger than `max_bytes`, or as
            `parse_json`.
    """
    path = Path(path)
    if not path.is_file():  # a pipe would keep us waiting
        raise InputError(f"{path}: no such file; expected JSON")
    try:
        with path.open("rb") as stream:
            text = stream.read(max_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if len(text) > max_bytes:
        raise InputError(f"{path}: larger than the {max_bytes} bytes that such a file may have")
    return parse_json(text, path)
