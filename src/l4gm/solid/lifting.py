"""What side views of the reference moment say about the cells of the volume."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l4gm.geometry.cameras import Cameras
from l4gm.solid.config import SolidConfig
from l4gm.solid.encoder import FEATURE_CHANNELS
from l4gm.solid.layers import Conv, area, zeroed
from l4gm.solid.volume import Frustum


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


class Lift(nn.Module):
    """Features of the side views at the points of a coarse volume, folded into channels."""

    def __init__(self, config: SolidConfig, outputs: int) -> None:
        super().__init__()
        count = config.lifted_channels
        self.features = nn.ModuleList(nn.Conv2d(c, count, 1) for c in FEATURE_CHANNELS[1:])
        self.mix = nn.Sequential(nn.Conv2d(count, count, 3, padding=1), nn.SiLU())
        self.cells = config.lifted_cells
        self.combine = nn.Sequential(nn.Conv2d(count + 2, count, 1), nn.SiLU())
        self.squash = zeroed(nn.Conv2d(count * self.cells, outputs, 1))

    def forward(self, inputs: SolidInput, sides: list[Tensor], motion: Tensor) -> Tensor:
        """[B T, C, h, w] of motion [B, T, 3, Dm, h, w]."""
        assert inputs.sides is not None
        batch = len(inputs.front)
        size = sides[1].shape[-2:]
        projected = [layer(x) for layer, x in zip(self.features, sides[1:], strict=True)]
        y = torch.stack(
            [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in projected]
        ).sum(0)
        y = torch.cat([self.mix(y).float(), area(inputs.sides.flatten(0, 1)[:, 3:], y)], 1)
        shape = (self.cells, *motion.shape[-2:])
        mean, least = gather(inputs, y.unflatten(0, (batch, -1)), motion, shape)
        lifted = self.combine(torch.cat([mean, least], 1).flatten(2, 3))
        return self.squash(lifted.unflatten(2, shape[:2]).flatten(1, 2))


class Silhouettes(nn.Module):
    """What the outlines of the side views say: a cell outside any of them is empty, as far as the
    motion since then is known."""

    def __init__(self, config: SolidConfig, channels: int) -> None:
        super().__init__()
        self.cells = config.depth_cells
        self.join = Conv(channels + self.cells, channels)
        self.out = zeroed(nn.Conv2d(channels, channels, 1))
        self.trust = zeroed(nn.Conv2d(channels, 1, 1))
        assert self.trust.bias is not None
        nn.init.ones_(self.trust.bias)

    def votes(self, inputs: SolidInput, motion: Tensor) -> Tensor:
        """[B T, D, h, w] the least alpha with which a side view covers each cell."""
        assert inputs.sides is not None
        shape = (self.cells, 2 * motion.shape[-2], 2 * motion.shape[-1])
        return gather(inputs, inputs.sides[:, :, 3:], motion, shape)[1][:, 0]

    def forward(self, x: Tensor, votes: Tensor) -> tuple[Tensor, Tensor]:
        """Features, and what to add to the logits."""
        y = self.join(torch.cat([x, votes.to(x.dtype)], 1))
        bias = 4 * F.softplus(self.trust(y).float()) * (votes - 1)
        return x + self.out(y), bias


def gather(
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
