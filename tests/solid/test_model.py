"""`SolidModel`: called like any reconstruction network, alone and in the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.sources import load_pretrained
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.solid.model import SolidModel, guessed_alpha, resized_rgba, straight_rgba
from l4gm.solid.network import SolidNet

CAMERAS = orbit_cameras([0, 90, 180, 270], size=64)


@pytest.fixture(scope="module")
def model(network: SolidNet) -> SolidModel:
    return SolidModel(network.config, network).eval()


def ball_clip(frames: int, size: int = 64) -> torch.Tensor:
    """[T, 4, S, S] straight RGBA of a disc that grows."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    radii = 0.4 + 0.05 * torch.arange(frames)
    alpha = ((x**2 + y**2).sqrt() < radii[:, None, None]).float()
    color = torch.stack([x * 0.5 + 0.5, y * 0.5 + 0.5, torch.full_like(x, 0.3)])
    return torch.cat([color.expand(frames, 3, size, size), alpha[:, None]], 1)


def on_white(rgba: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    alpha = rgba[..., 3:, :, :]
    return rgba[..., :3, :, :] * alpha + 1 - alpha, alpha.squeeze(-3)


def call(
    model: SolidModel,
    clip: torch.Tensor,
    present: torch.Tensor | None = None,
    first: torch.Tensor | None = None,
) -> Gaussians:
    """The clip as view 0; the other views all show a disc of one size."""
    sides = ball_clip(1).expand(len(clip), -1, -1, -1)
    images, alpha = on_white(torch.stack([clip, sides, sides, sides], 1)[None])
    return model(images, CAMERAS, present, alpha=alpha, first=first)


def test_every_splat_is_opaque_and_their_number_is_fixed(model: SolidModel) -> None:
    gaussians = call(model, ball_clip(3))
    assert gaussians.means.shape == (1, 3, model.config.num_gaussians, 3)
    assert gaussians.means.isfinite().all()
    assert (gaussians.opacities > 0.5).float().mean() > 0.95


def test_absent_views_are_not_looked_at(model: SolidModel) -> None:
    clip = ball_clip(2)
    present = torch.tensor([True, False, False, False])
    images, alpha = on_white(clip[None, :, None].repeat(1, 1, 4, 1, 1, 1))
    other = images.clone()
    other[:, :, 1:] = 0
    first = model(images, CAMERAS, present, alpha=alpha)
    second = model(other, CAMERAS, present, alpha=alpha)
    assert torch.equal(first.means, second.means)


def test_the_reference_frame_may_be_given_apart(model: SolidModel) -> None:
    """Frames 1.. with frame 0 as `first` are those of the whole clip."""
    clip = ball_clip(3)
    whole = call(model, clip)
    image, alpha = on_white(clip[:1])
    later = call(model, clip[1:], first=torch.cat([image, alpha[:, None]], 1))
    assert torch.allclose(later.means, whole.means[:, 1:], atol=1e-5)


def test_an_empty_frame_is_invisible_and_finite(model: SolidModel) -> None:
    clip = ball_clip(2)
    clip[1, 3] = 0
    gaussians = call(model, clip)
    assert not gaussians.opacities[0, 1].any()
    assert gaussians.means.isfinite().all()


def test_guessed_alpha_keeps_white_inside() -> None:
    image = torch.ones(3, 32, 32)
    image[:, 8:24, 8:24] = 0.2
    image[:, 12:20, 12:20] = 1.0
    alpha = guessed_alpha(image)
    assert alpha[16, 16] == 1
    assert alpha[0, 0] == 0
    assert alpha.sum() == 16 * 16


def test_straight_colours_come_back() -> None:
    rgba = torch.rand(2, 4, 8, 8)
    rgba[:, 3] = rgba[:, 3].clamp(min=0.2)
    image, alpha = on_white(rgba)
    assert torch.allclose(straight_rgba(image, alpha), rgba, atol=1e-5)


def test_resizing_does_not_bleed_the_background() -> None:
    rgba = torch.zeros(4, 8, 8)
    rgba[0, :, :4], rgba[3, :, :4] = 1, 1
    rgba[1, :, 4:] = 1  # green where nothing is
    small = resized_rgba(rgba, 2)
    assert torch.allclose(small[:3, :, 0], torch.tensor([1.0, 0, 0])[:, None])


def test_weights_are_found_by_their_metadata(model: SolidModel, tmp_path: Path) -> None:
    model.save(tmp_path / "solid.safetensors", {"chunk_frames": "4"})
    loaded = load_pretrained(tmp_path)
    assert isinstance(loaded, SolidModel)
    assert loaded.config == model.config
    pipeline = VideoTo4D.from_pretrained(tmp_path)
    assert pipeline.chunk_frames == 4
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not those of a solid model"):
        SolidModel.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 8])
def test_videos_of_any_length(model: SolidModel, frames: int) -> None:
    pipeline = VideoTo4D(model, chunk_frames=4, stage_size=64)
    result = pipeline(ball_clip(frames), fps=10.0, interpolate=False)
    assert len(result.gaussians.means) == frames
    assert result.fps == 10.0


def test_frames_between_are_reconstructed_from_images(model: SolidModel) -> None:
    pipeline = VideoTo4D(model, chunk_frames=4, stage_size=64)
    clip = ball_clip(3)
    result = pipeline(clip, fps=10.0)
    assert len(result.gaussians.means) == 7
    assert result.fps == 30.0
    radii = result.gaussians.means[..., :2].norm(dim=-1).amax(-1)
    assert (radii[1:] >= radii[:-1] - 0.02).all()
