"""Display values and linear light, both in [0, 1] (IEC 61966-2-1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def srgb_encoded(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear light as display values; what lies outside [0, 1] is clipped."""
    linear = np.clip(linear, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_decoded(display: NDArray[Any]) -> NDArray[Any]:
    """Display values as linear light; what lies outside [0, 1] is clipped."""
    display = np.clip(display, 0.0, 1.0)
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
