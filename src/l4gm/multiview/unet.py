"""The multi-view latent U-Net of ImageDream ("IPMV", arXiv 2312.02201).

Stable Diffusion 2.1's U-Net with three additions: self-attention spans all frames of an object
(four views and the input picture, from MVDream, arXiv 2308.16512), the cameras are added to the
time embedding, and the picture's CLIP tokens reach the cross-attention through a resampler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l4gm.multiview.unet_layers import (
    ConditionedSequence,
    Conditions,
    CrossViewTransformer,
    Downsample,
    Resampler,
    ResidualBlock,
    Upsample,
)

IMAGE_EMBED_CHANNELS = 1280
"""Width of the picture's CLIP tokens (ViT-H/14)."""


@dataclass(frozen=True, kw_only=True)
class MultiViewUNetConfig:
    """The keys of the released `unet/config.json`.

    Args:
        image_size: width and height of the latents it was trained on; the network takes any.
        in_channels, out_channels: of the latents.
        model_channels: channels of the first level; the time embedding has four times as many.
        attention_resolutions: the downsampling factors at which there is attention.
        num_res_blocks: residual blocks per level going down; one more going up.
        channel_mult: channels of each level, as multiples of model_channels.
        num_head_channels: width of one attention head.
        transformer_depth: transformer blocks per attention layer.
        context_dim: channels of the text's tokens.
        camera_dim: numbers per camera.
        ip_dim: how many context tokens the input picture becomes.
        ip_weight: weight of the attention to them.
    """

    image_size: int
    in_channels: int
    out_channels: int
    model_channels: int
    attention_resolutions: Sequence[int]
    num_res_blocks: int
    channel_mult: Sequence[int]
    num_head_channels: int
    transformer_depth: int
    context_dim: int
    camera_dim: int
    ip_dim: int
    ip_weight: float = 1.0


class MultiViewUNet(nn.Module):
    """Predicts the noise in the latents of all frames of some objects at once.

    Args:
        config: the fields of `MultiViewUNetConfig`; any other key is a TypeError.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = MultiViewUNetConfig(**config)
        c = self.config
        embedding_channels = 4 * c.model_channels
        self.image_embed = Resampler(c.context_dim, c.ip_dim, IMAGE_EMBED_CHANNELS)
        self.time_embed = _two_layers(c.model_channels, embedding_channels)
        self.camera_embed = _two_layers(c.camera_dim, embedding_channels)

        skips = [c.model_channels]
        channels = c.model_channels
        self.input_blocks = nn.ModuleList(
            [ConditionedSequence([nn.Conv2d(c.in_channels, channels, 3, padding=1)])]
        )
        last_level = len(c.channel_mult) - 1
        for level, multiple in enumerate(c.channel_mult):
            for _ in range(c.num_res_blocks):
                layers = self._block(channels, multiple * c.model_channels, level)
                self.input_blocks.append(ConditionedSequence(layers))
                channels = multiple * c.model_channels
                skips.append(channels)
            if level < last_level:
                self.input_blocks.append(ConditionedSequence([Downsample(channels)]))
                skips.append(channels)

        self.middle_block = ConditionedSequence(
            [
                ResidualBlock(channels, channels, embedding_channels),
                self._transformer(channels),
                ResidualBlock(channels, channels, embedding_channels),
            ]
        )

        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(c.channel_mult))):
            for index in range(c.num_res_blocks + 1):
                layers = self._block(channels + skips.pop(), multiple * c.model_channels, level)
                channels = multiple * c.model_channels
                if level > 0 and index == c.num_res_blocks:
                    layers = [*layers, Upsample(channels)]
                self.output_blocks.append(ConditionedSequence(layers))

        self.out = nn.Sequential(
            nn.GroupNorm(32, channels),
            nn.SiLU(),
            nn.Conv2d(channels, c.out_channels, 3, padding=1),
        )

    def forward(
        self,
        latents: Tensor,
        timesteps: Tensor,
        *,
        context: Tensor,
        cameras: Tensor,
        image_embeds: Tensor,
        image_latents: Tensor,
        views: int = 5,
    ) -> Tensor:
        """Predict the noise; the arguments are left as they are.

        Args:
            latents: [B * F, 4, h, w], noisy, frame by frame of each object; the last frame of each
                object is not read.
            timesteps: [B * F], the diffusion times.
            context: [B * F, L, C], the text encoder's tokens.
            cameras: [B * F, 16], see `l4gm.multiview.cameras`.
            image_embeds: [B * F or B, M, 1280], the input picture's CLIP tokens.
            image_latents: [B, 4, h, w], the input picture's clean latents: they stand in the
                last frame's place.
            views: F, the frames per object: its views and the input picture.

        Returns:
            [B * F, 4, h, w], in the latents' dtype.

        Raises:
            ValueError: the batch is not a multiple of `views`, or the others do not go with it.
        """
        batch = len(latents)
        if batch % views:
            raise ValueError(f"latents hold {batch} frames, which is no multiple of views={views}")
        objects = batch // views
        if len(image_latents) != objects or len(image_embeds) not in (batch, objects):
            raise ValueError(
                f"{objects} objects of {views} frames need {objects} image_latents and "
                f"{batch} or {objects} image_embeds, got {len(image_latents)} and "
                f"{len(image_embeds)}"
            )
        image_tokens = self.image_embed(image_embeds)
        conditions = Conditions(
            embedding=self._embedding(timesteps, cameras, latents.dtype),
            text=context,
            image=image_tokens.repeat_interleave(batch // len(image_embeds), dim=0),
            frames=views,
        )

        noisy = latents.unflatten(0, (objects, views))[:, :-1]
        x = torch.cat([noisy, image_latents.to(latents)[:, None]], dim=1).flatten(0, 1)
        skips = []
        for block in self.input_blocks:
            x = block(x, conditions)
            skips.append(x)
        x = self.middle_block(x, conditions)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), conditions)
        return self.out(x)

    def _embedding(self, timesteps: Tensor, cameras: Tensor, dtype: torch.dtype) -> Tensor:
        time = sinusoids(timesteps, self.config.model_channels).to(dtype)
        return self.time_embed(time) + self.camera_embed(cameras.to(dtype))

    def _block(self, in_channels: int, out_channels: int, level: int) -> list[nn.Module]:
        residual = ResidualBlock(in_channels, out_channels, 4 * self.config.model_channels)
        if 2**level not in self.config.attention_resolutions:
            return [residual]
        return [residual, self._transformer(out_channels)]

    def _transformer(self, channels: int) -> CrossViewTransformer:
        return CrossViewTransformer(
            channels,
            self.config.context_dim,
            num_heads=channels // self.config.num_head_channels,
            depth=self.config.transformer_depth,
            image_weight=self.config.ip_weight,
        )


def sinusoids(timesteps: Tensor, channels: int) -> Tensor:
    """Cosines, then sines, of the time at frequencies from 1 down to nearly 1 / 10,000.

    Args:
        timesteps: [B].
        channels: even.

    Returns:
        [B, channels] float32.
    """
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=timesteps.device) / half
    angles = timesteps.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def _two_layers(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, out_channels), nn.SiLU(), nn.Linear(out_channels, out_channels)
    )
