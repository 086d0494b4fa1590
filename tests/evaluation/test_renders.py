import math

import numpy as np
import pytest
import torch

from l4gm.data.clip import Clip
from l4gm.evaluation.renders import (
    ClipScore,
    clip_images,
    markdown_table,
    nearest_given_picture,
    score_clip,
    summarize,
)
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render


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


def score(name: str, psnr: float, white: float, nearest: float, **other) -> ClipScore:
    values = {"flicker": 0.0, "psnr_on_axis": psnr + 1, "ssim": 0.5, "alpha_iou": 1.0} | other
    return ClipScore(
        name=name,
        setting="views given",
        psnr=psnr,
        psnr_white=white,
        psnr_nearest=nearest,
        **values,
    )


def test_summary_takes_the_better_mean_baseline_and_names_the_worst():
    scores = [score("a", 20.0, 10.0, 15.0), score("b", 16.0, 14.0, 11.0, ssim=0.7)]
    (summary,) = summarize(scores)
    assert summary.psnr == 18
    assert summary.psnr_on_axis == 19
    assert summary.gain == 5  # against the nearest picture's mean, 13
    assert (summary.worst_name, summary.worst_psnr) == ("b", 16.0)
    assert math.isclose(scores[1].gain, 2.0)
    assert summary.ssim == pytest.approx(0.6)


def test_a_metric_that_a_clip_lacks_is_not_averaged_over_the_others():
    (summary,) = summarize([score("a", 20.0, 10.0, 15.0), score("b", 16.0, 14.0, 11.0, ssim=None)])
    assert summary.ssim is None
    assert summary.lpips is None
    assert "| skipped | skipped | 1.000 |" in markdown_table({"set": [summary]})


def test_a_perfect_object_scores_perfectly():
    """Two splats drawn as the clip's pictures, and given back as the reconstruction."""
    gaussians = Gaussians(
        means=torch.tensor([[[0.2, 0.1, 0.3], [-0.3, -0.2, 0.0]]]).repeat(2, 1, 1),
        quats=torch.tensor([[[1.0, 0, 0, 0]] * 2]).repeat(2, 1, 1),
        scales=torch.full((2, 2, 3), 0.15),
        opacities=torch.ones(2, 2),
        colors=torch.tensor([[[0.9, 0.2, 0.1], [0.1, 0.3, 0.8]]]).repeat(2, 1, 1),
    )
    cameras = orbit_cameras([0, 90, 180, 270, 80, 10], size=32)
    drawn = render(gaussians, cameras)
    alpha = drawn.alpha
    colors = (drawn.image - (1 - alpha)) / alpha.clamp(min=1e-6)
    rgba = torch.cat([colors.clamp(0, 1), alpha], dim=2).movedim(2, -1)
    clip = Clip((rgba * 255).round().byte().numpy(), cameras, 8.0)
    found, predicted = score_clip(clip, lambda frames, views: gaussians, "views given")
    assert predicted.shape == (2, 2, 3, 32, 32)
    assert found.psnr > 45  # but for 8 bits
    assert found.psnr_on_axis > 45
    assert found.ssim is not None
    assert found.ssim > 0.99
    assert found.alpha_iou > 0.98
    assert found.lpips is None


def test_what_is_seen_comes_with_its_alpha():
    clip = make_clip()
    clip.images[..., 3] = np.arange(6)[:, None, None] * 20
    seen = {}

    def reconstruct(frames, views):
        seen["frames"], seen["views"] = frames, views
        return Gaussians(
            means=torch.zeros(2, 1, 3),
            quats=torch.tensor([1.0, 0, 0, 0]).expand(2, 1, 4),
            scales=torch.full((2, 1, 3), 0.1),
            opacities=torch.ones(2, 1),
            colors=torch.ones(2, 1, 3),
        )

    score_clip(clip, reconstruct, "views given")
    assert seen["frames"].shape == (2, 4, 2, 2)
    assert (seen["views"][:, 3, 0, 0] * 255).round().tolist() == [0, 20, 40, 60]
    score_clip(clip, reconstruct, "video only")
    assert seen["views"] is None
