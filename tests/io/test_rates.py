"""What counts as a frame rate."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from l4gm.io.rates import is_frame_rate
from l4gm.media.frames import frame_rate


@pytest.mark.parametrize("value", [0.001, 1, 29.97, 1e6, Fraction(30000, 1001), np.float32(12)])
def test_rates_that_can_be_written(value: Any) -> None:
    assert is_frame_rate(value)
    assert frame_rate(float(value)) > 0


@pytest.mark.parametrize(
    "value", [0, -3, 1e300, 1e-300, float("nan"), float("inf"), True, None, "12", [12]]
)
def test_what_is_none(value: Any) -> None:
    assert not is_frame_rate(value)
