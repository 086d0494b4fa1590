"""The 9 input channels: normalisation, resizing, rays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l4gm.geometry.rays import plucker_embedding
from l4gm.model.inputs import network_input


def colors_of(channels: Tensor) -> Tensor:
    """[n, 3, H, W] before the normalisation."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return channels[:, :3] * deviation + mean


def test_colours_are_normalised_and_rays_follow(pictures, ring):
    images = pictures(batch=2, frames=3)
    out = network_input(images, ring(), 16)
    assert out.shape == (2 * 3 * 4, 9, 16, 16)
    torch.testing.assert_close(colors_of(out), images.flatten(0, 2))
    rays = plucker_embedding(ring())
    for step in range(6):
        torch.testing.assert_close(out[4 * step : 4 * step + 4, 3:], rays)


def test_larger_images_are_halved_by_averaging_pairs(pictures, ring):
    """Bilinear at exactly half size, without antialiasing, is the mean of 2x2 pixels."""
    images = pictures(size=32)
    out = network_input(images, ring(size=32), 16)
    expected = images.unflatten(-1, (16, 2)).unflatten(-3, (16, 2)).mean((-1, -3))
    torch.testing.assert_close(colors_of(out), expected.flatten(0, 2))


def test_resizing_does_not_antialias(ring):
    """At a quarter of the size only the middle 2x2 of each 4x4 pixels counts."""
    images = torch.zeros(1, 1, 4, 3, 64, 64)
    images[..., 0::4, :] = 1  # a row that bilinear interpolation to 16 px never reads
    assert colors_of(network_input(images, ring(size=64), 16)).abs().max() < 1e-6


def test_rays_are_those_of_the_input_size_whatever_the_images(pictures, ring):
    small = network_input(pictures(), ring(size=512), 16)
    torch.testing.assert_close(small[:, 3:], plucker_embedding(ring()))


def test_a_camera_for_each_frame_may_be_given(pictures, ring):
    images = pictures(batch=2, frames=3)
    shared = network_input(images, ring(), 16)
    each = network_input(images, ring().reshape(1, 1, 4).expand(2, 3, 4), 16)
    torch.testing.assert_close(each, shared)


@pytest.mark.parametrize("wrong", ["images", "cameras"])
def test_shapes_that_do_not_fit_are_named(pictures, ring, wrong):
    images, cameras = pictures(), ring()
    if wrong == "images":
        images = images[0]
    else:
        cameras = ring(views=3)
    with pytest.raises(ValueError, match=wrong):
        network_input(images, cameras, 16)
