"""The 14 channels: their order, activations, the initialisation."""

from __future__ import annotations

import math

import pytest
import torch

from l4gm.model.head import gaussians_xyz, to_tokens
from l4gm.model.l4gm import L4GM


def test_channels_are_means_opacity_scales_quats_colors():
    features = torch.zeros(1, 1, 1, 14)
    features[..., :3] = torch.tensor([0.5, -2.0, 2.0])
    features[..., 3] = math.log(3)
    features[..., 4:7] = torch.tensor([0.0, -50.0, 50.0])
    features[..., 7:11] = torch.tensor([3.0, 0.0, 4.0, 0.0])
    features[..., 11:] = torch.tensor([0.0, 9.0, -9.0])
    g = gaussians_xyz(features)
    torch.testing.assert_close(g.means[0, 0, 0], torch.tensor([0.5, -1.0, 1.0]))
    assert g.opacities[0, 0, 0].item() == pytest.approx(0.75)
    torch.testing.assert_close(g.scales[0, 0, 0], torch.tensor([0.1 * math.log(2), 0.0, 5.0]))
    torch.testing.assert_close(g.quats[0, 0, 0], torch.tensor([0.6, 0.0, 0.8, 0.0]))
    torch.testing.assert_close(g.colors[0, 0, 0], torch.tensor([0.5, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_tokens_are_view_major_then_row_then_column():
    number = torch.arange(2 * 3 * 4 * 2 * 5).float().view(2 * 3 * 4, 1, 2, 5)  # B T V, C, h, w
    tokens = to_tokens(number, batch=2, frames=3)
    assert tokens.shape == (2, 3, 4 * 2 * 5, 1)
    assert torch.equal(tokens.flatten(), number.flatten())


def test_the_network_keeps_the_default_initialisation(released_config):
    torch.manual_seed(3)
    model = L4GM(released_config)
    assert model.unet.conv_out.bias.abs().max() > 0
    assert model.unet.conv_out.weight.std() > 0.05
