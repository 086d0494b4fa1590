import numpy as np
import pytest
import torch

from l4gm.data.clip import Clip, ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.judges import Judges
from l4gm.evaluation.renders import (
    clip_images,
    evaluate_renders,
    nearest_given_picture,
    score_clip,
)
from l4gm.evaluation.surface import surface_request, true_surface
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.perceptual.st_lpips import StLpips
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


def rendered(gaussians: Gaussians, size: int = 32) -> Clip:
    """Gaussians [T, N] as a clip."""
    cameras = orbit_cameras([0, 90, 180, 270, 80, 10], size=size)
    drawn = render(gaussians, cameras)
    alpha = drawn.alpha
    colors = (drawn.image - (1 - alpha)) / alpha.clamp(min=1e-6)
    rgba = torch.cat([colors.clamp(0, 1), alpha], dim=2).movedim(2, -1)
    return Clip((rgba * 255).round().byte().numpy(), cameras, 8.0)


def two_splats() -> Gaussians:
    """At two times; the first moves."""
    found = Gaussians(
        means=torch.tensor([[[0.2, 0.1, 0.3], [-0.3, -0.2, 0.0]]]).repeat(2, 1, 1),
        quats=torch.tensor([[[1.0, 0, 0, 0]] * 2]).repeat(2, 1, 1),
        scales=torch.full((2, 2, 3), 0.15),
        opacities=torch.ones(2, 2),
        colors=torch.tensor([[[0.9, 0.2, 0.1], [0.1, 0.3, 0.8]]]).repeat(2, 1, 1),
    )
    found.means[1, 0, 1] += 0.15
    return found


def random_judge() -> Judges:
    torch.manual_seed(0)
    network = StLpips()
    for head in network.heads:
        torch.nn.init.uniform_(head)
    return Judges(torch.device("cpu"), st_lpips=network.eval())


def test_a_perfect_object_scores_perfectly():
    """Splats rendered as the clip, and given back as the reconstruction."""
    gaussians = two_splats()
    clip = rendered(gaussians)
    found, predicted = score_clip(clip, lambda frames, views: gaussians, "views given")
    assert predicted.shape == (2, 2, 3, 32, 32)
    assert found.psnr > 45  # but for 8 bits
    assert found.psnr_on_axis > 45
    assert found.ssim is not None
    assert found.ssim > 0.99
    assert found.alpha_iou > 0.98
    assert found.lpips is None
    assert found.front_psnr > 45
    assert found.sharpness == pytest.approx(1, abs=0.02)
    assert found.front_sharpness == pytest.approx(1, abs=0.02)
    assert found.motion_ratio == pytest.approx(1, abs=0.05)
    assert (found.opaque_share, found.splats) == (1, 2)
    padded = gaussians.map(lambda values: torch.cat([values, 0 * values + 0.1], 1))
    padded.opacities[:, 2:] = torch.tensor([[0.4, 0.0], [0.0, 0.0]])
    found, _ = score_clip(clip, lambda frames, views: padded, "views given")
    assert (found.opaque_share, found.splats) == (pytest.approx(4 / 5), 2.5)
    assert found.f_score is None


def test_faint_smeared_and_still_objects_are_seen_as_such():
    true = two_splats()
    clip = rendered(true)
    smeared = Gaussians(true.means, true.quats, 2 * true.scales, 0.3 * true.opacities, true.colors)
    still = true[:1].map(lambda values: values.repeat(2, *[1] * (values.ndim - 1)))
    found, _ = score_clip(clip, lambda frames, views: smeared, "views given")
    assert found.sharpness < 0.4
    assert found.front_sharpness < 0.4
    assert found.opaque_share == 0
    held, _ = score_clip(clip, lambda frames, views: still, "views given")
    assert held.motion_ratio == 0
    assert held.flicker < 0
    assert held.sharpness == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("setting", ["views given", "video only"])
def test_st_lpips_of_the_result_and_the_baselines_is_that_of_every_pair(setting):
    clip, judges = rendered(two_splats()), random_judge()
    moved = two_splats()
    moved.means[:, :, 2] += 0.2
    found, predicted = score_clip(clip, lambda frames, views: moved, setting, judges)
    images = clip_images(clip)
    truth = images[:, 4:]
    nearest = nearest_given_picture(clip, images, setting == "views given")
    for name, other in {
        "": predicted,
        "_nearest": nearest,
        "_white": torch.ones_like(truth),
    }.items():
        expected = judges.st_lpips(other, truth).mean().item()
        assert getattr(found, f"st_lpips{name}") == pytest.approx(expected, rel=1e-4)
        assert expected > 0


def test_another_number_of_frames_is_refused():
    gaussians = two_splats()
    clip = rendered(gaussians)
    with pytest.raises(ValueError, match=r"of 2 frames, got \[1\]"):
        score_clip(clip, lambda frames, views: gaussians[:1], "video only")


class Recorded:
    """Procedural clips that keep what was asked for."""

    def __init__(self) -> None:
        self.source = ProceduralClips(0, "heldout")
        self.requests: list[ClipRequest] = []

    def clip(self, index: int, request: ClipRequest) -> Clip:
        self.requests.append(request)
        return self.source.clip(index, request)


def test_splats_on_the_true_surface_have_its_f_score():
    request = ClipRequest(size_px=128, num_frames=2)
    surface = true_surface(ProceduralClips(0, "heldout").clip(0, surface_request(request)))
    count = min(map(len, surface))
    means = torch.stack([points[:count] for points in surface])

    def reconstruct(frames, views):
        return Gaussians(
            means=means,
            quats=torch.tensor([1.0, 0, 0, 0]).expand(2, count, 4),
            scales=torch.full((2, count, 3), 0.003),
            opacities=torch.ones(2, count),
            colors=torch.full((2, count, 3), 0.5),
        )

    source = Recorded()
    scores = evaluate_renders(source, reconstruct, request, num_clips=1, surfaces=True)
    assert [score.setting for score in scores] == ["views given", "video only"]
    assert len(source.requests) == 2  # one surface for both settings
    for score in scores:
        assert score.f_score > 0.98
        assert score.chamfer < 0.005
        assert score.alpha_iou > 0.8
    (without, _) = evaluate_renders(source, reconstruct, request, num_clips=1)
    assert without.f_score is None


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
