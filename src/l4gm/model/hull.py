"""What the silhouettes of the given views tell before anything is learned.

Above all where along its pixel's ray a splat starts: at the visual hull of the given views.

A small network needs a long time to learn that silhouettes seen from the side bound the depth;
geometry says it at once (Laurentini, 1994). The start is no more than that: moving parts that the
side views show at another time and hollows are left to the network, which adds its own offset, and
may be told where the hull is.

Silhouettes come from the pictures' alpha. Where nobody knows it, it is guessed from what is not
white, which white parts of an object escape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.geometry.rays import pixel_rays

# Rays are searched within this of the distance to the origin; objects fit the unit cube.
REACH = 0.7
NUM_STEPS = 40
NUM_HALVINGS = 3  # of a step, where the ray crosses the hull: then a quarter of a splat's width
NUM_HULL_CHANNELS = 3
# A pixel of which the object covers this much, an eighth, counts fully as object.
MASK_GAIN = 8.0
# A point counts as inside where this much less than the best agreement of its ray is reached.
TOLERANCE = 0.15
# A ray on which the views together never agree this much meets no object.
LEAST_AGREEMENT = 0.5
# A pixel that shows more background than this may be background. White parts of an object whose
# alpha is guessed are not taken for it if they are narrower than twice the closing radius (a share
# of the picture).
BACKGROUND_SHARE = 0.985
CLOSING_RADIUS = 0.07


def least_alpha(colors: Tensor) -> Tensor:
    """[..., H, W]: the least alpha that explains colours [..., 3, H, W] on white.

    The guess where alpha is not known: 1 for saturated and black pixels, 0 for white ones.
    """
    return 1 - colors.amin(-3)


def object_masks(alpha: Tensor, present: Tensor) -> Tensor:
    """Which pixels of the given views show the object.

    Args:
        alpha: [B, T, V, H, W] in [0, 1].
        present: [B, V] bool; absent views show nothing.

    Returns:
        [B, T, V, H, W] in [0, 1]
    """
    masks = (alpha * MASK_GAIN).clamp(0, 1)
    return masks * present[:, None, :, None, None].to(masks.dtype)


def object_color(colors: Tensor, alpha: Tensor, present: Tensor) -> Tensor:
    """[B, T, 3]: mean colour of the object in the given views of each frame; grey if none is seen.

    Args:
        colors: [B, T, V, 3, H, W] in [0, 1] on white.
        alpha, present: as in `object_masks`.
    """
    masks = object_masks(alpha, present)[:, :, :, None]
    area = masks.sum((2, 4, 5))
    mean = (colors * masks).sum((2, 4, 5)) / area.clamp(min=1e-6)
    return torch.where(area > 0.5, mean, 0.5)


@torch.no_grad()
def inside_silhouette(
    means: Tensor, alpha: Tensor, cameras: Cameras, *, is_guess: bool = False
) -> Tensor:
    """Which splats the video's own picture of their moment does not contradict.

    A splat in front of or behind the object's picture is inside; one that projects to background
    cannot be part of the object, wherever along its ray the network puts it.

    Args:
        means: [B, T, N, 3] world.
        alpha: [B, T, V, H, W] in [0, 1]; only view 0, the video's own, tells.
        cameras: [B, T, V] or [1, 1, V], of the images.
        is_guess: alpha is `least_alpha`: holes and gaps in it are taken for white of the object.

    Returns:
        [B, T, N] in [0, 1]: 0 on background, soft over one pixel.
    """
    batch, frames = means.shape[:2]
    silhouettes = (1 - alpha[:, :, 0] < BACKGROUND_SHARE).float().flatten(0, 1)
    if is_guess:
        silhouettes = _closed(silhouettes)
    cameras = cameras[:, :, 0].expand(batch, frames)
    grids = [
        _sampling_grid(means[b, t], cameras[b, t]) for b in range(batch) for t in range(frames)
    ]
    seen = F.grid_sample(silhouettes[:, None], torch.stack(grids)[:, None], align_corners=False)
    return seen.reshape(batch, frames, -1)


def _closed(masks: Tensor) -> Tensor:
    """Morphological closing of masks [M, H, W] by a square: fills holes and gaps."""
    radius = round(CLOSING_RADIUS * masks.shape[-1])

    def grown(values: Tensor) -> Tensor:
        for kernel, padding in (
            ((2 * radius + 1, 1), (radius, 0)),
            ((1, 2 * radius + 1), (0, radius)),
        ):
            values = F.max_pool2d(values, kernel, 1, padding)
        return values

    # What lies beyond the picture counts as background while shrinking too.
    room = F.pad(masks, (radius,) * 4)
    closed = 1 - grown(1 - grown(room))
    return closed[..., radius : closed.shape[-2] - radius, radius : closed.shape[-1] - radius]


@dataclass(frozen=True)
class Hull:
    """Where each ray lies within what the other given views see as object.

    Args:
        entry, exit: [B, T, V, s, s] distance from the camera at which the ray enters the hull first
            and leaves it last; both the distance to the middle of the scene where nothing bounds
            the ray.
        middle: [B or 1, T or 1, V, s, s] distance from the camera to the middle of the scene.
        agreement: [B, T, V, s, s] in [0, 1], the share of the other given views that see the object
            somewhere along the ray at once.
    """

    entry: Tensor
    exit: Tensor
    middle: Tensor
    agreement: Tensor

    def channels(self) -> Tensor:
        """[B T V, NUM_HULL_CHANNELS, s, s]: what a network is told, all of it around 0."""
        parts = (self.entry - self.middle, self.exit - self.middle, self.agreement)
        return torch.stack(parts, 3).flatten(0, 2)


@torch.no_grad()
def visual_hull(alpha: Tensor, present: Tensor, cameras: Cameras, size: int) -> Hull:
    """The hull along each ray: where most other given views see the object.

    It does not bound a ray where no other view is given, where none of them sees an object along
    it, or where they agree from the near limit on.

    Args:
        alpha: [B, T, V, H, W] in [0, 1].
        present: [B, V] bool; absent views do not vote.
        cameras: [B, T, V] or [1, 1, V], of the images.
        size: rays are cast through a size x size grid of each view.
    """
    batch, frames, views = alpha.shape[:3]
    masks = object_masks(alpha, present)
    if cameras.shape[:2] == (1, 1):
        rows = [_shared_cameras(masks.flatten(0, 1), cameras.reshape(views), size)]
    else:
        rows = [
            _shared_cameras(masks[b, t][None], cameras[b, t], size)
            for b in range(batch)
            for t in range(frames)
        ]
    voters = present.sum(1, keepdim=True) - present.int()  # [B, V] other views that are given
    voters = voters.clamp(min=1)[:, None, :, None, None]
    entry, leave, most = (
        torch.cat(parts).reshape(batch, frames, views, size, size)
        for parts in zip(*rows, strict=True)
    )
    middle = pixel_rays(cameras.resized(size))[0].norm(dim=-1)
    return Hull(entry=entry, exit=leave, middle=middle, agreement=most / voters)


def _shared_cameras(masks: Tensor, cameras: Cameras, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """masks [M, V, H, W] under the same cameras [V] -> entry, exit, most votes [M, V, s, s]."""
    origins, directions = pixel_rays(cameras.resized(size))
    middle = origins.norm(dim=-1)  # [V, s, s]

    def votes(offsets: Tensor) -> Tensor:
        """[M, V, s, s, K] at distances [1 or M, V, s, s, K] from the middle."""
        along = (middle[..., None] + offsets)[..., None]
        return _votes(masks, cameras, origins[..., None, :] + directions[..., None, :] * along)

    steps = torch.linspace(-REACH, REACH, NUM_STEPS, device=masks.device)
    found = votes(steps.expand(1, *middle.shape, NUM_STEPS))
    most = found.amax(-1)
    inside = found >= (most - TOLERANCE)[..., None]
    first = inside.to(torch.uint8).argmax(-1)
    last = NUM_STEPS - 1 - inside.flip(-1).to(torch.uint8).argmax(-1)
    # Halve the interval between the last step outside and the first inside, at both ends.
    within = steps[torch.stack([first, last], -1)]
    spacing = 2 * REACH / (NUM_STEPS - 1)
    without = (within + within.new_tensor([-spacing, spacing])).clamp(-REACH, REACH)
    for _ in range(NUM_HALVINGS):
        between = (within + without) / 2
        is_inside = votes(between) >= (most - TOLERANCE)[..., None]
        within = torch.where(is_inside, between, within)
        without = torch.where(is_inside, without, between)
    bounded = (most >= LEAST_AGREEMENT) & (first > 0)
    entry, leave = torch.where(bounded[..., None], within, 0.0).unbind(-1)
    return middle + entry, middle + leave, most


def _votes(masks: Tensor, cameras: Cameras, points: Tensor) -> Tensor:
    """How many other views see the object at points on each view's rays.

    Args:
        masks: [M, V, H, W].
        cameras: [V].
        points: [1 or M, V, s, s, K, 3]; 1: the same for all maps.

    Returns:
        [M, V, s, s, K]
    """
    maps, views = masks.shape[:2]
    shape = points.shape[1:-1]
    total = masks.new_zeros(maps, *shape)
    for other in range(views):
        grid = _sampling_grid(points, cameras[other]).reshape(len(points), 1, -1, 2)
        # Where the points are shared the maps go as channels, which is cheaper.
        shown = masks[None, :, other] if len(points) == 1 else masks[:, None, other]
        seen = F.grid_sample(shown, grid, align_corners=False).reshape(maps, *shape)
        seen[:, other] = 0  # a view does not bound its own rays
        total += seen
    return total


def _sampling_grid(points: Tensor, camera: Cameras) -> Tensor:
    """World points [..., 3] as `grid_sample` coordinates [..., 2] in one camera's image."""
    transform = camera.camera_from_world
    in_camera = points @ transform[:3, :3].T + transform[:3, 3]
    projected = in_camera @ camera.intrinsics.T
    pixels = projected[..., :2] / projected[..., 2:].clamp(min=1e-3)
    return 2 * pixels / pixels.new_tensor([camera.width, camera.height]) - 1
