"""What numbers on the command line may be, by the name of the option, the same in every verb."""

from __future__ import annotations

import math

from l4gm.io.rates import MAX_FPS, MIN_FPS

_SHARE = (0.0, 1.0)
_RANGES: dict[str, tuple[float, float]] = {
    "azimuth": (-36_000, 36_000),
    "chunk_frames": (1, 4096),
    "climb": (-360, 360),
    "clips": (0, 10**9),
    "connections": (1, 64),
    "data_threads": (1, 1024),
    "elevation": (-90, 90),
    "fps": (MIN_FPS, MAX_FPS),
    "frames": (1, 10**6),
    "heldout_share": _SHARE,
    "keep": _SHARE,
    "max_frames": (1, 10**9),
    "max_upload_mb": (0.001, 10**6),
    "micro_batches": (1, 10**6),
    "orbit_size": (1, 4096),
    "port": (0, 65535),
    "repeats": (1, 10**6),
    "scale": (1e-9, 1e9),
    "seed": (0, 2**63 - 1),
    "shard_mb": (1e-6, 10**9),
    "size": (1, 8192),
    "supersampling": (1, 64),
    "threads": (1, 4096),
    "true_views": _SHARE,
    "workers": (0, 4096),
}
_ANY = (-(10.0**15), 10.0**15)


def range_fault(name: str, value: float) -> str | None:
    """What is wrong with the number of an option, in words; None if it is within its range."""
    low, high = _RANGES.get(name, _ANY)
    if low <= value <= high:
        return None
    if not math.isfinite(value) and name not in _RANGES:
        return "expected a finite number"
    if value <= 0 < low:
        return f"expected a number above 0, at most {_text(high)}"
    return f"expected {_text(low)} to {_text(high)}"


def _text(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"
