"""What the silhouettes of the given views tell before anything is learned.

Above all where along its pixel's ray a splat starts: at the visual hull of the given views.

A small network needs a long time to learn that silhouettes seen from the side bound the depth;
geometry says it at once (Laurentini, 1994). The start is no more than that: white parts of an
object, moving parts that the side views show at another time and hollows are left to the network,
which adds its own offset.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rays import pixel_rays

# Rays are searched within this of the distance to the origin; objects fit the unit cube.
REACH = 0.7
NUM_STEPS = 40
# How far from white a pixel must be to count fully as object: an eighth of the range.
MASK_GAIN = 8.0
# A point counts as inside where this much less than the best agreement of its ray is reached.
TOLERANCE = 0.15
# A ray on which the views together never agree this much meets no object.
LEAST_AGREEMENT = 0.5


def object_masks(colors: Tensor, present: Tensor) -> Tensor:
    """How much of the object each pixel of a given view shows: what is not white.

    Args:
        colors: [B, T, V, 3, H, W] in [0, 1] on white.
        present: [B, V] bool; absent views show nothing.

    Returns:
        [B, T, V, H, W] in [0, 1]
    """
    masks = ((1 - colors.amin(3)) * MASK_GAIN).clamp(0, 1)
    return masks * present[:, None, :, None, None].to(masks.dtype)


def object_color(colors: Tensor, present: Tensor) -> Tensor:
    """[B, T, 3]: mean colour of the object in the given views of each frame; grey if none is seen.

    Args:
        colors, present: as in `object_masks`.
    """
    masks = object_masks(colors, present)[:, :, :, None]
    area = masks.sum((2, 4, 5))
    mean = (colors * masks).sum((2, 4, 5)) / area.clamp(min=1e-6)
    return torch.where(area > 0.5, mean, 0.5)


@torch.no_grad()
def hull_distances(colors: Tensor, present: Tensor, cameras: Cameras, size: int) -> Tensor:
    """Distance along each ray at which it first enters what most other given views see as object.

    Falls back to the camera's distance to the origin where the other views do not bound the ray:
    none is given, none of them sees an object there, or they agree from the near limit on.

    Args:
        colors: [B, T, V, 3, H, W] in [0, 1] on white.
        present: [B, V] bool; absent views do not vote.
        cameras: [B, T, V] or [1, 1, V], of the images.
        size: rays are cast through a size x size grid of each view.

    Returns:
        [B, T, V, size, size]
    """
    batch, frames, views = colors.shape[:3]
    masks = object_masks(colors, present)
    if cameras.shape[:2] == (1, 1):
        together = masks.flatten(0, 1)
        distances = _shared_cameras(together, cameras.reshape(views), size)
        return distances.reshape(batch, frames, views, size, size)
    rows = [
        _shared_cameras(masks[b, t][None], cameras[b, t], size)
        for b in range(batch)
        for t in range(frames)
    ]
    return torch.cat(rows).reshape(batch, frames, views, size, size)


def _shared_cameras(masks: Tensor, cameras: Cameras, size: int) -> Tensor:
    """masks [M, V, H, W] under the same cameras [V] -> distances [M, V, size, size]."""
    maps, views = masks.shape[:2]
    origins, directions = pixel_rays(cameras.resized(size))
    middle = origins.norm(dim=-1)  # [V, size, size]
    offsets = torch.linspace(-REACH, REACH, NUM_STEPS, device=masks.device)
    steps = middle[..., None] + offsets  # [V, size, size, K]
    points = origins[..., None, :] + directions[..., None, :] * steps[..., None]
    votes = masks.new_zeros(maps, *steps.shape)
    for other in range(views):
        grid = _sampling_grid(points, cameras[other])
        grid = grid.reshape(1, 1, -1, 2)
        # The maps go as channels: the grid is the same for all of them.
        seen = F.grid_sample(masks[None, :, other], grid, align_corners=False)
        votes += seen.reshape(maps, *steps.shape)
        # A view does not bound its own rays.
        own = seen.reshape(maps, *steps.shape)[:, other]
        votes[:, other] -= own
    most = votes.amax(-1, keepdim=True)
    first = (votes >= most - TOLERANCE).to(torch.uint8).argmax(-1)  # [M, V, size, size]
    bounded = (most[..., 0] >= LEAST_AGREEMENT) & (first > 0)
    distance = steps.expand(maps, *steps.shape).gather(-1, first[..., None])[..., 0]
    return torch.where(bounded, distance, middle)


def _sampling_grid(points: Tensor, camera: Cameras) -> Tensor:
    """World points [..., 3] as `grid_sample` coordinates [..., 2] in one camera's image."""
    transform = camera.camera_from_world
    in_camera = points @ transform[:3, :3].T + transform[:3, 3]
    projected = in_camera @ camera.intrinsics.T
    pixels = projected[..., :2] / projected[..., 2:].clamp(min=1e-3)
    return 2 * pixels / pixels.new_tensor([camera.width, camera.height]) - 1
