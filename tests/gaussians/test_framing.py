"""Framing: objects of any size and place are seen whole, ours from the rig's own cameras."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from l4gm.gaussians.framing import Framing, measure_framing
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import RADIUS, orbit_cameras
from l4gm.splat.render import render


def ball(radius: float, centre: tuple[float, float, float], frames: int = 1) -> Gaussians:
    """[frames, 2000] points of a ball."""
    directions = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    means = radius * torch.nn.functional.normalize(directions, dim=-1) + torch.tensor(centre)
    return Gaussians(
        means.expand(frames, -1, -1).clone(),
        torch.tensor([1.0, 0, 0, 0]).expand(frames, 2000, 4),
        torch.full((frames, 2000, 3), 0.02 * radius),
        torch.full((frames, 2000), 0.9),
        torch.full((frames, 2000, 3), 0.2),
    )


def framing_of(gaussians: Gaussians) -> Framing:
    return measure_framing(gaussians.shape[0], lambda index: gaussians[index])


def cover(gaussians: Gaussians, framing: Framing) -> torch.Tensor:
    cameras = orbit_cameras([0, 130], 20, framing.radius, size=64, target=framing.target)
    return render(gaussians[:1], cameras).alpha[0, :, 0]


@pytest.mark.parametrize("radius", [0.3, 0.5, 0.65])
def test_what_fits_the_rig_is_seen_from_the_rig(radius: float) -> None:
    assert framing_of(ball(radius, (0, 0, 0))) == Framing(radius=RADIUS)


@pytest.mark.parametrize(
    ("radius", "centre"),
    [
        (16.0, (3.0, -5.0, 8.0)),
        (0.9, (0.0, 0.0, 0.0)),
        (0.5, (2.0, 0.0, 0.0)),
        (0.01, (0.0, 0.0, 0.0)),
    ],
)
def test_others_are_seen_whole_and_large(radius: float, centre: tuple[float, float, float]) -> None:
    gaussians = ball(radius, centre)
    framing = framing_of(gaussians)
    torch.testing.assert_close(
        torch.tensor(framing.target), torch.tensor(centre), atol=0.05 * radius, rtol=0
    )
    alpha = cover(gaussians, framing)
    edge = torch.cat([alpha[:, 0], alpha[:, -1], alpha[:, :, 0], alpha[:, :, -1]], -1)
    assert edge.max() < 0.01
    assert (alpha > 0.5).float().mean() > 0.4


@pytest.mark.parametrize("spoil", ["invisible", "strays"])
def test_what_nobody_looks_for_does_not_count(spoil: str) -> None:
    gaussians = ball(16.0, (0, 0, 0))
    count = {"invisible": 500, "strays": 3}[spoil]
    gaussians.means[0, :count] = 9000.0
    if spoil == "invisible":
        gaussians.opacities[0, :count] = 0.003
    assert framing_of(gaussians).radius == pytest.approx(
        framing_of(ball(16.0, (0, 0, 0))).radius, rel=0.05
    )


def test_all_frames_are_in_view() -> None:
    gaussians = ball(1.0, (0, 0, 0), frames=40)
    gaussians.means[..., 0] += torch.linspace(0, 10, 40)[:, None]
    framing = framing_of(gaussians)
    assert framing.target[0] == pytest.approx(5, abs=0.2)
    for last in (gaussians[:1], gaussians[-1:]):
        assert (cover(last, framing)[0] > 0.5).float().mean() > 0.005


def test_a_few_frames_are_read() -> None:
    gaussians = ball(1.0, (0, 0, 0), frames=3)
    asked: list[int] = []

    def frame(index: int) -> Gaussians:
        asked.append(index)
        return gaussians[index % 3]

    measure_framing(1000, frame)
    assert len(asked) == 16
    assert (min(asked), max(asked)) == (0, 999)


def points(means: list[list[float]]) -> Callable[[int], Gaussians]:
    count = len(means)
    gaussians = Gaussians(
        torch.tensor(means).reshape(count, 3),
        torch.ones(count, 4),
        torch.ones(count, 3),
        torch.ones(count),
        torch.ones(count, 3),
    )
    return lambda index: gaussians


def test_nothing_and_a_single_point() -> None:
    assert measure_framing(1, points([])) == Framing()
    assert measure_framing(1, points([[5.0, 0, 0]])) == Framing()
