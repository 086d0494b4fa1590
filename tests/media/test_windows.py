"""Sliding windows, against torch's pooling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from l4gm.media.windows import box_sum, dilate, erode


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 4, 7, 8, 9, 15])
@pytest.mark.parametrize("size", [(20, 33), (1, 5), (40, 16)])
def test_windows_are_those_of_pooling(radius: int, size: tuple[int, int]) -> None:
    image = torch.rand(3, *size, dtype=torch.float64)
    width = 2 * radius + 1
    padded = functional.pad(image, (radius,) * 4, value=float("-inf"))
    largest = functional.max_pool2d(padded[None], width, stride=1)[0]
    torch.testing.assert_close(dilate(image, radius), largest)
    padded = functional.pad(-image, (radius,) * 4, value=float("-inf"))
    torch.testing.assert_close(
        erode(image, radius), -functional.max_pool2d(padded[None], width, stride=1)[0]
    )
    padded = functional.pad(image, (radius,) * 4)
    expected = functional.avg_pool2d(padded[None], width, stride=1)[0] * width**2
    torch.testing.assert_close(box_sum(image, radius), expected)
