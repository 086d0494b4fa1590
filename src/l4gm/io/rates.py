"""Frame rates: which numbers are one, wherever they come from."""

from __future__ import annotations

from numbers import Real
from typing import Any

MIN_FPS, MAX_FPS = 1e-3, 1e6  # what every video container can say
FPS_RANGE = f"a number of frames per second from {MIN_FPS:g} to {MAX_FPS:g}"


def is_frame_rate(value: Any) -> bool:
    """Whether a value from a file, an option or a caller is a usable number of frames a second."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and bool(MIN_FPS <= value <= MAX_FPS)
