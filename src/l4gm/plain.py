"""What the configs of all networks share: they are written as JSON and read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar, Self

from l4gm.errors import InputError


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
            InputError: names unknown or missing keys, or what does not fit together.
        """
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(set(values) - known):
            raise InputError(
                f"unknown keys in the {cls.title}: {unknown}; known are {sorted(known)}"
            )
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise InputError(f"bad {cls.title}: {error}") from error
