"""An animated object as the network makes it: four views of pixels, most of them background."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from l4gm.gaussians.types import Gaussians, GaussianSequence

MakeClip = Callable[[int, int], GaussianSequence]


def animated_grid(frames: int, side: int) -> GaussianSequence:
    """[frames, 4 * side * side]: a ball that moves and breathes, seen from four sides."""
    generator = torch.Generator().manual_seed(side)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij"
    )
    grain = torch.randn(4, side, side, 1, generator=generator)
    sets = []
    for frame in range(frames):
        phase = 2 * math.pi * frame / 12
        radius = 0.7 + 0.1 * math.sin(phase)
        inside = columns**2 + rows**2 < radius**2
        depth = (radius**2 - columns**2 - rows**2).clamp(min=0).sqrt()
        front = torch.stack([columns, -rows, depth], -1)
        views = []
        for view in range(4):
            turn = math.radians(90 * view)
            x = math.cos(turn) * front[..., 0] + math.sin(turn) * front[..., 2]
            z = math.cos(turn) * front[..., 2] - math.sin(turn) * front[..., 0]
            views.append(torch.stack([x, front[..., 1], z], -1) * 0.6)
        means = torch.stack(views) + 0.003 * grain + torch.tensor([0.1 * math.sin(phase), 0, 0])
        quats = torch.tensor([0.3, 0.2, 0.9, 0.1]) + 0.3 * means.repeat(1, 1, 1, 2)[..., :4]
        scales = (1.2 / side) * torch.exp(0.3 * grain + torch.tensor([0.0, 0.1, -0.8]))
        colors = 0.5 + 0.4 * torch.sin(6 * means + torch.tensor([0.0, 2, 4]))
        sets.append(
            Gaussians(
                means.reshape(-1, 3),
                torch.nn.functional.normalize(quats, dim=-1).reshape(-1, 4),
                scales.expand(4, side, side, 3).reshape(-1, 3).clone(),
                torch.where(inside, 0.95, 0.001).expand(4, side, side).reshape(-1).clone(),
                (colors + 0.02 * grain).clamp(0, 1).reshape(-1, 3),
            )
        )
    return GaussianSequence(Gaussians.stack(sets), 24.0)


def points_on_a_torus(frames: int, count: int, *, vary: bool = True) -> GaussianSequence:
    """[frames, count]: opaque splats on a torus that turns and swells, new ones in every frame.

    As a network makes them that lays splats on a surface: rows of two frames have nothing to do
    with each other.

    Args:
        frames, count: T and N.
        vary: every frame has another number of visible Gaussians, the rest is invisible.
    """
    generator = torch.Generator().manual_seed(0)
    sets = []
    for frame in range(frames):
        turn = 2 * math.pi * frame / 24
        u, v = 2 * math.pi * torch.rand(2, count, generator=generator)
        tube = 0.2 + 0.05 * math.sin(turn)
        ring = 0.4 + tube * v.cos()
        points = torch.stack([ring * u.cos(), ring * u.sin(), tube * v.sin()], -1)
        normals = torch.stack([v.cos() * u.cos(), v.cos() * u.sin(), v.sin()], -1)
        cos, sin = math.cos(turn), math.sin(turn)
        rotation = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        points, normals = points @ rotation.T, normals @ rotation.T
        # The rotation from +z to the normal.
        x, y, z = normals.unbind(-1)
        quats = torch.nn.functional.normalize(
            torch.stack([1 + z + 1e-4, -y, x, torch.zeros_like(x)], -1), dim=-1
        )
        size = 1.6 * math.sqrt(0.4 * tube * 4 * math.pi**2 / count)
        scales = torch.tensor([size, size, size / 8]).expand(count, 3)
        opacities = torch.full((count,), 0.97)
        if vary:
            opacities[count - frame * count // (20 * frames) - 1 :] = 0.0
        stripes = 0.5 + 0.4 * torch.sin(5 * u)
        colors = torch.stack([stripes, 0.5 + 0.4 * torch.cos(3 * v), 1 - stripes], -1)
        sets.append(Gaussians(points, quats, scales.clone(), opacities, colors))
    return GaussianSequence(Gaussians.stack(sets), 24.0)


@pytest.fixture(scope="session")
def surface_clip() -> GaussianSequence:
    """Ten frames of 4096, of which every frame shows other ones."""
    return points_on_a_torus(10, 4096)


@pytest.fixture(scope="session")
def clip() -> GaussianSequence:
    """Ten frames of 4 x 16 x 16."""
    return animated_grid(10, 16)
