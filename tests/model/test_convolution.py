"""The cheaper convolutions give what the plain ones give, gradients included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from l4gm.model import convolution
from l4gm.model.convolution import PointwiseConv2d, UpsampleConv2d


def gradients(output: torch.Tensor, *wanted: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum(), wanted
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize("threshold", [0, 10**9], ids=["transposed", "plain"])
def test_upsampling_convolution(monkeypatch, size, threshold):
    monkeypatch.setattr(convolution, "MIN_POSITIONS_FOR_TRANSPOSED", threshold)
    layer = UpsampleConv2d(6).double()
    x = torch.randn(2, 6, *size, dtype=torch.float64, requires_grad=True)
    rows = x.repeat_interleave(2, -2).repeat_interleave(2, -1)
    expected = F.conv2d(rows, layer.weight, layer.bias, padding=1)
    given = layer(x)
    torch.testing.assert_close(given, expected)
    for ours, plain in zip(
        gradients(given, x, layer.weight, layer.bias),
        gradients(expected, x, layer.weight, layer.bias),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_pointwise_convolution(layout):
    layer = PointwiseConv2d(5, 7).to(memory_format=layout).double()
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    expected = F.conv2d(x, layer.weight, layer.bias)
    given = layer(x)
    torch.testing.assert_close(given, expected)
    for ours, plain in zip(
        gradients(given, x, layer.weight, layer.bias),
        gradients(expected, x, layer.weight, layer.bias),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_names_and_shapes_are_those_of_plain_convolutions():
    shapes = {name: tuple(t.shape) for name, t in UpsampleConv2d(6).state_dict().items()}
    assert shapes == {"weight": (6, 6, 3, 3), "bias": (6,)}
    shapes = {name: tuple(t.shape) for name, t in PointwiseConv2d(5, 7).state_dict().items()}
    assert shapes == {"weight": (7, 5, 1, 1), "bias": (7,)}
