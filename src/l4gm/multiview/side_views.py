"""Our own small generator of views: one picture in, the three views that it does not show out.

ImageDream's network (`MultiViewUNet`) without what its size is for: no text, no CLIP, no latents.
It works on patches of pixels, and answers in one step with colour and coverage that have the least
squared error, the mean of what may be there: a sample of a diffusion is sharper, and twice as far
from the truth in the mean.

Legend: B objects, S picture size, p patch size.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from l4gm.media.matte import on_white
from l4gm.multiview.cameras import FRAME_AZIMUTHS_DEGREES, camera_embedding
from l4gm.multiview.protocol import VIEW_AZIMUTHS_DEGREES, VIEW_SIZE_PX
from l4gm.multiview.unet import MultiViewUNet
from l4gm.plain import PlainConfig

logger = logging.getLogger(__name__)

SIDE_AZIMUTHS_DEGREES = VIEW_AZIMUTHS_DEGREES[1:]
_BACK = SIDE_AZIMUTHS_DEGREES.index(180)
_NUM_SIDES = len(SIDE_AZIMUTHS_DEGREES)
# Their frames among ImageDream's, and the input picture, which comes last.
_CAMERAS = [*(FRAME_AZIMUTHS_DEGREES.index(a) for a in SIDE_AZIMUTHS_DEGREES), -1]
_NUM_FRAMES = len(_CAMERAS)
# By how much the generator steepens alpha around 1/2.
SHARPNESS = 4.0


@dataclass(frozen=True, kw_only=True)
class SideViewConfig(PlainConfig):
    """The network's size.

    Args:
        size_px: width and height of the pictures, in and out.
        patch_px: p x p pixels become the channels of one position.
        model_channels, channel_mult, attention_resolutions, num_res_blocks, num_head_channels,
            norm_groups: of the U-Net, see `MultiViewUNetConfig`.

    Raises:
        ValueError: numbers that do not go together.
    """

    title: ClassVar[str] = "config of a multi-view network"

    size_px: int = 64
    patch_px: int = 4
    model_channels: int = 48
    channel_mult: tuple[int, ...] = (1, 2, 4)
    attention_resolutions: tuple[int, ...] = (2, 4)
    num_res_blocks: int = 1
    num_head_channels: int = 48
    norm_groups: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, list):  # from JSON
                object.__setattr__(self, field.name, tuple(value))
            numbers = value if isinstance(value, list | tuple) else [value]
            if not all(isinstance(n, int) and n > 0 for n in numbers):
                raise ValueError(f"{field.name}: expected whole numbers above 0, got {value!r}")
        if not self.channel_mult:
            raise ValueError("channel_mult: expected at least one level")
        if self.size_px % self.size_multiple:
            raise ValueError(
                f"size_px must be a multiple of {self.size_multiple}, got {self.size_px}"
            )
        for multiple in self.channel_mult:
            channels = multiple * self.model_channels
            if channels % self.norm_groups or channels % self.num_head_channels:
                raise ValueError(
                    f"{channels} channels are no multiple of norm_groups={self.norm_groups} and "
                    f"num_head_channels={self.num_head_channels}"
                )

    @property
    def size_multiple(self) -> int:
        """Sizes of pictures that the network takes are multiples of this."""
        return self.patch_px * 2 ** (len(self.channel_mult) - 1)


class SideViewNet(nn.Module):
    """Predicts the views at azimuth 90, 180, 270 of the object in a picture from azimuth 0."""

    cameras: Tensor

    def __init__(self, config: SideViewConfig) -> None:
        super().__init__()
        self.config = config
        patch_area = config.patch_px**2
        self.unet = MultiViewUNet(
            image_size=config.size_px // config.patch_px,
            in_channels=3 * patch_area + 2,
            out_channels=4 * patch_area,
            model_channels=config.model_channels,
            attention_resolutions=config.attention_resolutions,
            num_res_blocks=config.num_res_blocks,
            channel_mult=config.channel_mult,
            num_head_channels=config.num_head_channels,
            transformer_depth=1,
            context_dim=0,
            camera_dim=16,
            ip_dim=0,
            norm_groups=config.norm_groups,
        )
        self.register_buffer("cameras", camera_embedding()[_CAMERAS], persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Predict the side views.

        Args:
            pictures: [B, 3, S, S] in [0, 1] on white, from azimuth 0 and elevation 0; S is a
                multiple of `config.size_multiple`.

        Returns:
            [B, 3, 4, S, S] in [0, 1]: colour (not premultiplied) and alpha, at azimuths 90, 180,
            270.
        """
        patch, size = self.config.patch_px, pictures.shape[-1]
        if pictures.shape[-2] != size or size % self.config.size_multiple:
            raise ValueError(
                f"pictures must be squares of a multiple of {self.config.size_multiple} px, got "
                f"{list(pictures.shape)}"
            )
        shown = 2 * pictures - 1
        # Where a diffusion begins with noise, each view begins with what is known of it: its rows
        # hold the object where the picture's do, and the back has the picture's mirrored outline.
        frames = [shown] * _NUM_FRAMES
        frames[_BACK] = shown.flip(-1)
        latents = functional.pixel_unshuffle(torch.stack(frames, 1).flatten(0, 1), patch)
        latents = torch.cat([latents, _places(latents)], 1)
        predicted = self.unet(
            latents,
            latents.new_zeros(len(latents)),
            cameras=self.cameras.repeat(len(pictures), 1),
            image_latents=latents[_NUM_FRAMES - 1 :: _NUM_FRAMES],
            views=_NUM_FRAMES,
        )
        views = functional.pixel_shuffle(predicted, patch).unflatten(0, (-1, _NUM_FRAMES))
        return views[:, :_NUM_SIDES].sigmoid()


def _places(latents: Tensor) -> Tensor:
    """[N, 2, h, w]: x and y of each position, -1 to 1, by which views find each other's rows."""
    height, width = latents.shape[-2:]
    y = torch.linspace(-1, 1, height, device=latents.device, dtype=latents.dtype)
    x = torch.linspace(-1, 1, width, device=latents.device, dtype=latents.dtype)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"))
    return grid.expand(len(latents), -1, -1, -1)


def sharpened(views: Tensor) -> Tensor:
    """Colour and alpha [..., 4, S, S] with outlines where alpha is 1/2, steep ones.

    A mean's outline is as wide as it is uncertain, and all of that width looks like object to a
    visual hull. The picture itself gets further from the truth in the mean.
    """
    color, alpha = views.split([3, 1], -3)
    return torch.cat([color, (SHARPNESS * (alpha - 0.5) + 0.5).clamp(0, 1)], -3)


class SideViewGenerator:
    """A `MultiViewGenerator` around a trained `SideViewNet`.

    The first view is the picture itself, so nothing is to be aligned. The network has no noise: the
    seed changes nothing.

    Args:
        network: on the device where it is to work.
    """

    exact_azimuths = True
    max_elevation_degrees = 10.0

    def __init__(self, network: SideViewNet) -> None:
        self.network = network.eval()

    @torch.no_grad()
    def __call__(self, image: Tensor, *, elevation: float = 0.0, seed: int = 0) -> Tensor:
        """Make the four views; see `MultiViewGenerator`.

        Args:
            image: [3, S, S] in [0, 1], the object centred on white.
            elevation: of the camera; the network knows 0 alone. A warning is logged beyond
                `max_elevation_degrees`.
            seed: not used.

        Returns:
            [4, 3, 256, 256] float32 in [0, 1], azimuths 0, 90, 180, 270, on the image's device.
        """
        if image.ndim != 3 or image.shape[0] != 3 or image.shape[1] != image.shape[2]:
            raise ValueError(f"image must be [3, S, S], got {list(image.shape)}")
        if abs(elevation) > self.max_elevation_degrees:
            logger.warning(
                "the generator of views knows no elevation but 0: expect wrong views at %g",
                elevation,
            )
        picture = image.float()[None]
        shown = _resized(picture, self.network.config.size_px).to(self.network.cameras)
        views = on_white(sharpened(self.network(shown)[0]))[:, :3]
        sides = _resized(views, VIEW_SIZE_PX).to(picture)
        return torch.cat([_resized(picture, VIEW_SIZE_PX), sides]).clamp(0, 1)


def _resized(pictures: Tensor, size: int) -> Tensor:
    """Square pictures [N, 3, H, H] to [N, 3, size, size]: by area, or up bilinearly."""
    mode = "area" if pictures.shape[-1] > size else "bilinear"
    return functional.interpolate(pictures, (size, size), mode=mode)
