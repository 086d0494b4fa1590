"""From where an object is looked at, whatever its size and place: one rule for all that show it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import visible
from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS

# Half of what the rig's cameras see at the origin, in world units.
_SEEN = RADIUS * math.tan(math.radians(FOV_Y_DEGREES / 2))
_SMALL = 0.2  # of that: what is smaller is gone near to
_MARGIN = 1.15  # also for the reach of the Gaussians themselves
_STRAYS = 0.002  # share of the Gaussians at each end that no view is widened for
_FRAMES = 16
_POINTS_A_FRAME = 20_000


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Where orbit cameras look, and from how far; by default as the paper's rig does.

    Args:
        target: point in the world.
        radius: distance from it, world units.
    """

    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = RADIUS


def measure_framing(num_frames: int, frame: Callable[[int], Gaussians]) -> Framing:
    """The framing of an animation: the rig's own if the object fits it, else around the object.

    An object fits whose visible Gaussians, but for a few strays, all lie within what the rig sees.
    Any other is seen whole, as if it had the size for the rig.

    Args:
        num_frames: T.
        frame: index -> Gaussians [N]; asked for at most 16 frames, evenly spread.
    """
    count = min(_FRAMES, num_frames)
    indices = torch.linspace(0, num_frames - 1, count).round().long().tolist()
    points = torch.cat([_sample(frame(index)) for index in indices])
    if not len(points):
        return Framing()
    low, high = _ends(points)
    if _SMALL * _SEEN <= max(float(low.abs().max()), float(high.abs().max())) <= _SEEN:
        return Framing()
    centre = (low + high) / 2
    inside = ((points >= low) & (points <= high)).all(-1)
    reach = float((points[inside] - centre).norm(dim=-1).max()) if inside.any() else 0.0
    if reach == 0:
        return Framing()
    x, y, z = centre.tolist()
    radius = _MARGIN * reach / math.sin(math.radians(FOV_Y_DEGREES / 2))
    return Framing(target=(x, y, z), radius=radius)


def _sample(gaussians: Gaussians) -> Tensor:
    """[n, 3]: places of evenly chosen visible Gaussians of one set."""
    means = gaussians.means[visible(gaussians)].detach().to("cpu", torch.float32)
    return means[:: max(1, len(means) // _POINTS_A_FRAME)]


def _ends(points: Tensor) -> tuple[Tensor, Tensor]:
    """[3], [3]: the box of all points but the strays at each side."""
    ordered = points.sort(0).values
    skipped = int(_STRAYS * len(points))
    return ordered[skipped], ordered[len(points) - 1 - skipped]
