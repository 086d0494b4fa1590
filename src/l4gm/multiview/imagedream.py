"""ImageDream (arXiv 2312.02201): one picture to four orthogonal views, by latent diffusion."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4gm.errors import OUT_OF_MEMORY, is_out_of_memory
from l4gm.multiview.cameras import FRAME_AZIMUTHS_DEGREES, camera_embedding
from l4gm.multiview.imagedream_parts import HUB_NAME, ImageDreamParts, load_imagedream_parts
from l4gm.multiview.protocol import VIEW_AZIMUTHS_DEGREES, VIEW_SIZE_PX

logger = logging.getLogger(__name__)

# The views it makes and, after them, the input picture.
_NUM_FRAMES = len(FRAME_AZIMUTHS_DEGREES) + 1
_FRAME_OF_VIEW = [FRAME_AZIMUTHS_DEGREES.index(azimuth) for azimuth in VIEW_AZIMUTHS_DEGREES]


@dataclass(frozen=True, kw_only=True)
class ImageDreamConfig:
    """How to sample; the defaults are those of the released L4GM.

    Args:
        guidance: weight of the conditional over the unconditional prediction; 1 or less leaves
            the unconditional one out.
        num_steps: DDIM steps.
        prompt: what the object is; empty leaves it to the picture.
        negative_prompt: what to stay away from.
    """

    guidance: float = 5.0
    num_steps: int = 30
    prompt: str = ""
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")


class ImageDream:
    """A `MultiViewGenerator` around ImageDream's parts.

    Args:
        parts: from `load_imagedream_parts`; moved to the device, unless offloaded.
        config: how to sample.
        device: where to compute.
        offload: keep the parts in main memory and each on the device only while it works: slower,
            but the device then needs room for the U-Net alone (1.9 GB in half precision, of
            4.0 GB in all) and for what it computes.
    """

    def __init__(
        self,
        parts: ImageDreamParts,
        config: ImageDreamConfig | None = None,
        *,
        device: torch.device | str = "cpu",
        offload: bool = False,
    ) -> None:
        self.parts = parts
        self.config = config or ImageDreamConfig()
        self.device = torch.device(device)
        self.offload = offload
        home = torch.device("cpu") if offload else self.device
        for part in (parts.text_encoder, parts.image_encoder, parts.unet, parts.vae):
            part.to(home)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] = HUB_NAME,
        config: ImageDreamConfig | None = None,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        offload: bool = False,
    ) -> ImageDream:
        """Load from a folder of the form of the hub's, or by hub name.

        Args:
            source: the folder or the name; a name needs the network once, then only the cache.
            config: how to sample.
            device: where to compute.
            dtype: of the weights; by default float16 on CUDA and float32 elsewhere.
            offload: see the class.

        Raises:
            InputError: see `load_imagedream_parts`.
        """
        if dtype is None:
            dtype = torch.float16 if torch.device(device).type == "cuda" else torch.float32
        parts = load_imagedream_parts(source, dtype=dtype)
        return cls(parts, config, device=device, offload=offload)

    @torch.no_grad()
    def __call__(
        self,
        image: Tensor,
        *,
        elevation: float = 0.0,
        seed: int = 0,
        on_step: Callable[[int, int], None] | None = None,
    ) -> Tensor:
        """Make the four views; see `MultiViewGenerator`.

        The random numbers are drawn on the CPU, so that a seed means the same on every device;
        the global random state is neither read nor changed.

        Args:
            image: [3, S, S] in [0, 1], the object centred on white.
            elevation: of the camera, degrees, > 0 is above the object.
            seed: of the noise.
            on_step: called after each step with the steps done and all steps.

        Returns:
            [4, 3, 256, 256] float32 in [0, 1], azimuths 0, 90, 180, 270, on the image's device.
        """
        if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] != image.shape[2]:
            raise ValueError(f"image must be [3, S, S], got {list(image.shape)}")
        generator = torch.Generator().manual_seed(seed)
        image_embeds = self._embed(image)
        image_latents = self._encode(image, generator)
        noise = torch.randn((_NUM_FRAMES, *image_latents.shape[1:]), generator=generator)
        latents = self._denoise(
            noise.to(self.device), image_embeds, image_latents, elevation, on_step
        )
        return self._decode(latents[_FRAME_OF_VIEW]).to(image.device)

    @contextlib.contextmanager
    def _working(self, part: nn.Module) -> Iterator[None]:
        """Have a part on the device for a while, if it is not always there."""
        if not self.offload:
            yield
            return
        part.to(self.device)
        try:
            yield
        finally:
            part.to("cpu")

    @functools.cached_property
    def _text(self) -> Tensor:
        """[2, L, C]: the tokens of the negative prompt and of the prompt."""
        encoder = self.parts.text_encoder
        ids = self.parts.tokenizer(
            [self.config.negative_prompt, self.config.prompt],
            padding="max_length",
            max_length=encoder.config.max_position_embeddings,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        with torch.no_grad(), self._working(encoder):
            return encoder(ids.to(self.device)).last_hidden_state

    def _embed(self, image: Tensor) -> Tensor:
        """[1, M, 1280]: the picture's CLIP tokens after the second to last layer."""
        encoder = self.parts.image_encoder
        pixels = self.parts.preprocessing(image)
        with self._working(encoder):
            states = encoder(pixels.to(self.device, encoder.dtype), output_hidden_states=True)
        return states.hidden_states[-2]

    def _encode(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """[1, 4, 32, 32] float32: the picture's latents, drawn from the encoder's distribution."""
        vae = self.parts.vae
        size = (VIEW_SIZE_PX, VIEW_SIZE_PX)
        resized = functional.interpolate(image[None].float(), size, mode="bilinear")
        with self._working(vae):
            encoded = vae.encode((2 * resized - 1).to(self.device, vae.dtype)).latent_dist
        return encoded.sample(generator).float() * vae.config.scaling_factor

    def _denoise(
        self,
        latents: Tensor,
        image_embeds: Tensor,
        image_latents: Tensor,
        elevation: float,
        on_step: Callable[[int, int], None] | None,
    ) -> Tensor:
        """[5, 4, 32, 32] float32 noise to latents; the fifth frame is the picture's place."""
        unet, scheduler, guidance = self.parts.unet, self.parts.scheduler, self.config.guidance
        text, cameras = self._text, camera_embedding(elevation).to(self.device)
        # Unconditional before conditional: no picture at all, not a black one.
        branches = 2 if guidance > 1 else 1
        image_embeds = torch.cat([torch.zeros_like(image_embeds), image_embeds])[-branches:]
        image_latents = torch.cat([torch.zeros_like(image_latents), image_latents])[-branches:]
        text = text[-branches:].repeat_interleave(_NUM_FRAMES, dim=0)
        dtype = text.dtype

        together = True

        def predict_branches(first: int, last: int, latents: Tensor, time: int) -> Tensor:
            count = last - first
            return unet(
                latents.repeat(count, 1, 1, 1),
                torch.full((count * _NUM_FRAMES,), time, device=self.device),
                context=text[first * _NUM_FRAMES : last * _NUM_FRAMES],
                cameras=cameras.repeat(count, 1),
                image_embeds=image_embeds[first:last].to(dtype),
                image_latents=image_latents[first:last],
                views=_NUM_FRAMES,
            ).float()

        def predict(latents: Tensor, time: int) -> Tensor:
            nonlocal together
            if together:
                try:
                    return predict_branches(0, branches, latents, time)
                except OUT_OF_MEMORY as error:
                    if branches == 1 or not is_out_of_memory(error):
                        raise
                    together = False
                    logger.warning("out of memory: the two predictions of a step one by one")
            parts = [predict_branches(i, i + 1, latents, time) for i in range(branches)]
            return torch.cat(parts)

        scheduler.set_timesteps(self.config.num_steps)
        with self._working(unet):
            for step, time in enumerate(scheduler.timesteps.tolist()):
                predicted = predict(latents.to(dtype), time)
                noise = predicted[-_NUM_FRAMES:]
                if branches == 2:
                    without = predicted[:_NUM_FRAMES]
                    noise = without + guidance * (noise - without)
                latents = scheduler.step(noise, time, latents).prev_sample
                if on_step is not None:
                    on_step(step + 1, self.config.num_steps)
        return latents

    def _decode(self, latents: Tensor) -> Tensor:
        """[N, 4, 32, 32] -> [N, 3, 256, 256] float32 in [0, 1]."""
        vae = self.parts.vae
        scaled = (latents / vae.config.scaling_factor).to(vae.dtype)
        with self._working(vae):
            # One by one: decoding is short, and its memory the largest of all.
            images = torch.cat([vae.decode(each[None]).sample for each in scaled])
        return (images.float() / 2 + 0.5).clamp(0, 1)
