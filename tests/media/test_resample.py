"""Crop and resize."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from l4gm.media.resample import Crop, crop_and_resize, resize_weights


@pytest.mark.parametrize(("side", "size"), [(64, 32), (64, 16), (48, 48), (33, 11)])
def test_whole_factors_are_the_means_of_blocks(side: int, size: int) -> None:
    image = torch.rand(4, side, side, dtype=torch.float64)
    expected = functional.interpolate(image[None], size=size, mode="area")[0]
    torch.testing.assert_close(crop_and_resize(image, Crop(0, 0, side), size), expected)


@pytest.mark.parametrize(("side", "size"), [(16, 64), (20, 33)])
def test_enlarging_is_bilinear(side: int, size: int) -> None:
    image = torch.rand(3, side, side, dtype=torch.float64)
    expected = functional.interpolate(image[None], size=size, mode="bilinear")[0]
    torch.testing.assert_close(crop_and_resize(image, Crop(0, 0, side), size), expected)


@pytest.mark.parametrize(("extent", "count"), [(100.0, 17), (33.3, 32), (7.0, 31)])
def test_every_target_pixel_is_a_mean_where_there_is_a_source(extent: float, count: int) -> None:
    weights = resize_weights(120, 5.25, extent, count)
    torch.testing.assert_close(weights.sum(1), torch.ones(count, dtype=torch.float64))
    assert (weights >= 0).all()


def test_shrinking_keeps_the_sum() -> None:
    """Area weighting loses no light: each source pixel gives as much as it covers."""
    weights = resize_weights(120, 0, 120, 37)
    torch.testing.assert_close(weights.sum(0), torch.full((120,), 37 / 120, dtype=torch.float64))


def test_crop_beyond_the_picture_is_zero() -> None:
    image = torch.ones(1, 10, 20)
    out = crop_and_resize(image, Crop(-10, -15, 40), 40)
    assert out[0].sum() == pytest.approx(200)
    assert (out[0, 15:25, 10:30] == 1).all()


def test_a_crop_is_where_it_says() -> None:
    image = torch.arange(100.0).view(1, 10, 10)
    assert torch.equal(crop_and_resize(image, Crop(3, 5, 4), 4)[0], image[0, 5:9, 3:7])
