"""Where the places of a frame are in another one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Match(nn.Module):
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
        self.near: Tensor
        self.within: Tensor
        self.place: Tensor
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
