"""The bundled network on objects it never saw: a few clips, far from the card's figures.

What these bounds catch is a weight file that does not fit the code any more.
"""

from __future__ import annotations

import pytest
import torch

from l4gm.data.clip import ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import clip_images, clip_rgba, nearest_given_picture
from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render

NUM_CLIPS = 4


@pytest.fixture(scope="module")
def mini(needs_bundled) -> VideoTo4D:
    return VideoTo4D.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="module")
def clips():
    request = ClipRequest(size_px=128, num_frames=8)
    return [ProceduralClips(seed=0, split="heldout").clip(k, request) for k in range(NUM_CLIPS)]


def scores(gaussians: Gaussians, clip) -> torch.Tensor:
    """[T] PSNR over the free views."""
    drawn = render(gaussians, clip.cameras[4:]).image.clamp(0, 1)
    return psnr(drawn, clip_images(clip)[:, 4:]).mean(1)


@pytest.mark.parametrize(("views_given", "least"), [(True, 2.5), (False, 1.0)])
def test_new_views_are_better_than_what_costs_nothing(mini, clips, views_given, least):
    gains = []
    for clip in clips:
        given, images = clip_rgba(clip), clip_images(clip)
        views = given[0, :4] if views_given else None
        result = mini(given[:, 0], views=views, align=False, interpolate=False)
        nearest = nearest_given_picture(clip, images, views_given)
        cheap = [psnr(nearest, images[:, 4:]).mean(), psnr(torch.ones(1), images[:, 4:]).mean()]
        gains.append(scores(result.gaussians, clip).mean() - max(cheap))
    assert sum(gains) / len(gains) > least
