"""Winograd's convolution gives what the definition gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from l4gm.model import convolution, winograd
from l4gm.model.convolution import Conv3x3


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (8, 3), (13, 16)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_equals_the_definition(size, with_bias):
    x = torch.randn(3, 5, *size, dtype=torch.float64)
    weight = torch.randn(7, 5, 3, 3, dtype=torch.float64)
    bias = torch.randn(7, dtype=torch.float64) if with_bias else None
    torch.testing.assert_close(
        winograd.conv3x3(x, weight, bias), F.conv2d(x, weight, bias, padding=1)
    )


def test_groups_of_maps_change_nothing(monkeypatch):
    x = torch.randn(5, 6, 9, 9, dtype=torch.float64)
    weight = torch.randn(4, 6, 3, 3, dtype=torch.float64)
    whole = winograd.conv3x3(x, weight, None)
    monkeypatch.setattr(winograd, "MAX_WORKSPACE_NUMBERS", 1)
    torch.testing.assert_close(winograd.conv3x3(x, weight, None), whole)


def test_single_precision_is_nearly_exact():
    x = torch.randn(2, 256, 16, 16).to(memory_format=torch.channels_last)
    weight = (torch.randn(256, 256, 3, 3) / 48).to(memory_format=torch.channels_last)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    given = winograd.conv3x3(x, weight, None)
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert (given - exact).norm() / exact.norm() < 4e-6


@pytest.mark.parametrize(
    ("channels", "pixels", "gradients", "dtype", "expected"),
    [
        (8, 64, False, torch.float32, True),
        (4, 64, False, torch.float32, False),
        (8, 63, False, torch.float32, False),
        (8, 64, True, torch.float32, False),
        (8, 64, False, torch.float64, False),
    ],
)
def test_used_only_where_it_was_measured(monkeypatch, channels, pixels, gradients, dtype, expected):
    monkeypatch.setattr(convolution, "MIN_CHANNELS_FOR_WINOGRAD", 8)
    monkeypatch.setattr(convolution, "MIN_PIXELS_FOR_WINOGRAD", 64)
    used = []

    def watched(x, weight, bias):
        used.append(True)
        return winograd_conv3x3(x, weight, bias)

    winograd_conv3x3 = winograd.conv3x3
    monkeypatch.setattr(winograd, "conv3x3", watched)
    layer = Conv3x3(channels, 8).to(dtype)
    x = torch.randn(1, channels, 1, pixels, dtype=dtype)
    with torch.set_grad_enabled(gradients):
        given = layer(x)
    expected_values = F.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(given, expected_values, rtol=1e-4, atol=1e-5)
    assert bool(used) is expected
