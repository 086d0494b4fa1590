"""Objects whose surface is known exactly: signed distances, their volumes and their images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.solid.volume import Frustum, Volume

Shape = Callable[[Tensor], Tensor]  # world points [..., 3] -> distance to the surface, < 0 inside

FRUSTUM = Frustum(orbit_cameras([0.0], size=256)[0], 0.96, 2.04)


def sphere(points: Tensor) -> Tensor:
    return (points - points.new_tensor([0.05, 0.02, 0.0])).norm(dim=-1) - 0.3


def box(points: Tensor) -> Tensor:
    """Turned by 30 degrees around y, so that no face is parallel to the grid."""
    c, s = 3**0.5 / 2, 0.5
    x, y, z = points.unbind(-1)
    turned = torch.stack([c * x + s * z, y, c * z - s * x], -1)
    q = turned.abs() - points.new_tensor([0.25, 0.2, 0.15])
    return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)


def torus(points: Tensor) -> Tensor:
    x, y, z = points.unbind(-1)
    ring = torch.stack([(x * x + z * z).sqrt() - 0.28, y], -1)
    return ring.norm(dim=-1) - 0.09


def plate(points: Tensor) -> Tensor:
    q = points.abs() - points.new_tensor([0.3, 0.3, 0.02])
    return q.clamp(min=0).norm(dim=-1) + q.amax(-1).clamp(max=0)


def rod(points: Tensor) -> Tensor:
    """A slanted rod of 2 x 0.006: a pixel or two wide at 256 px."""
    direction = torch.nn.functional.normalize(points.new_tensor([0.4, 1.0, 0.2]), dim=0)
    along = (points @ direction).clamp(-0.35, 0.35)
    return (points - along[..., None] * direction).norm(dim=-1) - 0.006


SHAPES: dict[str, Shape] = {f.__name__: f for f in (sphere, box, torus, plate, rod)}


def texture(points: Tensor) -> Tensor:
    """[..., 3] smooth colours of space."""
    return 0.5 + 0.4 * torch.sin(points * points.new_tensor([9.0, 13.0, 11.0]))


def union(*shapes: Shape) -> Shape:
    return lambda points: torch.stack([shape(points) for shape in shapes]).amin(0)


def ball(centre: tuple[float, float, float], radius: float) -> Shape:
    return lambda points: (points - points.new_tensor(centre)).norm(dim=-1) - radius


def volume_of(shape: Shape, frustum: Frustum = FRUSTUM, gray: bool = False) -> Volume:
    """The volume that a perfect network would predict, T = 1: sure of all that is not near."""
    distance = shape(frustum.points(64, 64, 64))
    logits = (-distance / 0.01).clamp(-8, 8)[None]
    colors = texture(frustum.points(16, 32, 32)).permute(3, 0, 1, 2)[None]
    motion = torch.zeros(1, 3, 4, 4, 4)
    return Volume(logits, torch.full_like(colors, 0.5) if gray else colors, motion)


def trace(shape: Shape, cameras: Cameras, steps: int = 40) -> tuple[Tensor, Tensor]:
    """First hits of the pixels' rays: points [V, H, W, 3] and whether there is one [V, H, W]."""
    origins, directions = pixel_rays(cameras)
    travelled = torch.full(origins.shape[:-1], 0.5)
    for _ in range(steps):
        travelled = travelled + shape(origins + travelled[..., None] * directions).clamp(max=0.2)
    points = origins + travelled[..., None] * directions
    return points, (shape(points) < 1e-3) & (travelled < 3)


def image_of(shape: Shape, cameras: Cameras, samples: int = 4) -> Tensor:
    """[V, 4, H, W] straight RGBA, antialiased."""
    fine = cameras.resized(cameras.width * samples, cameras.height * samples)
    points, hit = trace(shape, fine)
    alpha = hit[:, None].float()
    rgba = torch.cat([texture(points).permute(0, 3, 1, 2) * alpha, alpha], 1)
    rgba = torch.nn.functional.avg_pool2d(rgba, samples)
    return torch.cat([rgba[:, :3] / rgba[:, 3:].clamp(min=1e-6), rgba[:, 3:]], 1)


def frame_of(shape: Shape, size: int = 256, frustum: Frustum = FRUSTUM) -> Tensor:
    """[1, 4, S, S]: what the frustum's camera sees."""
    camera = frustum.camera.resized(size)
    return image_of(shape, camera.reshape(1))


def surface_points(shape: Shape, count: int = 20000, seed: int = 0) -> Tensor:
    """[n, 3] points spread evenly over the surface: random ones near it, moved onto it."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(40 * count, 3, generator=generator) * 1.2 - 0.6
    points = points[shape(points).abs() < 0.02].requires_grad_()
    distance = shape(points)
    (gradient,) = torch.autograd.grad(distance.sum(), points)
    moved = points - distance[:, None] * torch.nn.functional.normalize(gradient, dim=-1)
    return moved.detach()[:count]
