"""Given views bound the volume: what lies outside the outline of one of them is empty.

The network sees the views small and knows this roughly; here it is applied at their own
resolution. Views are of the reference moment, so that cells are looked up where they were then, and
the less is carved the further they have moved: motion is not known that well.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.media.distance import signed_distance
from l4gm.solid.lifting import project
from l4gm.solid.volume import Frustum

# Cells are kept this far outside an outline, in world units, and this share of their motion more.
TOLERANCE, MOTION_TOLERANCE = 0.004, 0.6
# How fast logits may rise with the distance inside, per world unit.
STEEPNESS = 300.0
FINER = 2  # rays of the result for one of the network's, along each side


def carve_by_outlines(
    logits: Tensor, motion: Tensor, frustum: Frustum, views: Tensor, cameras: Cameras
) -> Tensor:
    """Occupancy logits bounded by the outlines of given views.

    Args:
        logits: [T, D, h, w].
        motion: [T, 3, Dm, h', w'] back to the reference moment, world units.
        frustum: of the volume.
        views: [K, 4, S, S] RGBA of the reference moment.
        cameras: [K].

    Returns:
        [T, D, 2 h, 2 w].
    """
    depth, height, width = logits.shape[1:]
    size = (depth, FINER * height, FINER * width)
    points = frustum.points(*size)
    maps = torch.stack([_outline_distance(view[3]) for view in views])[:, None]
    finer = F.interpolate(logits[:, None], size, mode="trilinear", align_corners=False)[:, 0]
    return torch.stack(
        [
            _bounded(frame, moved, points, maps, cameras)
            for frame, moved in zip(finer, motion, strict=True)
        ]
    )


def _outline_distance(alpha: Tensor) -> Tensor:
    """[S, S] of alpha [S, S], in image widths."""
    signed = signed_distance((alpha > 0.5).cpu().numpy())
    return torch.from_numpy(signed).to(alpha) / alpha.shape[-1]


def _bounded(
    logits: Tensor, motion: Tensor, points: Tensor, maps: Tensor, cameras: Cameras
) -> Tensor:
    """[D, h, w] of logits [D, h, w], motion [3, Dm, h', w'], points [D, h, w, 3] and the views'
    outline distances maps [K, 1, S, S]."""
    tolerance = torch.full_like(logits, TOLERANCE)
    then = points
    if motion.any():
        moved = F.interpolate(motion[None], logits.shape, mode="trilinear", align_corners=False)[0]
        tolerance = tolerance + MOTION_TOLERANCE * moved.norm(dim=0)
        then = points + moved.movedim(0, -1)
    for view in range(len(maps)):
        camera = cameras[view]
        place = project(then, camera).flatten(1, 2)[None]
        inside = F.grid_sample(
            maps[view : view + 1], place, align_corners=False, padding_mode="border"
        )
        # Image widths to world units, at the distance of the middle of the scene.
        focal = camera.intrinsics[0, 0] / camera.width
        width = camera.world_from_camera[:3, 3].norm() / focal
        bound = STEEPNESS * (inside.view_as(logits) * width + tolerance)
        logits = torch.minimum(logits, bound)
    return logits
