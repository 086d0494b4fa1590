"""The 9 input channels: normalisation, resizing, rays, absent views."""

from __future__ import annotations

import pytest
import torch

from l4gm.geometry.rays import plucker_embedding
from l4gm.model.inputs import motion_since, network_input


def test_colours_are_normalised_and_rays_follow(pictures, ring):
    images = pictures(batch=2, frames=3)
    out = network_input(images, ring(), None, 16)
    assert out.channels.shape == (2 * 3 * 4, 9, 16, 16)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    back = out.channels[:, :3] * deviation + mean
    torch.testing.assert_close(back, images.flatten(0, 2))
    rays = plucker_embedding(ring())
    for step in range(6):
        torch.testing.assert_close(out.channels[4 * step : 4 * step + 4, 3:], rays)


def test_larger_images_are_halved_by_averaging_pairs(pictures, ring):
    """Bilinear at exactly half size, without antialiasing, is the mean of 2x2 pixels."""
    images = pictures(size=32)
    out = network_input(images, ring(size=32), None, 16)
    expected = images.unflatten(-1, (16, 2)).unflatten(-3, (16, 2)).mean((-1, -3))
    torch.testing.assert_close(out.colors, expected.flatten(0, 2))


def test_resizing_does_not_antialias(ring):
    """At a quarter of the size only the middle 2x2 of each 4x4 pixels counts."""
    images = torch.zeros(1, 1, 4, 3, 64, 64)
    images[..., 0::4, :] = 1  # a row that bilinear interpolation to 16 px never reads
    assert network_input(images, ring(size=64), None, 16).colors.abs().max() == 0


def test_rays_are_those_of_the_input_size_whatever_the_images(pictures, ring):
    small = network_input(pictures(), ring(size=512), None, 16)
    torch.testing.assert_close(small.channels[:, 3:], plucker_embedding(ring()))
    assert (small.cameras.width, small.cameras.height) == (16, 16)


def test_absent_views_are_zero_after_normalisation_and_keep_their_rays(pictures, ring):
    images = pictures(batch=2, frames=2)
    present = torch.tensor([[True, False, True, True], [True, True, False, False]])
    out = network_input(images, ring(), present, 16)
    full = network_input(images, ring(), None, 16)
    by_view = out.channels.view(2, 2, 4, 9, 16, 16)
    shown = full.channels.view(2, 2, 4, 9, 16, 16)
    for batch in range(2):
        for view in range(4):
            if present[batch, view]:
                assert torch.equal(by_view[batch, :, view], shown[batch, :, view])
            else:
                assert by_view[batch, :, view, :3].abs().max() == 0
                assert torch.equal(by_view[batch, :, view, 3:], shown[batch, :, view, 3:])


def test_a_camera_for_each_frame_may_be_given(pictures, ring):
    images = pictures(batch=2, frames=3)
    shared = network_input(images, ring(), None, 16)
    each = network_input(images, ring().reshape(1, 1, 4).expand(2, 3, 4), None, 16)
    torch.testing.assert_close(each.channels, shared.channels)


@pytest.mark.parametrize("wrong", ["images", "cameras", "present"])
def test_shapes_that_do_not_fit_are_named(pictures, ring, wrong):
    images, cameras, present = pictures(), ring(), torch.ones(4, dtype=torch.bool)
    if wrong == "images":
        images = images[0]
    elif wrong == "cameras":
        cameras = ring(views=3)
    else:
        present = present[:3]
    with pytest.raises(ValueError, match=wrong):
        network_input(images, cameras, present, 16)


def test_motion_is_the_front_views_change_since_the_side_views_were_taken(pictures):
    colors = pictures(batch=2, frames=3, size=8)
    motion = motion_since(colors, None, 4).unflatten(0, (2, 3, 4))
    assert motion.shape == (2, 3, 4, 3, 4, 4)
    assert (motion[:, :, 1:] == 0).all()
    assert (motion[:, 0] == 0).all()
    change = colors[1, 2, 0] - colors[1, 0, 0]
    expected = change.unflatten(1, (4, 2)).unflatten(3, (4, 2)).mean((2, 4))
    torch.testing.assert_close(motion[1, 2, 0], expected)


def test_motion_since_an_earlier_picture_of_any_size(pictures):
    colors = pictures(batch=1, frames=2, size=8)
    earlier = colors[:, 1, 0]
    motion = motion_since(colors, earlier, 4).unflatten(0, (1, 2, 4))
    assert (motion[:, 1] == 0).all()
    torch.testing.assert_close(
        motion[:, 0], -motion_since(colors, None, 4).unflatten(0, (1, 2, 4))[:, 1]
    )
    flat = torch.full((1, 3, 32, 32), 0.25)
    assert motion_since(torch.full_like(colors, 0.25), flat, 4).abs().max() < 1e-6
