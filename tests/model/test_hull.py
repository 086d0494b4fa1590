import math

import pytest
import torch

from l4gm.geometry.cameras import RADIUS, orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.model.hull import (
    NUM_STEPS,
    REACH,
    inside_silhouette,
    least_alpha,
    object_color,
    visual_hull,
)

STEP = 2 * REACH / (NUM_STEPS - 1)
BALL = 0.4
SIZE = 16


def alpha_of_a_ball(cameras, radius=BALL, size=64):
    """[1, 1, V, size, size]: 1 where the ray hits the ball, 0 elsewhere."""
    origins, directions = pixel_rays(cameras.resized(size))
    nearest = origins - (origins * directions).sum(-1, keepdim=True) * directions
    hit = nearest.norm(dim=-1) < radius
    return hit.float()[None, None]


@pytest.fixture
def rig():
    return orbit_cameras([0, 90, 180, 270], size=64).reshape(1, 1, 4)


def hull_distances(*arguments):
    return visual_hull(*arguments).entry


def given(*flags):
    return torch.tensor([flags], dtype=torch.bool)


def test_the_middle_ray_starts_where_the_side_views_bound_the_ball(rig):
    distances = hull_distances(alpha_of_a_ball(rig[0, 0]), given(1, 1, 1, 1), rig, SIZE)
    # The tangent from a camera at RADIUS to the ball crosses the other axis here.
    bound = BALL / math.cos(math.asin(BALL / RADIUS))
    middle = distances[0, 0, :, SIZE // 2 - 1 : SIZE // 2 + 1, SIZE // 2 - 1 : SIZE // 2 + 1]
    assert (middle - (RADIUS - bound)).abs().max() < 1.5 * STEP


def test_the_hull_lies_in_front_of_the_surface_and_close_to_it(rig):
    origins, directions = pixel_rays(rig.resized(SIZE))
    along = -(origins * directions).sum(-1)
    inside = BALL**2 - (origins + along[..., None] * directions).square().sum(-1)
    surface = along - inside.clamp(min=0).sqrt()
    distances = hull_distances(alpha_of_a_ball(rig[0, 0]), given(1, 1, 1, 1), rig, SIZE)
    error = (distances - surface)[inside > 0.02]
    assert error.max() < 2 * STEP
    assert error.abs().mean() < 0.06


def surface_distances(rig):
    """[1, 1, V, s, s] where rays enter and leave the ball; nan where they miss it."""
    origins, directions = pixel_rays(rig.resized(SIZE))
    along = -(origins * directions).sum(-1)
    nearest = (origins + along[..., None] * directions).square().sum(-1)
    half = (BALL**2 - nearest).sqrt()
    return along - half, along + half


def test_rays_leave_the_hull_behind_the_object(rig):
    hull = visual_hull(alpha_of_a_ball(rig[0, 0]), given(1, 1, 1, 1), rig, SIZE)
    entry, leave = surface_distances(rig)
    inside = (leave - entry) > 0.3
    assert (hull.exit - leave)[inside].min() > -2 * STEP
    assert (hull.exit - leave)[inside].abs().mean() < 0.06
    assert (hull.entry < hull.exit)[inside].all()
    # Two of three other views look along the ray or across it; all see the ball.
    assert hull.agreement[inside].min() > 0.95
    assert hull.agreement.max() <= 1


@pytest.mark.parametrize("radius", [0.30, 0.31, 0.32, 0.33, 0.41])
def test_the_hull_is_found_between_the_steps(rig, radius):
    pictures = alpha_of_a_ball(rig[0, 0], radius, size=512)
    hull = visual_hull(pictures, given(1, 1, 1, 1), rig, 17)
    bound = radius / math.cos(math.asin(radius / RADIUS))
    middle = (..., 8, 8)
    assert (hull.entry[middle] - (RADIUS - bound)).abs().max() < STEP / 4
    assert (hull.exit[middle] - (RADIUS + bound)).abs().max() < STEP / 4


def test_channels_are_offsets_from_the_middle(rig):
    hull = visual_hull(alpha_of_a_ball(rig[0, 0]), given(1, 1, 1, 1), rig, SIZE)
    channels = hull.channels()
    assert channels.shape == (4, 3, SIZE, SIZE)
    torch.testing.assert_close(channels[:, 0] + hull.middle[0, 0], hull.entry[0, 0])
    alone = visual_hull(alpha_of_a_ball(rig[0, 0]), given(1, 0, 0, 0), rig, SIZE).channels()
    assert (alone[0] == 0).all()


def test_without_other_views_rays_start_at_the_middle(rig):
    pictures = alpha_of_a_ball(rig[0, 0])
    alone = hull_distances(pictures, given(1, 0, 0, 0), rig, SIZE)
    assert torch.allclose(alone[:, :, 0], torch.full_like(alone[:, :, 0], RADIUS))
    empty = hull_distances(torch.zeros_like(pictures), given(1, 1, 1, 1), rig, SIZE)
    assert torch.allclose(empty, torch.full_like(empty, RADIUS))


def test_absent_views_do_not_vote(rig):
    pictures = alpha_of_a_ball(rig[0, 0])
    rubbish = pictures.clone()
    rubbish[:, :, 2:] = torch.rand_like(rubbish[:, :, 2:])
    flags = given(1, 1, 0, 0)
    assert torch.equal(
        hull_distances(pictures, flags, rig, SIZE), hull_distances(rubbish, flags, rig, SIZE)
    )


def test_shared_and_separate_cameras_agree(rig):
    pictures = alpha_of_a_ball(rig[0, 0]).expand(2, 3, 4, 64, 64).clone()
    pictures[1, 2] = alpha_of_a_ball(rig[0, 0], radius=0.2)
    flags = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 1]], dtype=torch.bool)
    shared = hull_distances(pictures, flags, rig, SIZE)
    separate = hull_distances(pictures, flags, rig.expand(2, 3, 4), SIZE)
    assert shared.shape == (2, 3, 4, SIZE, SIZE)
    assert torch.equal(shared, separate)
    assert not torch.equal(shared[0, 2], shared[1, 2])


def test_the_object_color_is_that_of_the_given_views_without_the_background():
    pictures = torch.ones(1, 2, 2, 3, 8, 8)
    color = torch.tensor([0.8, 0.4, 0.2])
    pictures[:, 0, 0, :, 2:5, 2:5] = color[:, None, None]
    pictures[:, :, 1] = 0  # absent: has no say
    mean = object_color(pictures, least_alpha(pictures), given(1, 0))
    assert torch.allclose(mean[0, 0], color)
    assert torch.allclose(mean[0, 1], torch.full((3,), 0.5))  # nothing but white is seen


def test_what_projects_to_background_is_outside(rig):
    pictures = alpha_of_a_ball(rig[0, 0])
    points = torch.tensor(
        [
            [0.0, 0.0, 0.0],  # in the ball
            [0.0, 0.0, -0.7],  # behind it, hidden by it
            [0.0, 0.39, 0.0],
            [0.0, 0.55, 0.0],  # above
            [0.6, 0.0, 0.0],  # beside
            [0.0, 0.0, 0.6],  # in front
        ]
    )
    inside = inside_silhouette(points[None, None], pictures, rig)
    assert inside[0, 0].tolist() == [1, 1, 1, 0, 0, 1]


def test_only_the_first_view_of_the_moment_tells(rig):
    pictures = alpha_of_a_ball(rig[0, 0]).repeat(1, 2, 1, 1, 1)
    pictures[:, 1, 0] = alpha_of_a_ball(rig[0, 0], radius=0.2)[:, 0, 0]
    point = torch.tensor([0.0, 0.3, 0.0]).expand(1, 2, 1, 3)
    assert inside_silhouette(point, pictures, rig).flatten().tolist() == [1, 0]
    pictures[:, :, 1:] = 0
    assert inside_silhouette(point, pictures, rig).flatten().tolist() == [1, 0]


def test_white_spots_of_the_object_are_not_taken_for_background_by_the_guess(rig):
    """An eye's white in the middle; the background around stays what it is."""
    alpha = alpha_of_a_ball(rig[0, 0]).clone()
    alpha[..., 30:36, 30:36] = 0
    point = torch.zeros(1, 1, 1, 3)
    assert inside_silhouette(point, alpha, rig, is_guess=True).item() == 1
    corner = torch.tensor([0.62, 0.62, 0.0])[None, None, None]
    assert inside_silhouette(corner, alpha, rig, is_guess=True).item() == 0


def test_holes_in_a_known_alpha_are_holes(rig):
    alpha = alpha_of_a_ball(rig[0, 0]).clone()
    alpha[..., 30:36, 30:36] = 0
    assert inside_silhouette(torch.zeros(1, 1, 1, 3), alpha, rig).item() == 0


def test_an_object_at_the_edge_does_not_fill_the_picture(rig):
    alpha = torch.zeros(1, 1, 4, 64, 64)
    alpha[..., :, :2] = 1
    points = torch.tensor([[-0.67, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.6, 0.0, 0.0]])
    inside = inside_silhouette(points[None, None], alpha, rig, is_guess=True)
    assert inside[0, 0].tolist() == [1, 0, 0]


def test_the_guess_is_the_least_alpha_that_explains_a_colour_on_white():
    color, alpha = torch.rand(3, 50), torch.rand(50)
    on_white = color * alpha + 1 - alpha
    least = least_alpha(on_white[..., None]).squeeze(-1)
    assert (least <= alpha + 1e-6).all()
    behind = (on_white - (1 - least)) / least  # the colour that it takes then
    assert behind.min() > -1e-5
    torch.testing.assert_close(behind.amin(0), torch.zeros(50), atol=1e-5, rtol=0)
