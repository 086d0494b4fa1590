"""The network: images of an object over time in, a volume of occupancy for each frame out.

Letters: B clips, T frames, K side views, C channels; S image size. The volume's cells lie along the
rays of the video's camera, so that depth is a matter of channels and 2D convolutions suffice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.geometry.cameras import Cameras
from l4gm.solid.attention import TokenBlock, ViewCode
from l4gm.solid.config import SolidConfig
from l4gm.solid.encoder import FEATURE_CHANNELS, Encoder
from l4gm.solid.volume import Frustum

# Motion between the reference moment and a frame is at most about this, in world units.
_MOTION_UNIT = 0.25
_MIN_ALPHA = 0.05


@dataclass(frozen=True)
class SolidInput:
    """What one forward pass works on.

    Args:
        front: [B, T, 4, S, S] straight RGBA in [0, 1], the video; the first of the T is the
            reference, the moment at which the side views were taken.
        sides: [B, K, 4, s, s], those views, or None.
        present: [B, K] bool, which of them are given.
        side_cameras: [K].
        frustum: of the volume.
    """

    front: Tensor
    sides: Tensor | None
    present: Tensor | None
    side_cameras: Cameras | None
    frustum: Frustum


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
        self.up16 = _Up(tokens, stride16 + 1, low)
        self.up8 = _Up(low, stride8 + 1, middle)
        self.match = _Match(stride8 + stride16)
        compared = 2 * stride8 + self.match.num_channels
        self.since = nn.Sequential(_Conv(compared, middle), nn.Conv2d(middle, middle, 1))
        self.refine8 = _Residual(middle)
        self.motion = nn.Sequential(_Conv(middle, 64), nn.Conv2d(64, 3 * config.motion_cells, 1))
        self.lift = _Lift(config, middle)
        self.up4 = _Up(middle, FEATURE_CHANNELS[1] + 4 * (FEATURE_CHANNELS[0] + 1), high)
        self.silhouettes = _Silhouettes(config, high)
        self.refine4 = _Residual(high)
        # Two by two rays of the volume share a cell of the finest maps.
        self.occupancy = nn.Sequential(
            _Conv(high, high), nn.Conv2d(high, 4 * config.depth_cells, 1)
        )
        self.color = nn.Sequential(_Conv(high, 64), nn.Conv2d(64, 4 * config.color_cells, 1))
        for head in (self.since[-1], self.motion[-1], self.color[-1]):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

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
        x = self.up16(x, features[3], _area(alpha, features[3]))
        x = self.up8(x, features[2], _area(alpha, features[2]))
        then = [maps.repeat_interleave(frames, 0) for maps in reference[2:4]]
        compared = [features[2], then[0], self.match(features[2:4], then)]
        x = self.refine8(x + self.since(torch.cat(compared, 1)))
        motion = self._motion(x, is_still=frames == 1)
        if sides is not None:
            x = x + self.lift(inputs, sides, motion.unflatten(0, (batch, frames)))
        fine = F.pixel_unshuffle(torch.cat([features[0], _area(alpha, features[0])], 1), 2)
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
        alpha = _area(inputs.front.flatten(0, 1)[:, 3:], deep)
        maps = self.tokens(torch.cat([deep, alpha], 1))
        x = self.code.front(maps).unflatten(0, (batch, frames))
        known = self.code.reference(maps.unflatten(0, (batch, frames))[:, 0])
        mask = None
        if sides is not None:
            assert inputs.sides is not None
            assert inputs.present is not None
            assert inputs.side_cameras is not None
            coarse = F.interpolate(sides[4], sides[3].shape[-2:], mode="bilinear")
            alpha = _area(inputs.sides.flatten(0, 1)[:, 3:], coarse)
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
        weight = _area(alpha, x)
        pixels = _area(color * alpha, x) / weight.clamp(min=_MIN_ALPHA)
        own = pixels.clamp(0.02, 0.98).logit()[:, :, None]
        return torch.sigmoid(torch.sigmoid(gates + 1) * own + 2 * rest)


class _Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(8, outputs), nn.SiLU()
        )


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _Conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class _Up(nn.Module):
    """Twice as fine, joined with the encoder's features and more."""

    def __init__(self, coarse: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(coarse, outputs, 1)
        self.join = _Conv(outputs + skipped, outputs)
        self.refine = _Residual(outputs)

    def forward(self, x: Tensor, *skipped: Tensor) -> Tensor:
        x = F.interpolate(self.narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
        return self.refine(self.join(torch.cat([x, *skipped], 1)))


class _Match(nn.Module):
    """How alike the places of a frame are to those of the reference moment, nearby and everywhere.

    On a grid of 16 x 16, whatever size the images are, so that a cell is a world length.
    """

    def __init__(self, inputs: int, channels: int = 48, grid: int = 16, reach: int = 4) -> None:
        super().__init__()
        self.project = nn.Conv2d(inputs, channels, 1)
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.grid = grid
        # Of each cell, the cells within reach, and how far away all cells are.
        y, x = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
        steps = torch.arange(-reach, reach + 1)
        rows = y.flatten()[:, None, None] + steps[:, None]
        columns = x.flatten()[:, None, None] + steps
        within = (rows >= 0) & (rows < grid) & (columns >= 0) & (columns < grid)
        near = rows.clamp(0, grid - 1) * grid + columns.clamp(0, grid - 1)
        self.register_buffer("near", near.flatten(1), persistent=False)
        self.register_buffer("within", within.flatten(1), persistent=False)
        place = torch.stack([x.flatten(), y.flatten()], -1).float() / grid
        self.register_buffer("place", place, persistent=False)
        self.num_channels = self.near.shape[1] + 3

    def forward(self, now: list[Tensor], then: list[Tensor]) -> Tensor:
        """Maps at strides 8 and 16 of the frames and of their reference -> [n, C, h, w]."""
        first, second = (self._places(maps) for maps in (now, then))
        with torch.autocast(first.device.type, enabled=False):
            found = self._compared(first, second).to(now[0].dtype)
        size = now[0].shape[-2:]
        return F.interpolate(found, size, mode="bilinear", align_corners=False)

    def _compared(self, first: Tensor, second: Tensor) -> Tensor:
        """[n, C, grid, grid] of unit vectors [n, cells, c]."""
        alike = first @ second.transpose(1, 2)  # [n, cells, cells]
        nearby = alike.gather(2, self.near.expand(len(alike), -1, -1)) * self.within
        share = (self.sharpness * alike).softmax(-1)
        moved = share @ self.place - self.place
        sure = (share * share).sum(-1, keepdim=True)
        found = torch.cat([nearby, 4 * moved, sure], -1).transpose(1, 2)
        return found.unflatten(2, (self.grid, self.grid))

    def _places(self, maps: list[Tensor]) -> Tensor:
        """[n, cells, C], unit vectors, float32."""
        size = (self.grid, self.grid)
        fine, coarse = maps
        coarse = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
        joined = torch.cat([F.adaptive_avg_pool2d(fine, size), coarse], 1)
        return F.normalize(self.project(joined).float(), dim=1).flatten(2).transpose(1, 2)


class _Lift(nn.Module):
    """Features of the side views at the points of a coarse volume, folded into channels."""

    def __init__(self, config: SolidConfig, outputs: int) -> None:
        super().__init__()
        count = config.lifted_channels
        self.features = nn.ModuleList(nn.Conv2d(c, count, 1) for c in FEATURE_CHANNELS[1:])
        self.mix = _Conv2dNarrow(count)
        self.cells = config.lifted_cells
        self.combine = nn.Sequential(nn.Conv2d(count + 2, count, 1), nn.SiLU())
        self.squash = nn.Conv2d(count * self.cells, outputs, 1)
        nn.init.zeros_(self.squash.weight)
        nn.init.zeros_(self.squash.bias)

    def forward(self, inputs: SolidInput, sides: list[Tensor], motion: Tensor) -> Tensor:
        """[B T, C, h, w] of motion [B, T, 3, Dm, h, w]."""
        assert inputs.sides is not None
        batch = len(inputs.front)
        size = sides[1].shape[-2:]
        y = sum(
            F.interpolate(project(x), size, mode="bilinear", align_corners=False)
            for project, x in zip(self.features, sides[1:], strict=True)
        )
        y = torch.cat([self.mix(y).float(), _area(inputs.sides.flatten(0, 1)[:, 3:], y)], 1)
        shape = (self.cells, *motion.shape[-2:])
        mean, least = _gather(inputs, y.unflatten(0, (batch, -1)), motion, shape)
        lifted = self.combine(torch.cat([mean, least], 1).flatten(2, 3))
        return self.squash(lifted.unflatten(2, shape[:2]).flatten(1, 2))


class _Conv2dNarrow(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(nn.Conv2d(channels, channels, 3, padding=1), nn.SiLU())


class _Silhouettes(nn.Module):
    """What the outlines of the side views say: a cell outside any of them is empty, as far as the
    motion since then is known."""

    def __init__(self, config: SolidConfig, channels: int) -> None:
        super().__init__()
        self.cells = config.depth_cells
        self.join = _Conv(channels + self.cells, channels)
        self.out = nn.Conv2d(channels, channels, 1)
        self.trust = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.zeros_(self.trust.weight)
        nn.init.ones_(self.trust.bias)

    def votes(self, inputs: SolidInput, motion: Tensor) -> Tensor:
        """[B T, D, h, w] the least alpha with which a side view covers each cell."""
        assert inputs.sides is not None
        shape = (self.cells, 2 * motion.shape[-2], 2 * motion.shape[-1])
        return _gather(inputs, inputs.sides[:, :, 3:], motion, shape)[1][:, 0]

    def forward(self, x: Tensor, votes: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and what to add to the logits."""
        y = self.join(torch.cat([x, votes.to(x.dtype)], 1))
        bias = 4 * F.softplus(self.trust(y).float()) * (votes - 1)
        return x + self.out(y), bias


def _gather(
    inputs: SolidInput, maps: Tensor, motion: Tensor, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Side views at the points of a volume: means of their maps, and their least alpha.

    Args:
        maps: [B, K, C, s, s] float32, the last channel alpha.
        motion: [B, T, 3, Dm, h, w], back to when the views were taken.
        shape: D, h, w of the volume.

    Returns:
        [B T, C, D, h, w] over the given views, and [B T, 1, D, h, w].
    """
    assert inputs.present is not None
    assert inputs.side_cameras is not None
    frames = motion.shape[1]
    points = inputs.frustum.points(*shape)[None]
    motion = motion.detach()  # it learns from where points went, not from what they look like
    if moves := bool(motion.any()):
        moved = F.interpolate(motion.flatten(0, 1), shape, mode="trilinear", align_corners=False)
        points = points + moved.movedim(1, -1)
    share = inputs.present / inputs.present.sum(1, keepdim=True).clamp(min=1)  # [B, K]
    share = share.repeat_interleave(frames, 0)[:, :, None, None, None]
    total: Tensor | float = 0.0
    least: Tensor | None = None
    for view in range(maps.shape[1]):
        place = project(points, inputs.side_cameras[view]).flatten(2, 3)
        if moves:
            values = maps[:, view].repeat_interleave(frames, 0)
            sampled = F.grid_sample(values, place, align_corners=False)
        else:  # the same places in all of them: more channels of one image
            joined = maps[:, view].flatten(0, 1)[None]
            sampled = F.grid_sample(joined, place, align_corners=False)
            sampled = sampled.unflatten(1, maps.shape[:3:2]).squeeze(0)
            sampled = sampled.repeat_interleave(frames, 0)
        total = total + sampled * share[:, view]
        covered = torch.where(share[:, view] > 0, sampled[:, -1:], 1.0)
        least = covered if least is None else torch.minimum(least, covered)
    assert isinstance(total, Tensor)
    assert least is not None
    return total.unflatten(3, shape[1:]), least.unflatten(3, shape[1:])


def project(points: Tensor, camera: Cameras) -> Tensor:
    """World points [..., 3] to places in a camera's image [..., 2], -1 to 1 from edge to edge."""
    pose = camera.camera_from_world.to(points)
    local = points @ pose[:3, :3].T + pose[:3, 3]
    lens = camera.intrinsics.to(points)
    z = local[..., 2].clamp(min=1e-3)
    x = (local[..., 0] / z * lens[0, 0] + lens[0, 2]) * (2 / camera.width) - 1
    y = (local[..., 1] / z * lens[1, 1] + lens[1, 2]) * (2 / camera.height) - 1
    return torch.stack([x, y], -1)


def _area(maps: Tensor, like: Tensor) -> Tensor:
    """Averaged to the size of other maps."""
    return F.adaptive_avg_pool2d(maps, like.shape[-2:]).to(like.dtype)
