"""What the configs of all networks share: they are written as JSON and read again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from l4gm.errors import InputError

_MAX_INTEGER = 2**31
_MAX_LENGTH = 64


class PlainConfig:
    """Base of frozen dataclasses of plain values and tuples.

    Attributes:
        title: what messages call it.
    """

    title: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive JSON; inverse of `from_dict`."""
        values = asdict(self)  # type: ignore[call-overload]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """A config from `to_dict`'s values, or from a JSON file with them.

        Raises:
            InputError: names unknown or missing keys, values of another kind (1.0 is no integer),
                or what does not fit together.
        """
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            raise InputError(
                f"unknown keys in the {cls.title}: {unknown!s:.200}; known are {sorted(known)}"
            )
        if fault := kind_fault(cls, values):
            raise InputError(f"bad {cls.title}: {fault}")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"bad {cls.title}: {error}") from error


def kind_fault(cls: type, values: Mapping[str, Any]) -> str | None:
    """The first of some values for a dataclass that is of another kind than its field, in words."""
    for name, hint in get_type_hints(cls).items():
        if name in values and not _fits(values[name], hint):
            kind = hint.__name__ if isinstance(hint, type) and not get_args(hint) else hint
            return f"{name} must be {kind}, got {values[name]!r:.80}"
    return None


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, as JSON holds it, is of the kind that an annotation says."""
    origin, kinds = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, kind) for kind in kinds)
    if origin is Literal:
        return value in kinds
    if origin is dict:
        is_named = isinstance(value, dict) and all(isinstance(name, str) for name in value)
        return is_named and all(_fits(item, kinds[1]) for item in value.values())
    if origin in (tuple, list, Sequence):
        is_short_list = isinstance(value, list | tuple) and len(value) <= _MAX_LENGTH
        return is_short_list and all(_fits(item, kinds[0]) for item in value)
    if hint in (int, float) and isinstance(value, bool):
        return False
    if hint is int:
        return isinstance(value, int) and abs(value) <= _MAX_INTEGER
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    return isinstance(value, hint) if hint in (bool, str, NoneType) else True
