"""The reference against closed forms and numerical derivatives."""

from __future__ import annotations

import math

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.render import render

FOCAL = 40.0


def _front_camera(
    width: int = 15, height: int = 15, near: float = 0.5, far: float = 9.0
) -> Cameras:
    """At the origin, looking along +z of the world, principal point on a pixel centre."""
    intrinsics = torch.tensor(
        [[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]], dtype=torch.float64
    )
    pose = torch.eye(4, dtype=torch.float64)
    return Cameras(pose[None], intrinsics[None], width, height, near, far)


def _spheres(
    *rows: tuple[float, float, float, float, float, tuple[float, float, float]],
) -> Gaussians:
    """Isotropic Gaussians from rows of (x, y, z, scale, opacity, color)."""
    count = len(rows)
    values = torch.tensor([[*row[:5], *row[5]] for row in rows], dtype=torch.float64)
    quats = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64).expand(count, 4)
    return Gaussians(
        values[:, :3], quats, values[:, 3:4].expand(count, 3), values[:, 4], values[:, 5:]
    )


RED, GREEN = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)


def test_one_sphere_is_a_blurred_disc() -> None:
    scale, depth, opacity = 0.1, 2.0, 0.8
    out = render(_spheres((0, 0, depth, scale, opacity, RED)), _front_camera(), 0.0, "reference")
    variance = (FOCAL * scale / depth) ** 2 + 0.3
    for dx, dy in ((0, 0), (1, 0), (0, -2), (3, 2)):
        expected = opacity * math.exp(-(dx * dx + dy * dy) / (2 * variance))
        assert out.alpha[0, 0, 7 + dy, 7 + dx].item() == pytest.approx(expected, rel=1e-12)
        assert out.image[0, 0, 7 + dy, 7 + dx].item() == pytest.approx(expected, rel=1e-12)


def test_nearer_hides_farther_and_background_comes_last() -> None:
    gaussians = _spheres((0, 0, 3, 0.3, 0.5, GREEN), (0, 0, 2, 0.2, 0.6, RED))
    pixel = render(gaussians, _front_camera(), torch.tensor([0.0, 0, 1]), "reference").image[
        0, :, 7, 7
    ]
    assert pixel.tolist() == pytest.approx([0.6, 0.4 * 0.5, 0.4 * 0.5], rel=1e-12)


def test_alpha_is_clamped() -> None:
    out = render(_spheres((0, 0, 2, 0.1, 1.0, RED)), _front_camera(), backend="reference")
    assert out.alpha[0, 0, 7, 7].item() == pytest.approx(0.999, rel=1e-12)


def test_faint_pixels_are_skipped() -> None:
    alpha = render(_spheres((0, 0, 2, 0.08, 0.9, RED)), _front_camera(), backend="reference").alpha[
        0, 0
    ]
    assert (alpha > 0).any()
    assert (alpha == 0).any()
    assert alpha[alpha > 0].min() >= 1 / 255


def test_stops_before_the_gaussian_that_would_saturate() -> None:
    # 0.02 remains after two, 2e-5 would after the third: it is left out, with all behind it.
    rows = [(0, 0, 2, 1.0, 0.9, RED), (0, 0, 2.5, 1.0, 0.8, RED), (0, 0, 3, 1.0, 1.0, GREEN)]
    last = (0, 0, 3.5, 1.0, 0.5, GREEN)
    out = render(_spheres(*rows, last), _front_camera(), 0.0, "reference")
    assert out.image[0, 1, 7, 7] == 0
    assert out.alpha[0, 0, 7, 7].item() == pytest.approx(0.98, rel=1e-9)


@pytest.mark.parametrize(("depth", "seen"), [(0.4, False), (0.6, True), (8.9, True), (9.1, False)])
def test_near_and_far(depth: float, seen: bool) -> None:
    out = render(_spheres((0, 0, depth, 0.1, 0.9, RED)), _front_camera(), backend="reference")
    assert (out.alpha.max() > 0) == seen


def test_long_axis_follows_the_quaternion() -> None:
    # 45 degrees about z turns the long x axis towards +y, which is down in the image.
    half = math.radians(45) / 2
    gaussians = _spheres((0, 0, 2, 0.1, 0.9, RED))
    turned = Gaussians(
        gaussians.means,
        torch.tensor([[math.cos(half), 0, 0, math.sin(half)]], dtype=torch.float64),
        torch.tensor([[0.3, 0.02, 0.02]], dtype=torch.float64),
        gaussians.opacities,
        gaussians.colors,
    )
    alpha = render(turned, _front_camera(), backend="reference").alpha[0, 0]
    assert alpha[10, 10] > 0.5
    assert alpha[4, 10] < 0.01


def test_derivatives_are_those_of_the_image() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.rand(5, 11, generator=generator, dtype=torch.float64)
    inputs = (
        torch.cat([0.3 * u[:, :2] - 0.15, 2 + u[:, 2:3]], -1),
        u[:, 3:7] - 0.4,
        0.05 + 0.1 * u[:, 6:9],
        0.3 + 0.5 * u[:, 9],
        u[:, :3],
        torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64),
    )
    camera = _front_camera(4, 3)

    def image(*values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = render(Gaussians(*values[:5]), camera, values[5], "reference")
        return out.image, out.alpha

    leaves = tuple(value.requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(image, leaves, eps=1e-6, atol=1e-7, fast_mode=True)
