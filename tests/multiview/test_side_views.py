"""Our own network of views, and the generator around it."""

from __future__ import annotations

import json

import pytest
import torch

from l4gm.errors import InputError
from l4gm.multiview.side_views import (
    SideViewConfig,
    SideViewGenerator,
    SideViewNet,
    sharpened,
)

SMALL = SideViewConfig(
    size_px=32,
    model_channels=8,
    channel_mult=(1, 2),
    attention_resolutions=(2,),
    num_head_channels=8,
    norm_groups=4,
)


@pytest.fixture(scope="module")
def network() -> SideViewNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SideViewNet(SMALL).eval().requires_grad_(False)


def test_config_survives_json() -> None:
    assert SideViewConfig.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"size_px": 30}, "multiple of 8"),
        ({"patch_px": 0}, "patch_px"),
        ({"channel_mult": []}, "at least one level"),
        ({"norm_groups": 3}, "norm_groups=3"),
        ({"model_channels": "8"}, "model_channels"),
        ({"wheels": 4}, "wheels"),
    ],
)
def test_configs_that_cannot_be(changes: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        SideViewConfig.from_dict(SMALL.to_dict() | changes)


def test_three_views_with_alpha_of_each_picture_of_any_size(network: SideViewNet) -> None:
    for size in (32, 48):
        pictures = torch.rand(2, 3, size, size)
        views = network(pictures)
        assert views.shape == (2, 3, 4, size, size)
        assert 0 <= views.min() <= views.max() <= 1
        torch.testing.assert_close(views[1:], network(pictures[1:]))
    with pytest.raises(ValueError, match="multiple of 8"):
        network(torch.rand(1, 3, 30, 30))


def test_the_cameras_are_those_of_the_views(network: SideViewNet) -> None:
    """In ImageDream's world the front camera stands at +x, and azimuth 90 at +y."""
    places = network.cameras.reshape(-1, 4, 4)[:, :3, 3]
    expected = torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 0]])
    torch.testing.assert_close(places, expected, atol=1e-6, rtol=0)
    assert not network.cameras[-1].any()  # the picture's own


def test_every_view_depends_on_where_its_camera_stands(network: SideViewNet) -> None:
    picture = torch.rand(1, 3, 32, 32)
    turned = SideViewNet(SMALL).eval()
    turned.load_state_dict(network.state_dict())
    turned.cameras[:-1] = -turned.cameras[:-1]
    difference = (turned(picture) - network(picture)).abs().amax((0, 2, 3, 4))
    assert (difference > 1e-4).all()


def test_sharpened_outlines_lie_where_alpha_is_a_half() -> None:
    alpha = torch.tensor([0.0, 0.375, 0.5, 0.5625, 0.625, 1.0])
    views = torch.cat([torch.full((3, 1, 6), 0.3), alpha.reshape(1, 1, 6)])
    steep = sharpened(views)
    assert torch.equal(steep[:3], views[:3])
    torch.testing.assert_close(steep[3, 0], torch.tensor([0.0, 0, 0.5, 0.75, 1, 1]))


def test_the_first_view_is_the_picture_and_seeds_change_nothing(network: SideViewNet) -> None:
    generator = SideViewGenerator(network)
    picture = torch.rand(3, 256, 256)
    views = generator(picture, seed=1)
    assert views.shape == (4, 3, 256, 256)
    assert 0 <= views.min() <= views.max() <= 1
    assert torch.equal(views[0], picture)
    state = torch.get_rng_state()
    assert torch.equal(generator(picture, seed=2), views)
    assert torch.equal(torch.get_rng_state(), state)
    assert generator(torch.rand(3, 20, 20)).shape == (4, 3, 256, 256)
    with pytest.raises(ValueError, match=r"\[3, S, S\]"):
        generator(torch.rand(3, 20, 30))


def test_other_elevations_are_not_passed_over_in_silence(
    network: SideViewNet, caplog: pytest.LogCaptureFixture
) -> None:
    generator = SideViewGenerator(network)
    generator(torch.rand(3, 32, 32), elevation=-10.0)
    assert not caplog.records
    generator(torch.rand(3, 32, 32), elevation=20.0)
    assert "no elevation but 0: expect wrong views at 20" in caplog.text
