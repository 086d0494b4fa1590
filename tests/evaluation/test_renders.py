import math

import numpy as np

from l4gm.data.clip import Clip
from l4gm.evaluation.renders import ClipScore, clip_images, nearest_given_picture, summarize
from l4gm.geometry.cameras import orbit_cameras


def make_clip() -> Clip:
    cameras = orbit_cameras([0, 90, 180, 270, 80, 10], size=2)
    images = np.full((2, 6, 2, 2, 4), 255, np.uint8)
    images[..., 0] = np.arange(6)[:, None, None] * 10 + np.arange(2)[:, None, None, None]
    return Clip(images, cameras, 8.0)


def test_nearest_picture_is_the_nearest_direction_of_what_was_given():
    clip = make_clip()
    images = clip_images(clip)
    given = (nearest_given_picture(clip, images, True)[..., 0, 0, 0] * 255).round()
    assert given.tolist() == [[10, 0], [10, 1]]  # sides from the first frame, the front moves
    video = (nearest_given_picture(clip, images, False)[..., 0, 0, 0] * 255).round()
    assert video.tolist() == [[0, 0], [1, 1]]


def test_summary_takes_the_better_mean_baseline_and_names_the_worst():
    scores = [
        ClipScore("a", "views given", 20.0, 10.0, 15.0, 0.0),
        ClipScore("b", "views given", 16.0, 14.0, 11.0, 0.0),
    ]
    (summary,) = summarize(scores)
    assert summary.psnr == 18
    assert summary.gain == 5  # against the nearest picture's mean, 13
    assert (summary.worst_name, summary.worst_psnr) == ("b", 16.0)
    assert math.isclose(scores[1].gain, 2.0)
