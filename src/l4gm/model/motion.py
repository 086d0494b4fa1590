"""Our own small network for frames between: two pictures in, where what the first shows goes out.

Between two moments a Gaussian that stands for a pixel of the video is not the same piece of surface
as its namesake, so that blends of both are seen twice. This network tells, for every pixel of a
picture, how far in space the surface that it shows has moved a third of the time later.

It compares every place of one picture with every place of the other, as GMFlow (Xu et al. 2022,
arXiv 2111.13680), and refines what it found: a U-Net alone hardly begins to learn this.

Legend: P pairs, S picture size, h = w the grid, S / patch_size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS
from l4gm.model.attention import NUM_VIEW_FEATURES, Grid
from l4gm.model.config import L4GMConfig
from l4gm.model.unet import UNet
from l4gm.plain import PlainConfig

# Colour on white and alpha of a picture.
_NUM_PICTURE_CHANNELS = 4
_FLOW_CHANNELS = 3  # and how sure the match is
# World units of one unit of output.
_UNIT = 0.02
# From the middle of the scene to the edge of the picture, in world units.
HALF_WIDTH = RADIUS * math.tan(math.radians(FOV_Y_DEGREES) / 2)


@dataclass(frozen=True, kw_only=True)
class MotionConfig(PlainConfig):
    """The network's size.

    Args:
        input_size: pictures are resized to this many pixels, width and height.
        channels: of each level going down, and back up.
        attention: whether each level attends over all of its grid.
        match_channels: by which places are compared.
        layers_per_block, norm_groups, attention_head_width, patch_size: see `L4GMConfig`.

    Raises:
        ValueError: numbers that do not go together.
    """

    title: ClassVar[str] = "config of a motion network"

    input_size: int = 128
    channels: tuple[int, ...] = (24, 32, 48, 64)
    attention: tuple[bool, ...] = (False, False, True, True)
    match_channels: int = 32
    layers_per_block: int = 1
    norm_groups: int = 8
    attention_head_width: int = 16
    patch_size: int = 2

    def __post_init__(self) -> None:
        for name in ("channels", "attention"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.unet()

    def unet(self) -> L4GMConfig:
        """Both U-Nets: of what places are compared by, and of the refinement."""
        return L4GMConfig(
            input_size=self.input_size,
            down_channels=self.channels,
            down_attention=self.attention,
            mid_attention=self.attention[-1] if self.attention else False,
            up_channels=self.channels[::-1],
            up_attention=self.attention[::-1],
            temporal_attention=False,
            layers_per_block=self.layers_per_block,
            norm_groups=self.norm_groups,
            attention_head_width=self.attention_head_width,
            patch_size=self.patch_size,
            attention_codes=True,
        )


class Motion(NamedTuple):
    """What `MotionNet` says of pairs.

    Args:
        moves: [P, 3, h, w] float32, by how much what `here` shows has moved after a third of the
            time from here to there, world units along the camera's axes (right, down, forward).
        flow: [P, 2, h / 2, w / 2] float32, how far the same has gone in `there`, right and down,
            in half pictures; before the refinement, for training.
    """

    moves: Tensor
    flow: Tensor


class MotionNet(nn.Module):
    """Predicts how the surface behind each pixel moves towards another moment."""

    def __init__(self, config: MotionConfig) -> None:
        super().__init__()
        self.config = config
        self.places = UNet(config.unet(), config.match_channels, in_channels=_NUM_PICTURE_CHANNELS)
        seen = 2 * _NUM_PICTURE_CHANNELS + _FLOW_CHANNELS
        self.unet = UNet(config.unet(), out_channels=3, in_channels=seen)
        nn.init.zeros_(self.unet.conv_out.weight)  # what was found is not refined
        nn.init.zeros_(self.unet.conv_out.bias)  # type: ignore[arg-type]

    def forward(self, here: Tensor, there: Tensor, *, input_size: int | None = None) -> Motion:
        """Predict motion.

        Args:
            here, there: [P, 4, S, S] colour on white and alpha in [0, 1], from one camera; resized
                bilinearly to the network's input size.
            input_size: work at this size (a multiple of the U-Net's `size_multiple`) instead of
                `config.input_size`.
        """
        size = self.config.input_size if input_size is None else input_size
        pictures = torch.stack([here, there], 1).float()  # [P, 2, 4, S, S]
        if pictures.shape[-1] != size:
            resized = F.interpolate(pictures.flatten(0, 1), (size, size), mode="bilinear")
            pictures = resized.unflatten(0, (-1, 2))
        pictures = 2 * pictures - 1
        flow, certainty = self._match(pictures)
        found = torch.cat([flow, certainty], 1)
        found = F.interpolate(found, (size, size), mode="bilinear")
        target = _centres(size, found.device) + found[:, :2]
        followed = F.grid_sample(
            pictures[:, 1], target.movedim(1, -1), padding_mode="border", align_corners=False
        )
        inputs = torch.cat([pictures[:, 0], followed, found], 1)
        refined = _UNIT * self._run(self.unet, inputs, Grid(1, 1, self._codes(len(inputs), 1)))
        plain = F.interpolate(HALF_WIDTH / 3 * flow, refined.shape[-2:], mode="bilinear")
        return Motion(refined + F.pad(plain, (0, 0, 0, 0, 0, 1)), flow)

    def _match(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Where each place of the first pictures is found in the second.

        Args:
            pictures: [P, 2, 4, S, S].

        Returns:
            `Motion.flow`, and [P, 1, h / 2, w / 2] the largest share of one place.
        """
        grid = Grid(1, 2, self._codes(len(pictures), 2))
        features = F.avg_pool2d(self._run(self.places, pictures.flatten(0, 1), grid), 2)
        here, there = features.flatten(2).unflatten(0, (-1, 2)).unbind(1)  # [P, C, n]
        scores = here.transpose(1, 2) @ there / math.sqrt(here.shape[1])
        shares = scores.softmax(-1)  # [P, n, n]
        centres = _centres(features.shape[-1], features.device)
        found = shares @ centres.flatten(1).T  # [P, n, 2]
        found = found.transpose(1, 2).unflatten(2, features.shape[-2:])
        certainty = shares.amax(-1).reshape(-1, 1, *features.shape[-2:])
        return found - centres, certainty

    def _run(self, unet: UNet, inputs: Tensor, grid: Grid) -> Tensor:
        return unet(inputs.to(unet.conv_in.weight.dtype), grid).float()

    def _codes(self, num_pairs: int, num_pictures: int) -> Tensor:
        """Codes for the attention: there is one camera; they tell the two moments apart."""
        weight = self.unet.conv_in.weight
        codes = weight.new_zeros(num_pairs, num_pictures, NUM_VIEW_FEATURES)
        codes[:, 1:] = 1
        return codes.flatten(0, 1)


def _centres(size: int, device: torch.device) -> Tensor:
    """[2, size, size]: x and y of the pixels' centres; the picture is -1 to 1."""
    ticks = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x, y])
