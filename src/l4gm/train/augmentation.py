"""Making views 1..3 disagree with view 0 a little, as generated views do (LGM, section 3.4).

The multi-view generator's pictures are neither quite of one object nor from quite the stated
places. Training on exact ones alone would make the network rely on that; so some samples get the
views but the first distorted, or the cameras that the network is told turned.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras

# The released code's numbers.
DISTORTION = 0.5  # of a grid cell
GRID_LINES = (8, 17)  # at least, and one more than at most
JITTER = 0.1


def distort_grid(images: Tensor, generator: np.random.Generator) -> Tensor:
    """Stretch each picture along both axes by moving the lines of a coarse grid at random.

    Args:
        images: [V, C, H, W]; a picture is distorted in one way, each in its own.
    """
    height, width = images.shape[-2:]
    lines = int(generator.integers(*GRID_LINES))
    grids = []
    for _ in images:
        x = torch.from_numpy(_warped_axis(width, lines, generator))
        y = torch.from_numpy(_warped_axis(height, lines, generator))
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        grids.append(torch.stack([columns, rows], -1))
    return F.grid_sample(
        images, torch.stack(grids).to(images), padding_mode="border", align_corners=False
    )


def _warped_axis(size: int, lines: int, generator: np.random.Generator) -> np.ndarray:
    """[size] where each pixel looks, in [-1, 1]: linear between grid lines, the ends in place."""
    even = np.linspace(-1, 1, lines)
    moved = even + DISTORTION * (generator.random(lines) - 0.5) * (even[1] - even[0])
    moved[[0, -1]] = even[[0, -1]]
    centers = (2 * np.arange(size) + 1) / size - 1
    return np.interp(centers, moved, even)


def jitter_sides(cameras: Cameras, generator: np.random.Generator) -> Cameras:
    """Turn all cameras but the first around the origin, by up to 18 degrees sideways, 9 up or down.

    Args:
        cameras: [V].
    """
    pose = cameras.world_from_camera
    sideways = pose[1:, :3, 1] * _angles(len(pose) - 1, JITTER * math.pi, generator)
    upwards = pose[1:, :3, 0] * _angles(len(pose) - 1, JITTER * math.pi / 2, generator)
    turn = torch.eye(4).repeat(len(pose), 1, 1)
    turn[1:, :3, :3] = rotation(sideways) @ rotation(upwards)
    return replace(cameras, world_from_camera=turn @ pose)


def _angles(count: int, limit: float, generator: np.random.Generator) -> Tensor:
    """[count, 1] radians, uniform in -limit..limit."""
    return torch.from_numpy(generator.uniform(-limit, limit, (count, 1))).float()


def rotation(axis_angle: Tensor) -> Tensor:
    """Rotation matrices [..., 3, 3] of vectors [..., 3]: about the vector, by its length."""
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1)
    return torch.linalg.matrix_exp(cross.reshape(*axis_angle.shape, 3))
