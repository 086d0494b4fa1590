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


@pytest.fixture(scope="session")
def clip() -> GaussianSequence:
    """Ten frames of 4 x 16 x 16."""
    return animated_grid(10, 16)
