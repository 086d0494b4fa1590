"""A network and a rig that write down what they were given, in place of pictures and shapes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.pipeline.rig import InputRig

SCALE = 1000  # a picture of frame i is everywhere i / SCALE


def gaussians_with_means(means: Tensor) -> Gaussians:
    """Small opaque Gaussians at means [..., N, 3]."""
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(*means.shape[:-1], 4).clone(),
        scales=torch.full_like(means, 0.1),
        opacities=torch.full_like(means[..., 0], 0.9),
        colors=torch.full_like(means, 0.5),
    )


class RecordingNetwork:
    """Means of its single Gaussian: (number of view 0, of view 1, time step within the call)."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.present: list[list[list[bool]] | None] = []

    def __call__(
        self, images: Tensor, cameras: Cameras, present: Tensor | None = None
    ) -> Gaussians:
        self.shapes.append(tuple(images.shape))
        self.present.append(None if present is None else present.tolist())
        batch, time = images.shape[:2]
        numbers = images[:, :, :2].mean((-3, -2, -1)) * SCALE  # [B, T, 2]
        steps = torch.arange(float(time)).expand(batch, time)[..., None]
        return gaussians_with_means(torch.cat([numbers, steps], -1)[:, :, None])


class RecordingRig(InputRig):
    """Draws a set of Gaussians as a plain picture of its first mean, plus half a number."""

    def draw(self, gaussians: Gaussians, views: slice, turned_by: float = 0.0) -> Tensor:
        number = gaussians.means[..., 0, 0] + 0.5
        pictures = (number / SCALE)[..., None, None, None, None].expand(*number.shape, 4, 3, 2, 2)
        return pictures[..., views, :, :, :]


def numbered_frames(count: int, size: int = 2) -> list[Tensor]:
    """Frame i is everywhere i / SCALE."""
    return [torch.full((3, size, size), index / SCALE) for index in range(count)]


@pytest.fixture
def network() -> RecordingNetwork:
    return RecordingNetwork()


@pytest.fixture
def rig() -> RecordingRig:
    return RecordingRig()


@pytest.fixture
def numbered():
    """numbered(count, size=2): frames that are everywhere i / 1000."""
    return numbered_frames
