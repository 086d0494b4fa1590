"""From stored solid clips to training batches: augmented as users' clips differ from renderings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

SIDE_AZIMUTHS = (90.0, 180.0, 270.0)


@dataclass(frozen=True)
class SolidBatch:
    """One step's clips.

    Args:
        front: [B, T, 4, S, S] straight RGBA, as the network is shown it.
        sides: [B, 3, 4, s, s] of the first moment, or None where all clips are videos alone.
        present: [B, 3] bool.
        inside: [B, T, D, 2 S / 4, 2 S / 4] share of each cell that is solid.
        rays: [B, T, 2 S / 4, 2 S / 4] bool, those within the silhouette, which are judged.
        points, origins: [B, T, M, 3] surface points, and where they were at the first moment.
        colors: [B, T, M, 3] theirs.
    """

    front: Tensor
    sides: Tensor | None
    present: Tensor | None
    inside: Tensor
    rays: Tensor
    points: Tensor
    origins: Tensor
    colors: Tensor

    def to(self, device: torch.device) -> SolidBatch:
        """The same on a device."""
        moved: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            moved[field.name] = None if value is None else value.to(device)
        return SolidBatch(**moved)


def solid_batch(
    clips: Sequence[Mapping[str, NDArray[Any]]],
    generator: np.random.Generator,
    depth_cells: int,
    with_sides: bool,
    *,
    points: int = 512,
    halve: bool = False,
) -> SolidBatch:
    """Put clips, as `SolidStore.read` gives them, together.

    Args:
        generator: of all augmentation.
        depth_cells: D of the network.
        with_sides: whether the side views are shown.
        points: surface points of a frame that are judged.
        halve: images of half the size, a quarter of the price.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in _PARTS}
    for clip in clips:
        for name, value in _augmented(clip, generator, depth_cells, points, halve).items():
            parts[name].append(value)
    stacked: dict[str, Any] = {name: torch.stack(values) for name, values in parts.items()}
    present = torch.from_numpy(_present(len(clips), generator)) if with_sides else None
    if not with_sides:
        stacked["sides"] = None
    return SolidBatch(**stacked, present=present)


_PARTS = ("front", "sides", "inside", "rays", "points", "origins", "colors")


def _present(count: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """[n, 3]: mostly all three, else some of them."""
    given = generator.random((count, 3)) < 0.6
    given |= ~given.any(1, keepdims=True)
    given[generator.random(count) < 0.75] = True
    return given


def _augmented(
    clip: Mapping[str, NDArray[Any]],
    generator: np.random.Generator,
    depth_cells: int,
    num_points: int,
    halve: bool,
) -> dict[str, Tensor]:
    front = torch.from_numpy(np.array(clip["front"])).permute(0, 3, 1, 2).float() / 255
    sides = torch.from_numpy(np.array(clip["sides"])).permute(0, 3, 1, 2).float() / 255
    inside = _share_inside(clip["inside"], depth_cells)
    if halve:
        within = (F.avg_pool2d(front[:, 3:], 2) > 0.3).float()
        inside = F.avg_pool2d(inside * within, 2) / F.avg_pool2d(within, 2).clamp(min=0.25)
        front, sides = _halved(front), _halved(sides)
    chosen = generator.integers(0, clip["points"].shape[1], num_points)
    points, origins, colors = (
        torch.from_numpy(np.array(clip[name])[:, chosen]).float()
        for name in ("points", "origins", "colors")
    )
    colors = colors / 255
    light = _Light.random(generator)
    front, sides = light.on_image(front), light.on_image(sides)
    colors = light.on_colors(colors)
    front, sides = _recorded(front, generator), _recorded(sides, generator)
    if generator.random() < 0.5:
        front, inside = front.flip(3), inside.flip(3)
        sides = sides.flip(3)[[2, 1, 0]]
        points, origins = points * _MIRROR, origins * _MIRROR
    # Where carving left nothing, what the pixel shows is thinner than cells: nothing is known.
    rays = (F.avg_pool2d(front[:, 3], 2) > 0.3) & (inside.amax(1) > 0)
    return {
        "front": front,
        "sides": sides,
        "inside": inside,
        "rays": rays,
        "points": points,
        "origins": origins,
        "colors": colors,
    }


def _share_inside(inside: NDArray[np.uint8], depth_cells: int) -> Tensor:
    """[T, D, h, w] of 0 or 1 in finer cells [T, k D, h, w]."""
    steps = inside.shape[1] // depth_cells
    count = np.add.reduce([inside[:, step::steps] for step in range(steps)], dtype=np.uint8)
    return torch.from_numpy(count).float() / steps


def _halved(rgba: Tensor) -> Tensor:
    """[n, 4, H, W] to half the size; colours weigh as much as they cover."""
    colors, alpha = F.avg_pool2d(rgba[:, :3] * rgba[:, 3:], 2), F.avg_pool2d(rgba[:, 3:], 2)
    return torch.cat([(colors / alpha.clamp(min=0.05)).clamp(0, 1), alpha], 1)


_MIRROR = torch.tensor([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class _Light:
    """Another exposure, tint, contrast and saturation, the same for all of a clip."""

    gain: Tensor
    gamma: float
    saturation: float

    @staticmethod
    def random(generator: np.random.Generator) -> _Light:
        gain = generator.uniform(0.7, 1.25) * generator.uniform(0.9, 1.1, 3)
        return _Light(
            torch.from_numpy(gain.astype(np.float32)),
            float(np.exp(generator.normal(0, 0.25))),
            float(generator.uniform(0.6, 1.4)),
        )

    def on_colors(self, colors: Tensor) -> Tensor:
        """[..., 3]."""
        colors = (colors * self.gain).clamp(0, 1) ** self.gamma
        return colors.mean(-1, keepdim=True).lerp(colors, self.saturation).clamp(0, 1)

    def on_image(self, rgba: Tensor) -> Tensor:
        """[..., 4, H, W]."""
        colors = self.on_colors(rgba[..., :3, :, :].movedim(-3, -1)).movedim(-1, -3)
        return torch.cat([colors, rgba[..., 3:, :, :]], -3)


def _recorded(rgba: Tensor, generator: np.random.Generator) -> Tensor:
    """[n, 4, H, W] as a camera, a codec and background removal would leave it, now and then."""
    colors, alpha = rgba[:, :3], rgba[:, 3:]
    if generator.random() < 0.3:
        colors = F.avg_pool2d(F.pad(colors, (1, 1, 1, 1), mode="replicate"), 3, 1)
    if generator.random() < 0.3:
        noise = generator.normal(0, generator.uniform(0.01, 0.04), colors.shape)
        colors = (colors + torch.from_numpy(noise.astype(np.float32))).clamp(0, 1)
    shape = generator.random()
    if shape < 0.15:  # a matte that is a little too wide, or too narrow
        alpha = F.max_pool2d(alpha, 3, 1, 1)
    elif shape < 0.3:
        alpha = -F.max_pool2d(-alpha, 3, 1, 1)
    elif shape < 0.5:
        alpha = F.avg_pool2d(alpha, 3, 1, 1)
    return torch.cat([colors, alpha], 1)
