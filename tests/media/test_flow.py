"""Images between two images: each thing shown once, at the right place."""

from __future__ import annotations

import pytest
import torch

from l4gm.media.flow import images_between

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


def scene(shift: float, size: int = 96) -> torch.Tensor:
    """[4, S, S]: a textured disc at some place, on white, with its alpha."""
    y, x = torch.meshgrid(*[torch.arange(size) + 0.5] * 2, indexing="ij")
    u, v = x - (36 + shift), y - 48
    alpha = ((u**2 + v**2).sqrt() < 20).float()
    texture = 0.5 + 0.3 * torch.sin(u / 3) * torch.cos(v / 4)
    color = torch.stack([texture, 0.6 * texture, 1 - texture])
    return torch.cat([color * alpha + 1 - alpha, alpha[None]])


@pytest.mark.parametrize("share", [1 / 3, 0.5, 2 / 3])
def test_a_moving_disc_is_where_it_should_be(share: float) -> None:
    made = images_between(scene(0), scene(12), [share])[0]
    truth, blend = scene(12 * share), torch.lerp(scene(0), scene(12), share)
    error = (made - truth).abs().mean()
    assert error < 0.35 * (blend - truth).abs().mean()
    assert abs(float(made[3].sum() / truth[3].sum()) - 1) < 0.03


def test_nothing_is_seen_twice_where_flow_fails() -> None:
    """Two scenes that have nothing in common: the nearer one, not a mix of both."""
    first = scene(-10)
    second = 1 - scene(30)
    second[3] = scene(30)[3]
    for share, nearer in ((0.3, first), (0.7, second)):
        made = images_between(first, second, [share])[0]
        assert (made[3] - made[3].round()).abs().mean() < 0.02
        assert (made - nearer).abs().mean() < 0.1


def test_equal_images_stay_and_small_ones_are_not_searched() -> None:
    image = scene(0)
    assert torch.equal(images_between(image, image.clone(), [0.5])[0], image)
    small = torch.rand(3, 8, 8)
    assert torch.equal(images_between(small, small / 2, [0.3, 0.7])[1], small / 2)
