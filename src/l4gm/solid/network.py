"""The network: images of an object over time in, a volume of occupancy for each frame out.

Letters: B clips, T frames, K side views, C channels; S image size. The volume's cells lie along the
rays of the video's camera, so that depth is a matter of channels and 2D convolutions suffice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.solid.attention import TokenBlock, ViewCode
from l4gm.solid.config import SolidConfig
from l4gm.solid.encoder import FEATURE_CHANNELS, Encoder
from l4gm.solid.layers import Conv, Residual, Up, area, zeroed
from l4gm.solid.lifting import Lift, Silhouettes, SolidInput
from l4gm.solid.matching import Match

# Motion between the reference moment and a frame is at most about this, in world units.
_MOTION_UNIT = 0.25
_MIN_ALPHA = 0.05


@dataclass(frozen=True)
class VolumeMaps:
    """The network's output.

    Args:
        logits: [B, T, D, h, w] of occupancy; h = S / 2. In the precision of the arithmetic.
        colors: [B, T, 3, Dc, h / 2, w / 2] in [0, 1], of surfaces that no image shows.
        motion: [B, T, 3, Dm, h / 4, w / 4], world units, from a frame back to the reference moment.
    """

    logits: Tensor
    colors: Tensor
    motion: Tensor


class SolidNet(nn.Module):
    """U-Net on a pretrained encoder, with cross-view and temporal attention at its bottom.

    Args:
        config: its shape.
    """

    def __init__(self, config: SolidConfig) -> None:
        super().__init__()
        self.config = config
        tokens, (low, middle, high) = config.token_channels, config.channels
        _, _, stride8, stride16, stride32 = FEATURE_CHANNELS
        self.encoder = Encoder()
        self.tokens = nn.Conv2d(stride32 + 1, tokens, 1)
        self.side_tokens = nn.Conv2d(stride16 + stride32 + 1, tokens, 1)
        self.code = ViewCode(tokens)
        self.blocks = nn.ModuleList(TokenBlock(tokens, config.heads) for _ in range(config.blocks))
        self.up16 = Up(tokens, stride16 + 1, low)
        self.up8 = Up(low, stride8 + 1, middle)
        self.match = Match(stride8 + stride16)
        compared = 2 * stride8 + self.match.num_channels
        self.since = nn.Sequential(Conv(compared, middle), zeroed(nn.Conv2d(middle, middle, 1)))
        self.refine8 = Residual(middle)
        self.motion = nn.Sequential(
            Conv(middle, 64), zeroed(nn.Conv2d(64, 3 * config.motion_cells, 1))
        )
        self.lift = Lift(config, middle)
        self.up4 = Up(middle, FEATURE_CHANNELS[1] + 4 * (FEATURE_CHANNELS[0] + 1), high)
        self.silhouettes = Silhouettes(config, high)
        self.refine4 = Residual(high)
        # Two by two rays of the volume share a cell of the finest maps.
        self.occupancy = nn.Sequential(Conv(high, high), nn.Conv2d(high, 4 * config.depth_cells, 1))
        self.color = nn.Sequential(Conv(high, 64), zeroed(nn.Conv2d(64, 4 * config.color_cells, 1)))

    def forward(self, inputs: SolidInput) -> VolumeMaps:
        """All frames of all clips."""
        batch, frames = inputs.front.shape[:2]
        front = inputs.front.flatten(0, 1)
        alpha = front[:, 3:]
        features = self._encode(front)
        reference = [maps.unflatten(0, (batch, frames))[:, 0] for maps in features]
        sides = None
        if inputs.sides is not None:
            with torch.no_grad():  # the encoder learns from the front view, at half the price
                sides = self._encode(inputs.sides.flatten(0, 1))

        x = self._attend(inputs, features[4], sides)
        x = self.up16(x, features[3], area(alpha, features[3]))
        x = self.up8(x, features[2], area(alpha, features[2]))
        then = [maps.repeat_interleave(frames, 0) for maps in reference[2:4]]
        compared = [features[2], then[0], self.match(features[2:4], then)]
        x = self.refine8(x + self.since(torch.cat(compared, 1)))
        motion = self._motion(x, is_still=frames == 1)
        if sides is not None:
            x = x + self.lift(inputs, sides, motion.unflatten(0, (batch, frames)))
        fine = F.pixel_unshuffle(torch.cat([features[0], area(alpha, features[0])], 1), 2)
        x = self.up4(x, features[1], fine)
        bias = None
        if sides is not None:
            votes = self.silhouettes.votes(inputs, motion.unflatten(0, (batch, frames)))
            x, bias = self.silhouettes(x, votes)
        x = self.refine4(x)
        logits = F.pixel_shuffle(self.occupancy(x), 2)
        if bias is not None:
            logits = logits + F.interpolate(bias, scale_factor=2, mode="nearest")
        return VolumeMaps(
            logits=logits.unflatten(0, (batch, frames)),
            colors=self._colors(x, front).unflatten(0, (batch, frames)),
            motion=motion.unflatten(0, (batch, frames)),
        )

    def _encode(self, rgba: Tensor) -> list[Tensor]:
        images = rgba[:, :3] * rgba[:, 3:] + (1 - rgba[:, 3:])
        return self.encoder(images.contiguous(memory_format=torch.channels_last))

    def _attend(self, inputs: SolidInput, deep: Tensor, sides: list[Tensor] | None) -> Tensor:
        """Tokens [B T, C, h, w] after attention to the views of the reference, and over time."""
        batch, frames = inputs.front.shape[:2]
        alpha = area(inputs.front.flatten(0, 1)[:, 3:], deep)
        maps = self.tokens(torch.cat([deep, alpha], 1))
        x = self.code.front(maps).unflatten(0, (batch, frames))
        known = self.code.reference(maps.unflatten(0, (batch, frames))[:, 0])
        mask = None
        if sides is not None:
            assert inputs.sides is not None
            assert inputs.present is not None
            assert inputs.side_cameras is not None
            coarse = F.interpolate(sides[4], sides[3].shape[-2:], mode="bilinear")
            alpha = area(inputs.sides.flatten(0, 1)[:, 3:], coarse)
            y = self.side_tokens(torch.cat([sides[3], coarse, alpha], 1)).unflatten(0, (batch, -1))
            y = self.code.side(y, inputs.frustum.camera, inputs.side_cameras).flatten(1, 2)
            given = inputs.present.repeat_interleave(y.shape[1] // inputs.present.shape[1], 1)
            mask = torch.cat([given.new_ones(batch, known.shape[1]), given], 1)
            known = torch.cat([known, y], 1)
        for block in self.blocks:
            x, known = block(x, known, mask)
        return x.flatten(0, 1).transpose(1, 2).unflatten(2, deep.shape[-2:])

    def _motion(self, x: Tensor, is_still: bool) -> Tensor:
        """[n, 3, Dm, h, w]; zero of the reference moment itself."""
        if is_still:
            shape = (len(x), 3, self.config.motion_cells, *x.shape[-2:])
            return torch.zeros(shape, device=x.device)
        return _MOTION_UNIT * self.motion(x).float().unflatten(1, (3, -1))

    def _colors(self, x: Tensor, front: Tensor) -> Tensor:
        """[n, 3, Dc, h, w]: partly the pixel's own colour, as much as the network says."""
        gates, rest = self.color(x).float().unflatten(1, (4, -1)).split((1, 3), 1)
        color, alpha = front[:, :3], front[:, 3:]
        weight = area(alpha, x)
        pixels = area(color * alpha, x) / weight.clamp(min=_MIN_ALPHA)
        own = pixels.clamp(0.02, 0.98).logit()[:, :, None]
        return torch.sigmoid(torch.sigmoid(gates + 1) * own + 2 * rest)
