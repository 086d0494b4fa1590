"""What a `SolidNet` learns from: occupancy, colour and motion, without a rasterizer."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.solid.config import SolidConfig
from l4gm.solid.lifting import SolidInput
from l4gm.solid.network import VolumeMaps
from l4gm.solid.volume import Frustum
from l4gm.train.solid_batches import SIDE_AZIMUTHS, SolidBatch

COLOR_WEIGHT, MOTION_WEIGHT = 0.7, 8.0
RADIUS = 1.5


def training_frustum(config: SolidConfig) -> Frustum:
    """Of the camera at azimuth 0, which the training clips are seen from."""
    camera = orbit_cameras([0.0], size=config.image_size)[0]
    return Frustum(camera, RADIUS - config.reach, RADIUS + config.reach)


def side_cameras(config: SolidConfig) -> Cameras:
    """[3]."""
    return orbit_cameras(list(SIDE_AZIMUTHS), size=config.side_size)


def network_input(batch: SolidBatch, config: SolidConfig) -> SolidInput:
    """What the network is shown."""
    return SolidInput(
        front=batch.front,
        sides=batch.sides,
        present=batch.present,
        side_cameras=None if batch.sides is None else side_cameras(config),
        frustum=training_frustum(config),
    )


def solid_loss(
    network: Callable[[SolidInput], VolumeMaps], config: SolidConfig, batch: SolidBatch
) -> dict[str, Tensor]:
    """Terms of a step, with their weighted sum under "loss".

    Returns:
        "occupancy": binary cross-entropy per cell on the rays within the silhouette; "iou" of the
        volumes there, for the log; "color": mean absolute error of the colour volume at surface
        points, those that the front view shows counting a quarter; "motion": mean distance to where
        surface points were at the first moment, in world units.
    """
    inputs = network_input(batch, config)
    maps = network(inputs)
    logits = maps.logits.movedim(2, -1)[batch.rays].float()  # [rays, D]
    truth = batch.inside.movedim(2, -1)[batch.rays]
    occupancy = F.binary_cross_entropy_with_logits(logits, truth)
    grid = inputs.frustum.coordinates(batch.points).flatten(0, 1)[:, None, None]
    colors = _sample(maps.colors, grid)
    weight = torch.where(_is_hidden(batch, grid), 1.0, 0.25)
    truth_colors = batch.colors.flatten(0, 1)
    color = ((colors - truth_colors).abs().mean(-1) * weight).sum() / weight.sum()
    moved = _sample(maps.motion, grid)
    away = (batch.origins - batch.points).flatten(0, 1)
    motion = (moved - away).norm(dim=-1).mean()
    with torch.no_grad():
        predicted, solid = logits > 0, truth > 0.5
        iou = (predicted & solid).sum() / (predicted | solid).sum().clamp(min=1)
    loss = occupancy + COLOR_WEIGHT * color
    if batch.front.shape[1] > 1:
        loss = loss + MOTION_WEIGHT * motion
    return {"loss": loss, "occupancy": occupancy, "color": color, "motion": motion, "iou": iou}


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    """[B, T, 3, D, h, w] at places [B T, 1, 1, M, 3] -> [B T, M, 3]."""
    sampled = F.grid_sample(maps.flatten(0, 1), grid, align_corners=False, padding_mode="border")
    return sampled[:, :, 0, 0].transpose(1, 2)


def _is_hidden(batch: SolidBatch, grid: Tensor) -> Tensor:
    """[B T, M] whether the front view does not show the points: solid cells are before them."""
    inside = batch.inside.flatten(0, 1)[..., ::2, ::2] > 0.5
    cells = inside.shape[1]
    first = torch.where(inside.any(1), inside.float().argmax(1), cells).float()[:, None]
    surface = F.grid_sample(first, grid[:, 0, :, :, :2], mode="nearest", align_corners=False)
    depth = (grid[:, 0, 0, :, 2] + 1) / 2 * cells
    return depth > surface[:, 0, 0] + 2
