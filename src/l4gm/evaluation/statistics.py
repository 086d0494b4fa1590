"""Intervals: of means over seeds or objects, and of shares of votes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Student's t, two-sided 95 %, by degrees of freedom 1, 2, ...; beyond the table it is within 2 %
# of the last entry and of 1.96.
_T95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_Z95 = 1.959964


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean with Student's 95 % interval; a single value has an infinite one.

    Raises:
        ValueError: no values.
    """
    count = len(values)
    if not count:
        raise ValueError("no values to average")
    mean = sum(values) / count
    if count == 1:
        return Interval(mean, -math.inf, math.inf)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    quantile = _T95[count - 2] if count - 2 < len(_T95) else _Z95
    half = quantile * deviation / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)


def share_interval(successes: float, total: int) -> Interval:
    """Share of votes with Wilson's 95 % interval.

    Args:
        successes: votes for; a tie counts half.
        total: all votes, at least 1.
    """
    if total < 1:
        raise ValueError("no votes")
    share = successes / total
    scale = 1 + _Z95**2 / total
    middle = (share + _Z95**2 / (2 * total)) / scale
    half = _Z95 / scale * math.sqrt(share * (1 - share) / total + _Z95**2 / (4 * total**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def sign_test(first: int, second: int) -> float:
    """Two-sided exact p of so unequal a division of votes if both were equally good; ties aside."""
    total, most = first + second, max(first, second)
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(most, total + 1)) / 2**total
    return min(1.0, 2 * tail)
