"""What a network does that is told the pictures' alpha: white parts of the object belong to it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.model.l4gm import L4GM

FIELDS = ("means", "quats", "scales", "opacities", "colors")
SIZE = 16
BOX = slice(4, 12)


@pytest.fixture
def striped():
    """A box, the left half of which is white, in the middle of four pictures, and its alpha."""
    images = torch.ones(1, 1, 4, 3, SIZE, SIZE)
    images[..., BOX, 8:12] = 0.2
    alpha = torch.zeros(1, 1, 4, SIZE, SIZE)
    alpha[..., BOX, BOX] = 1
    return images, alpha


@pytest.fixture
def network(bundled_config):
    return L4GM(bundled_config).eval()


def same(first: Gaussians, second: Gaussians) -> bool:
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in FIELDS)


@torch.inference_mode()
def test_the_white_half_of_an_object_is_there_if_alpha_says_so(network, striped, ring):
    images, alpha = striped
    cameras = ring(size=SIZE)
    splats = SIZE // 2  # of view 0, a side

    def opacities(gaussians: Gaussians) -> tuple[Tensor, Tensor]:
        grid = gaussians.opacities[0, 0, : splats**2].view(splats, splats)[2:6]
        return grid[:, 2:4], grid[:, 4:6]  # of the white half, of the dark one

    white, dark = opacities(network(images, cameras))
    assert white.max() == 0 < dark.min()
    white, dark = opacities(network(images, cameras, alpha=alpha))
    assert min(white.min(), dark.min()) > 0


@torch.inference_mode()
def test_white_sides_bound_the_depth_if_alpha_says_so(network, ring):
    cameras = ring(size=SIZE)
    white = torch.ones(1, 1, 4, 3, SIZE, SIZE)
    alpha = torch.zeros(1, 1, 4, SIZE, SIZE)
    alpha[..., BOX, BOX] = 1
    guessed = network.prepare(white, cameras).hull
    told = network.prepare(white, cameras, alpha=alpha).hull
    center = (0, 0, slice(None), told.entry.shape[-1] // 2, told.entry.shape[-1] // 2)
    assert torch.equal(guessed.entry, guessed.middle.expand_as(guessed.entry))
    half = (told.exit - told.entry)[center] / 2
    # Half of the picture's side at the middle of the scene, whose pictures see 1.37 of it there.
    assert (half - 1.37 / 4).abs().max() < 0.08
    assert (told.entry + half[0] - told.middle)[center].abs().max() < 0.05


@torch.inference_mode()
def test_absent_views_take_the_mean_colour_of_all_of_the_object(network, ring):
    """Half black and half white is grey."""
    images = torch.ones(1, 1, 4, 3, SIZE, SIZE)
    images[..., BOX, 8:12] = 0
    alpha = torch.zeros(1, 1, 4, SIZE, SIZE)
    alpha[..., BOX, BOX] = 1
    present = torch.tensor([True, False, False, False])
    told = network(images, ring(size=SIZE), present, alpha=alpha).colors[0, 0].chunk(4)[1]
    guessed = network(images, ring(size=SIZE), present).colors[0, 0].chunk(4)[1]
    assert abs(told.median() - 0.5) < 0.1
    assert guessed.median() < 0.1


@torch.inference_mode()
def test_telling_the_guess_changes_little_and_alpha_of_absent_views_nothing(
    network, pictures, ring
):
    images, present = pictures(1, 2), torch.tensor([True, True, False, True])
    alpha = 1 - images.amin(3)
    hull = network.prepare(images, ring(), present).hull
    again = network.prepare(images, ring(), present, alpha=alpha).hull
    assert torch.equal(hull.channels(), again.channels())
    other = alpha.clone()
    other[:, :, 2] = float("nan")
    first, second = (network(images, ring(), present, alpha=each) for each in (alpha, other))
    assert same(first, second)


@torch.inference_mode()
def test_alpha_is_resized_as_the_pictures_are(network, ring):
    """Of a black object on white the guess and the truth are the same at every size."""
    shape = torch.rand(1, 1, 4, 24, 24)
    images = (1 - shape)[:, :, :, None].expand(-1, -1, -1, 3, -1, -1)
    told = network.prepare(images, ring(size=24), alpha=shape)
    guessed = network.prepare(images, ring(size=24))
    assert told.alpha.shape[-2:] == (network.config.input_size,) * 2
    torch.testing.assert_close(told.alpha, guessed.alpha)
    assert guessed.alpha_is_guess
    assert not told.alpha_is_guess


@torch.inference_mode()
def test_networks_without_rays_take_no_notice(released_config, striped, ring):
    images, alpha = striped
    model = L4GM(released_config).eval()
    assert same(model(images, ring()), model(images, ring(), alpha=alpha))


def test_alpha_of_another_shape_is_refused(network, striped, ring):
    images, alpha = striped
    for wrong in (alpha[:, :, :1], alpha[..., :8], alpha[:, :, :, None]):
        with pytest.raises(ValueError, match="alpha must be"):
            network(images, ring(), alpha=wrong)
