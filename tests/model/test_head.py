"""The 14 channels: their order, both heads' activations, the initialisation."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from l4gm.geometry.rays import pixel_rays
from l4gm.model.head import gaussians_on_rays, gaussians_xyz, to_tokens
from l4gm.model.inputs import network_input
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


@pytest.fixture
def ray_input(pictures, ring, own_config):
    return network_input(pictures(batch=2, frames=3), ring(), None, own_config.input_size)


def features_for(config, value: float = 0.0) -> torch.Tensor:
    return torch.full((2, 3, 4 * config.splat_size**2, 14), value)


def test_ray_head_puts_splats_on_their_pixels_rays(ray_input, own_config, ring):
    features = features_for(own_config)
    features[..., 0] = torch.randn(features.shape[:-1])
    g = gaussians_on_rays(features, ray_input, own_config)
    origins, directions = (r.flatten(0, 2) for r in pixel_rays(ring(size=own_config.splat_size)))
    distance = ((g.means - origins) * directions).sum(-1)
    torch.testing.assert_close(g.means, origins + directions * distance[..., None])
    torch.testing.assert_close(distance, 1.5 + 0.7 * features[..., 0].tanh())


@pytest.mark.parametrize("radius", [1.0, 1.5, 4.0])
def test_ray_head_is_centred_on_the_origin_at_any_radius(pictures, ring, own_config, radius):
    cameras = ring(radius=radius)
    inputs = network_input(pictures(), cameras, None, 16)
    g = gaussians_on_rays(torch.zeros(1, 1, 64, 14), inputs, own_config)
    position = cameras.world_from_camera[:, None, :3, 3]
    distance = (g.means.view(4, 16, 3) - position).norm(dim=-1)
    torch.testing.assert_close(distance, torch.full_like(distance, radius))


def test_ray_head_colours_splats_like_their_cells(ray_input, own_config):
    g = gaussians_on_rays(features_for(own_config), ray_input, own_config)
    cells = ray_input.colors.view(2, 3, 4, 3, 4, 4, 4, 4).mean((-1, -3))  # [.., C, h, w]
    expected = cells.permute(0, 1, 2, 4, 5, 3).reshape(2, 3, -1, 3)
    torch.testing.assert_close(g.colors, expected)


def test_ray_head_keeps_black_and_white_finite(pictures, ring, own_config):
    images = pictures().round()
    inputs = network_input(images, ring(), None, 16)
    features = torch.zeros(1, 1, 64, 14, requires_grad=True)
    g = gaussians_on_rays(features, inputs, own_config)
    g.colors.sum().backward()
    assert features.grad[..., 11:].min() > 0.02  # 2 c (1 - c) at c = 0.02


def test_ray_head_scales_grow_with_the_cell(pictures, ring, own_config):
    """At half the size each splat stands for four: twice as large, all else the same."""
    full = gaussians_on_rays(
        torch.zeros(1, 1, 64, 14), network_input(pictures(), ring(), None, 16), own_config
    )
    half = gaussians_on_rays(
        torch.zeros(1, 1, 16, 14), network_input(pictures(), ring(), None, 8), own_config
    )
    torch.testing.assert_close(half.scales[0, 0, 0], 2 * full.scales[0, 0, 0])


def test_ray_head_leaves_no_gaps_between_splats(pictures, ring, own_config):
    """However thin the network wants them: a larger picture must not show stripes."""
    features = torch.zeros(1, 1, 64, 14)
    features[..., 4:7] = -20
    inputs = network_input(pictures(), ring(), None, 16)
    g = gaussians_on_rays(features, inputs, own_config)
    cell = 2 * 1.5 * math.tan(math.radians(49.1) / 2) / own_config.splat_size
    torch.testing.assert_close(g.scales, torch.full_like(g.scales, 0.4 * cell))


def test_ray_head_starts_as_small_soft_splats(pictures, ring, own_config):
    config = replace(own_config, input_size=64)
    model = L4GM(config)
    with torch.inference_mode():
        g = model(pictures(size=64), ring(size=64))
    cell = 2 * 1.5 * math.tan(math.radians(49.1) / 2) / config.splat_size
    assert 0.25 * cell < g.scales.min()
    assert g.scales.max() < 1.0 * cell
    assert g.opacities.min() > 0.15
    assert g.opacities.max() < 0.4
    assert g.quats[..., 0].min() > 0.9
    assert g.means.norm(dim=-1).max() < 1.2
    assert model.unet.conv_out.bias.abs().max() == 0


def test_released_head_keeps_the_default_initialisation(released_config):
    torch.manual_seed(3)
    model = L4GM(released_config)
    assert model.unet.conv_out.bias.abs().max() > 0
    assert model.unet.conv_out.weight.std() > 0.05


def test_offsets_move_splats_along_their_pictures_axes(ray_input, own_config, ring):
    config = replace(own_config, ray_offset=True)
    features = features_for(config)
    plain = gaussians_on_rays(features, ray_input, config)
    without = gaussians_on_rays(features, ray_input, own_config)
    torch.testing.assert_close(plain.means, without.means)
    features[..., 1], features[..., 2] = 0.3, -0.2
    moved = gaussians_on_rays(features, ray_input, config).means - plain.means
    moved = moved.unflatten(2, (4, -1))
    right, down = ring().world_from_camera[:, :3, :2].unbind(-1)
    expected = 0.5 * (math.tanh(0.3) * right - math.tanh(0.2) * down)
    torch.testing.assert_close(moved, expected[:, None].expand_as(moved), atol=1e-6, rtol=1e-5)
