"""ImageDream as a whole, on a folder with small random parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from l4gm.multiview.cameras import camera_embedding
from l4gm.multiview.imagedream import ImageDream, ImageDreamConfig
from l4gm.multiview.imagedream_parts import ImageDreamParts, load_imagedream_parts

CONFIG = ImageDreamConfig(num_steps=3, prompt="the hen", negative_prompt="ugly")


@pytest.fixture(scope="module")
def parts(imagedream_folder: Path) -> ImageDreamParts:
    return load_imagedream_parts(imagedream_folder)


@pytest.fixture(scope="module")
def imagedream(parts: ImageDreamParts) -> ImageDream:
    return ImageDream(parts, CONFIG)


@pytest.fixture(scope="module")
def image() -> Tensor:
    """A coloured blob on white, of another size than the network's."""
    axis = torch.linspace(-1, 1, 320)
    inside = (axis[:, None] ** 2 + 2 * axis[None] ** 2 < 0.5).float()
    color = torch.stack(
        [axis.expand(320, 320), axis[:, None].expand(320, 320), -axis.expand(320, 320)]
    )
    return 1 - inside * (0.5 - 0.4 * color)


@pytest.fixture(scope="module")
def views(imagedream: ImageDream, image: Tensor) -> Tensor:
    return imagedream(image, seed=5)


def frames_as_released(
    parts: ImageDreamParts, image: Tensor, seed: int, elevation: float
) -> Tensor:
    """All five frames, by the released pipeline's steps written out plainly."""
    picture = Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype(np.uint8))
    pixels = torch.from_numpy(np.asarray(picture.resize((28, 28), Image.Resampling.BICUBIC)).copy())
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((pixels / 255 - mean) / std).permute(2, 0, 1)[None]
    captured: dict[str, Any] = {}
    encoder = parts.image_encoder
    layers = getattr(encoder, "vision_model", encoder).encoder.layers
    hook = layers[-2].register_forward_hook(lambda *call: captured.update(out=call[2]))
    encoder(pixels)
    hook.remove()
    embeds = captured["out"] if isinstance(captured["out"], Tensor) else captured["out"][0]

    generator = torch.Generator().manual_seed(seed)
    small = functional.interpolate(image[None], (256, 256), mode="bilinear", align_corners=False)
    scale = parts.vae.config.scaling_factor
    clean = parts.vae.encode(2 * small - 1).latent_dist.sample(generator) * scale
    latents = torch.randn(5, 4, 32, 32, generator=generator)

    def text_tokens(text: str) -> Tensor:
        ids = parts.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt")
        return parts.text_encoder(ids.input_ids)[0].repeat(5, 1, 1)

    def noise_of(text: str, embeds: Tensor, clean: Tensor, time: Tensor) -> Tensor:
        return parts.unet(
            latents,
            time.repeat(5),
            context=text_tokens(text),
            cameras=camera_embedding(elevation),
            image_embeds=embeds.repeat(5, 1, 1),
            image_latents=clean,
            views=5,
        )

    parts.scheduler.set_timesteps(CONFIG.num_steps)
    for time in parts.scheduler.timesteps:
        without = noise_of("ugly", 0 * embeds, 0 * clean, time)
        noise = without + 5.0 * (noise_of("the hen", embeds, clean, time) - without)
        latents = parts.scheduler.step(noise, time, latents, eta=0.0).prev_sample
    return (parts.vae.decode(latents / scale).sample / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def test_views_are_the_released_frames_1_2_3_0(
    parts: ImageDreamParts, views: Tensor, image: Tensor
) -> None:
    frames = frames_as_released(parts, image, seed=5, elevation=0.0)
    distances = [(frames[i] - frames[j]).abs().mean() for i in range(4) for j in range(i)]
    assert min(distances) > 0.01, "the frames differ, so that their order can be told"
    torch.testing.assert_close(views, frames[[1, 2, 3, 0]], rtol=0, atol=1e-4)


def test_views_are_pictures(views: Tensor) -> None:
    assert views.shape == (4, 3, 256, 256)
    assert views.dtype == torch.float32
    assert 0 <= views.min() < views.max() <= 1
    assert not views.requires_grad


def test_same_seed_same_views(imagedream: ImageDream, image: Tensor, views: Tensor) -> None:
    torch.rand(3)  # the global random numbers do not matter
    before = torch.get_rng_state()
    assert torch.equal(imagedream(image, seed=5), views)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("change", [{"seed": 6}, {"seed": 5, "elevation": 20.0}])
def test_other_settings_other_views(
    imagedream: ImageDream, image: Tensor, views: Tensor, change: dict[str, Any]
) -> None:
    assert (imagedream(image, **change) - views).abs().mean() > 1e-3


def test_picture_matters_without_guidance(parts: ImageDreamParts, image: Tensor) -> None:
    plain = ImageDream(parts, ImageDreamConfig(num_steps=2, guidance=1.0))
    difference = plain(image, seed=1) - plain(image.flip(0), seed=1)
    assert difference.abs().mean() > 1e-4


def test_steps_are_told(imagedream: ImageDream, image: Tensor) -> None:
    told: list[tuple[int, int]] = []
    imagedream(image, on_step=lambda *step: told.append(step))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_offload_has_one_part_on_the_device_at_a_time(
    imagedream_folder: Path, image: Tensor, views: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device named apart from the parts' home: "cpu:0" is the same memory."""
    offloaded = ImageDream.from_pretrained(imagedream_folder, CONFIG, device="cpu:0", offload=True)
    working: set[str] = set()
    history: list[str] = []
    for name in ("text_encoder", "image_encoder", "unet", "vae"):
        part = getattr(offloaded.parts, name)

        def move(device: Any, name: str = name) -> None:
            if str(device) == "cpu:0":
                assert not working
                working.add(name)
                history.append(name)
            else:
                working.remove(name)

        monkeypatch.setattr(part, "to", move)
    assert torch.equal(offloaded(image, seed=5), views)
    assert not working
    assert history == ["image_encoder", "vae", "text_encoder", "unet", "vae"]


def test_out_of_memory_makes_the_two_predictions_one_by_one(
    imagedream_folder: Path,
    image: Tensor,
    views: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    small = ImageDream.from_pretrained(imagedream_folder, CONFIG)
    forward, batches = small.parts.unet.forward, []

    def limited(latents: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        batches.append(len(latents))
        if len(latents) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(latents, *args, **kwargs)

    monkeypatch.setattr(small.parts.unet, "forward", limited)
    torch.testing.assert_close(small(image, seed=5), views, rtol=0, atol=1e-4)
    assert batches == [10, 5, 5, 5, 5, 5, 5]
    assert "one by one" in caplog.text


def test_half_precision_stays_near(imagedream_folder: Path, image: Tensor, views: Tensor) -> None:
    half = ImageDream.from_pretrained(imagedream_folder, CONFIG, dtype=torch.bfloat16)
    out = half(image, seed=5)
    assert out.dtype == torch.float32
    assert (out - views).abs().mean() < 0.02


@pytest.mark.parametrize("shape", [(3, 8, 9), (4, 8, 8), (1, 3, 8, 8)])
def test_images_of_another_shape(imagedream: ImageDream, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[3, S, S\]"):
        imagedream(torch.ones(shape))


def test_config_without_steps() -> None:
    with pytest.raises(ValueError, match="num_steps"):
        ImageDreamConfig(num_steps=0)
