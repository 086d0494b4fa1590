"""Damage to bytes: what disks, networks and ill will do to files. All of it from a seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

_INTEGERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63)
_FLOATS = (0.0, -1.0, 1e-45, 1e38, -1e38, 1e308, float("nan"), float("inf"), float("-inf"))
_NUMBERS = (
    *("0", "-1", "1", "1e400", "-1e308", "NaN", "Infinity", "2147483648", "9" * 30, "1" * 5000),
    *("0.5", "true", "null", '"x"', "[]", "{}", '"\\u001b[31m"', "[" * 3000),
)


def mutated(content: bytes, seed: int) -> bytes:
    """Content with one to six pieces of damage."""
    choose = random.Random(seed)
    data = bytearray(content)
    for _ in range(choose.choice((1, 1, 1, 2, 3, 6))):
        _DAMAGES[choose.randrange(len(_DAMAGES))](data, choose)
    return bytes(data)


def mutated_json(text: str, seed: int) -> str:
    """A JSON document of which some values, at any depth, are of another kind or size."""
    choose = random.Random(seed)
    document = json.loads(text)
    for _ in range(choose.choice((1, 1, 2, 4))):
        _edit(document, choose)
    return json.dumps(document)


def _edit(node: Any, choose: random.Random) -> None:
    while isinstance(node, dict | list) and node:
        key = choose.choice(list(node) if isinstance(node, dict) else range(len(node)))
        if not isinstance(node[key], dict | list) or not node[key] or choose.random() < 0.25:
            kind = choose.random()
            if kind < 0.2:
                del node[key]
            elif kind < 0.4 and isinstance(node[key], int | float):
                node[key] = node[key] * choose.choice((-1, 0, 2, 1000, 1e30))
            else:
                node[key] = choose.choice(
                    (*_INTEGERS, *_FLOATS, -1, True, None, "", "x", [], {}, [[]], [0] * 9, {"a": 1})
                )
            return
        node = node[key]


def _flip(data: bytearray, choose: random.Random) -> None:
    if data:
        data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)


def _byte(data: bytearray, choose: random.Random) -> None:
    if data:
        data[_place(data, choose)] = choose.choice((0, 1, 127, 128, 255, choose.randrange(256)))


def _number(data: bytearray, choose: random.Random) -> None:
    form = choose.choice(("<B", "<H", "<I", ">I", "<Q", "<f", ">f", "<d"))
    size = struct.calcsize(form)
    if len(data) < size:
        return
    place = min(_place(data, choose), len(data) - size)
    if form[1] in "fd":
        value: float = choose.choice(_FLOATS if form[1] == "d" else _FLOATS[:5] + _FLOATS[6:])
    else:
        value = choose.choice(_INTEGERS) % 256**size
    struct.pack_into(form, data, place, value)


def _cut(data: bytearray, choose: random.Random) -> None:
    del data[choose.randrange(len(data) + 1) :]


def _remove(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data) + 1)
    del data[start : start + choose.choice((1, 4, 64, 1000))]


def _repeat(data: bytearray, choose: random.Random) -> None:
    start = choose.randrange(len(data) + 1)
    piece = data[start : start + choose.choice((1, 16, 256))]
    data[start:start] = piece * choose.choice((1, 2, 50))


def _insert(data: bytearray, choose: random.Random) -> None:
    place = choose.randrange(len(data) + 1)
    data[place:place] = choose.randbytes(choose.choice((1, 8, 200)))


def _digits(data: bytearray, choose: random.Random) -> None:
    """A number in the text, if there is one near, becomes another."""
    start = choose.randrange(len(data) + 1)
    while start < len(data) and not 48 <= data[start] <= 57:
        start += 1
    end = start
    while end < len(data) and 48 <= data[end] <= 57:
        end += 1
    data[start:end] = choose.choice(_NUMBERS).encode()


def _place(data: bytearray, choose: random.Random) -> int:
    """Anywhere, headers more often."""
    return choose.randrange(min(len(data), choose.choice((16, 64, 512, 10**9))))


_DAMAGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    *(_flip, _flip, _byte, _byte, _number, _number, _number),
    *(_cut, _remove, _repeat, _insert, _digits, _digits),
)
