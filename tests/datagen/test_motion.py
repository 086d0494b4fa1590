from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from l4gm.datagen.motion import exact_motion, picture_motion, threshold_that_keeps
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import render_mesh
from l4gm.geometry.cameras import orbit_cameras


def test_a_sliding_board_has_the_speed_of_its_picture(mesh_of):
    """Across the view from azimuth 0 and 180; from the sides it is an edge that comes nearer."""
    board = np.array([[-0.3, -0.3, 0], [0.3, -0.3, 0], [0.3, 0.3, 0], [-0.3, 0.3, 0]])
    frames = [board + np.array([0.0, 0.02 * t, 0]) for t in range(4)]
    mesh = mesh_of(frames, [[0, 1, 2], [0, 2, 3]])
    # 0.02 units a frame at distance 1.5, in a picture that is 2 tan(24.55 deg) 1.5 wide there.
    expected = 0.02 * 24 / (2 * np.tan(np.radians(49.1 / 2)) * 1.5)
    assert exact_motion(mesh, 24.0) == pytest.approx(expected, rel=0.02)
    assert exact_motion(replace(mesh, positions=mesh.positions[:1]), 24.0) == 0
    assert exact_motion(replace(mesh, positions=mesh.positions[[0, 0]]), 24.0) < 1e-6


def test_the_score_does_not_depend_on_the_frame_rate():
    for seed in (3, 5):
        slow = exact_motion(procedural_object(seed, 8, 8.0).normalized(), 8.0)
        fast = exact_motion(procedural_object(seed, 24, 24.0).normalized(), 24.0)
        assert slow == pytest.approx(fast, rel=0.2)


def test_scores_of_pictures_follow_the_exact_ones():
    """DIS is lower, and orders objects in nearly the same way."""
    pytest.importorskip("cv2")
    exact, seen = [], []
    for seed in range(12):
        mesh = procedural_object(seed, 6, 24.0).normalized()
        images, _ = render_mesh(mesh, orbit_cameras([0, 90, 180, 270], size=64))
        exact.append(exact_motion(mesh, 24.0))
        seen.append(picture_motion(images, 24.0))
    ranks = [np.argsort(np.argsort(values)) for values in (exact, seen)]
    assert np.corrcoef(*ranks)[0, 1] > 0.75
    assert 0.3 < np.sum(seen) / np.sum(exact) < 1.2


def test_still_pictures_and_empty_ones_have_no_motion():
    pytest.importorskip("cv2")
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 48, 48, 4)).astype(np.uint8)
    still = np.repeat(images, 3, 0)
    assert picture_motion(still, 24.0) < 1e-3
    assert picture_motion(np.zeros_like(still), 24.0) == 0
    with pytest.raises(ValueError, match="at least 32"):
        picture_motion(still[:, :, :16, :16], 24.0)


@pytest.mark.parametrize(("share", "kept"), [(0.5, 5), (1.0, 10), (0.1, 1), (0.0, 1)])
def test_a_threshold_keeps_its_share(share, kept):
    motions = np.random.default_rng(1).random(10)
    assert (motions >= threshold_that_keeps(motions, share)).sum() == kept


def test_wrong_shares_are_refused():
    for motions, share in ((np.ones(3), 1.5), (np.ones(0), 0.5), (np.ones(3), -0.1)):
        with pytest.raises(ValueError, match="need scores"):
            threshold_that_keeps(motions, share)
