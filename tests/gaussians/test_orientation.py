"""Axes and sizes of files: what points up, and there and back."""

from __future__ import annotations

import pytest
import torch

from l4gm.gaussians.orientation import UPS, Up, from_file_axes, to_file_axes
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.rotations import matrix_from_quat

DIRECTIONS = {"y": (0.0, 1, 0), "-y": (0.0, -1, 0), "z": (0.0, 0, 1), "-z": (0.0, 0, -1)}


def covariances(gaussians: Gaussians) -> torch.Tensor:
    axes = matrix_from_quat(gaussians.quats) * gaussians.scales[..., None, :]
    return axes @ axes.mT


@pytest.mark.parametrize("up", UPS)
def test_up_is_where_it_should_be_and_right_stays_right(up: Up) -> None:
    ends = torch.tensor([[0.0, 1, 0], [1, 0, 0]])
    pin = Gaussians(
        means=ends,
        quats=torch.tensor([[1.0, 0, 0, 0]]).expand(2, 4),
        scales=0.01 + 0.1 * ends,  # long along the direction that its place says
        opacities=torch.ones(2),
        colors=torch.ones(2, 3),
    )
    turned = to_file_axes(pin, up, scale=2.0)
    torch.testing.assert_close(
        turned.means, 2 * torch.tensor([DIRECTIONS[up], (1, 0, 0)]), atol=1e-6, rtol=0
    )
    spread = covariances(turned)
    for index, axis in enumerate((torch.tensor(DIRECTIONS[up]), torch.tensor([1.0, 0, 0]))):
        expected = (0.02**2) * torch.eye(3) + (0.22**2 - 0.02**2) * torch.outer(axis, axis)
        torch.testing.assert_close(spread[index], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("up", UPS)
def test_there_and_back(clip: GaussianSequence, up: Up) -> None:
    back = from_file_axes(to_file_axes(clip.gaussians, up, 3.0), up, 3.0)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(
            getattr(back, name), getattr(clip.gaussians, name), atol=1e-6, rtol=1e-6
        )


def test_unknown_axis_and_bad_scale(clip: GaussianSequence) -> None:
    with pytest.raises(ValueError, match="'y', '-y', 'z', '-z', got 'x'"):
        to_file_axes(clip.gaussians, "x")  # type: ignore[arg-type]
    for scale in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="scale must be positive"):
            from_file_axes(clip.gaussians, "y", scale)
