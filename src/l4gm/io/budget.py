"""What a foreign file may cost: the one place that bounds memory before anything is allocated.

A file of a kilobyte can claim a billion Gaussians, and compressed ones keep their word. Readers
work out from the header what they are about to need and ask here first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from l4gm.errors import InputError

MEMORY_VARIABLE = "L4GM_MAX_READ_GB"
MAX_FRAMES = 1_000_000  # of a sequence; so that empty ones end too
READ_BYTES_PER_GAUSSIAN = 256  # at the peak of reading one: 56 in float32, and their sources

_GB = 10**9
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Budget:
    """Bounds by size and by ratio.

    Args:
        free_bytes: what any file may need, however small it is.
        ratio: bytes in memory for each byte on disk beyond that.
    """

    free_bytes: int = 256 * 2**20
    ratio: int = 100

    def check(self, path: str | os.PathLike[str], needed: int, *, ratio: int | None = None) -> None:
        """Raise InputError if reading the file would take more memory than it may.

        Args:
            path: the file; its size on disk counts.
            needed: bytes in memory at the peak, worked out from what the file says of itself.
            ratio: instead of the budget's own, for formats that honestly compress better.
        """
        check_in_memory(path, needed)
        size = Path(path).stat().st_size
        if needed > self.free_bytes and needed > size * (ratio or self.ratio):
            raise InputError(
                f"{path}: {size} bytes that claim to need {needed / _GB:.1f} GB of memory; it is "
                "damaged or made to do harm"
            )


BUDGET = Budget()


def check_in_memory(path: str | os.PathLike[str], needed: int) -> None:
    """Raise InputError if what is read from a path takes more memory than this machine allows."""
    limit = memory_limit_bytes()
    if needed > limit:
        raise InputError(
            f"{path}: reading it needs {needed / _GB:.1f} GB of memory, {limit / _GB:.1f} are "
            f"allowed; set {MEMORY_VARIABLE} to allow more"
        )


@cache
def memory_limit_bytes() -> int:
    """Most memory that reading one file may take.

    Half of this machine's or container's, unless L4GM_MAX_READ_GB sets another.

    Raises:
        InputError: that variable is not a positive number of gigabytes.
    """
    given = os.environ.get(MEMORY_VARIABLE)
    if given is None:
        return _machine_bytes() // 2
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 < limit < 1e6:
        raise InputError(f"{MEMORY_VARIABLE} must be a positive number of gigabytes, got {given!r}")
    return int(limit * _GB)


def _machine_bytes() -> int:
    """Physical memory, or less where a container allows less; 8 GB where it cannot be known."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        found = 8 * _GB
    try:
        return min(found, int(_CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return found
