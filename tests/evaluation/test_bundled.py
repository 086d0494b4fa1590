"""The bundled networks on objects they never saw: a few clips, far from the card's figures.

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
from l4gm.model.motion import MotionNet
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render

NUM_CLIPS = 4


@pytest.fixture(scope="module")
def mini() -> VideoTo4D:
    return VideoTo4D.from_pretrained("mini", device="cpu")


@pytest.fixture(scope="module")
def clips():
    """Ten frames at 24 a second, of which every third is the video's."""
    request = ClipRequest(size_px=128, num_frames=10, fps=24.0)
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


def test_frames_between_are_near_reconstructed_ones_and_better_than_blends(mini, clips):
    assert isinstance(mini.interpolation, MotionNet)
    # The video's own frames are no measure: of the first one all four views are its own.
    plain = VideoTo4D(mini.reconstruction, "linear", mini.multiview)
    between = torch.arange(10) % 3 != 0
    found: dict[str, list[torch.Tensor]] = {"motion": [], "blends": [], "true": []}
    for clip in clips:
        given = clip_rgba(clip)
        for name, pipeline in {"motion": mini, "blends": plain}.items():
            result = pipeline(given[::3, 0], views=given[0, :4], align=False)
            values = scores(result.gaussians, clip)
            found[name].append(values[between].mean())
        result = mini(given[:, 0], views=given[0, :4], align=False, interpolate=False)
        found["true"].append(scores(result.gaussians, clip)[between].mean())
    means = {name: torch.stack(values).mean().item() for name, values in found.items()}
    assert means["motion"] > means["blends"]
    assert means["motion"] > means["true"] - 0.7
