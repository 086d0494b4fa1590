"""Surface distances against closed forms: spheres and their depth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from l4gm.data.clip import Clip, ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.surface import (
    FARTHEST,
    compared,
    surface_request,
    surface_score,
    thinned,
    true_surface,
)
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays


def sphere(radius: float, count: int = 20_000) -> torch.Tensor:
    """Even points (Fibonacci) on a sphere around the origin."""
    index = torch.arange(count) + 0.5
    up = 1 - 2 * index / count
    turn = index * math.pi * (1 + math.sqrt(5))
    around = (1 - up.square()).sqrt()
    return radius * torch.stack([around * turn.cos(), up, around * turn.sin()], -1)


def splats(points: torch.Tensor, opacity: float = 1.0) -> Gaussians:
    """[1, N] round splats."""
    count = len(points)
    return Gaussians(
        means=points[None],
        quats=torch.tensor([1.0, 0, 0, 0]).expand(1, count, 4),
        scales=torch.full((1, count, 3), 0.01),
        opacities=torch.full((1, count), opacity),
        colors=torch.zeros(1, count, 3),
    )


def test_spheres_of_other_radius_are_as_far_as_the_radii_differ() -> None:
    truth = sphere(0.4)
    near = compared(sphere(0.41), truth)
    assert near.f_score == 1
    assert near.chamfer == pytest.approx(0.01, abs=0.001)  # between points: a little more
    far = compared(sphere(0.45), truth)
    assert far.f_score == 0
    assert far.chamfer == pytest.approx(0.05, abs=0.001)


def test_half_a_surface_and_too_much_of_it() -> None:
    truth = sphere(0.4)
    half = truth[truth[:, 1] > 0]
    # Precision 1; recall a half and the band of 0.02 below the edge.
    recall = 0.5 + 0.02 / 0.8
    expected = 2 * recall / (1 + recall)
    assert compared(half, truth).f_score == pytest.approx(expected, abs=0.02)
    assert compared(truth, half).f_score == pytest.approx(expected, abs=0.02)


def test_no_surface_is_as_bad_as_can_be() -> None:
    truth = sphere(0.4)
    fog = splats(truth, opacity=0.4)
    found = surface_score(fog, [truth])
    assert (found.f_score, found.chamfer) == (0, pytest.approx(FARTHEST))
    assert surface_score(splats(truth), [truth]).f_score == 1
    assert compared(truth[:0], truth[:0]).f_score == 0


def test_many_splats_on_one_place_count_as_one() -> None:
    truth = sphere(0.4)
    wrong = truth[truth[:, 0] > 0.2] + torch.tensor([0.1, 0, 0])
    once = surface_score(splats(torch.cat([truth, wrong])), [truth])
    often = surface_score(splats(torch.cat([truth, *[wrong] * 20])), [truth])
    assert often == once
    assert 0.5 < once.f_score < 0.99


def test_thinning_keeps_points_of_the_set_and_leaves_no_gap() -> None:
    points = sphere(0.4, 200_000)
    kept = thinned(points)
    assert len(kept) < 0.2 * len(points)
    distances = torch.cdist(kept, points[::100])
    assert torch.cdist(kept[:500], points).amin() < 1e-3
    assert distances.amin(0).max() < 0.0174  # the diagonal of a cell
    assert len(thinned(points[:0])) == 0


def test_depth_of_a_sphere_gives_points_on_it() -> None:
    cameras = orbit_cameras([0, 120, 240, 30], torch.tensor([0.0, 40, -60, 80]), size=48)
    origins, directions = pixel_rays(cameras)
    along = (origins * directions).sum(-1)
    inside = along.square() - origins.square().sum(-1) + 0.4**2
    distance = -along - inside.clamp(min=0).sqrt()
    forward = cameras.world_from_camera[:, None, None, :3, 2]
    depth = torch.where(inside > 0, distance * (directions * forward).sum(-1), 0.0)
    clip = Clip(np.zeros((2, 4, 48, 48, 4), np.uint8), cameras, 8.0,
                depth=depth.repeat(2, 1, 1, 1).numpy())  # fmt: skip
    first, second = true_surface(clip)
    torch.testing.assert_close(first.norm(dim=-1), torch.full((len(first),), 0.4))
    assert len(first) > 1000
    assert torch.equal(first, second)


def test_depth_that_is_not_known_everywhere_is_refused() -> None:
    cameras = orbit_cameras([0, 90, 180, 270, 10], size=8)
    depth = np.ones((1, 4, 8, 8), np.float32)
    clip = Clip(np.zeros((1, 5, 8, 8, 4), np.uint8), cameras, 8.0, depth=depth)
    with pytest.raises(ValueError, match="depth of every view"):
        true_surface(clip)


def test_views_from_all_around_miss_next_to_nothing() -> None:
    """Half of the views already see what the other half sees."""
    request = ClipRequest(size_px=32, num_frames=1)
    clip = ProceduralClips(0, "heldout").clip(1, surface_request(request))
    assert clip.depth is not None
    halves = [
        true_surface(Clip(clip.images[:, part], clip.cameras[part], 8.0, depth=clip.depth[:, part]))
        for part in (slice(0, None, 2), slice(1, None, 2))
    ]
    assert compared(halves[0][0], halves[1][0]).f_score > 0.99
