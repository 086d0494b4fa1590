"""Pinhole cameras and the orbit rig.

World axes: right-handed, y up. Camera axes: OpenCV (x right, y down, z forward).
Batches of cameras are one object whose tensors carry leading dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

RADIUS = 1.5
FOV_Y_DEGREES = 49.1
NEAR = 0.5
FAR = 2.5


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras that share an image size.

    Args:
        world_from_camera: [..., 4, 4], OpenCV camera axes (x right, y down, z forward).
        intrinsics: [..., 3, 3], in pixels; pixel centres lie at +0.5.
        width, height: image size in pixels.
        near, far: depths (camera z) outside which nothing is drawn.

    Raises:
        ValueError: if shapes do not agree, the size is not positive, or near/far are not ordered.
    """

    world_from_camera: Tensor
    intrinsics: Tensor
    width: int
    height: int
    near: float = NEAR
    far: float = FAR

    def __post_init__(self) -> None:
        pose, intrinsics = self.world_from_camera, self.intrinsics
        if pose.shape[-2:] != (4, 4):
            raise ValueError(f"world_from_camera must be [..., 4, 4], got {list(pose.shape)}")
        if intrinsics.shape != (*pose.shape[:-2], 3, 3):
            raise ValueError(
                f"intrinsics must be {[*pose.shape[:-2], 3, 3]} to go with world_from_camera "
                f"{list(pose.shape)}, got {list(intrinsics.shape)}"
            )
        if self.width < 1 or self.height < 1:
            raise ValueError(f"image size must be at least 1 x 1, got {self.width} x {self.height}")
        if not 0 < self.near < self.far:
            raise ValueError(f"need 0 < near < far, got near={self.near}, far={self.far}")

    @property
    def shape(self) -> torch.Size:
        """Leading dimensions."""
        return self.world_from_camera.shape[:-2]

    @property
    def device(self) -> torch.device:
        return self.world_from_camera.device

    @property
    def camera_from_world(self) -> Tensor:
        """[..., 4, 4], the exact inverse of the rigid `world_from_camera`."""
        rotation = self.world_from_camera[..., :3, :3].transpose(-1, -2)
        translation = -rotation @ self.world_from_camera[..., :3, 3:]
        out = torch.zeros_like(self.world_from_camera)
        out[..., :3, :3] = rotation
        out[..., :3, 3:] = translation
        out[..., 3, 3] = 1
        return out

    def __getitem__(self, index: Any) -> Cameras:
        """Index the leading dimensions, as a tensor of that shape would be."""
        if not self.shape:
            raise IndexError("a single camera cannot be indexed")
        flat = torch.arange(self.shape.numel(), device=self.device).reshape(self.shape)[index]
        return replace(
            self,
            world_from_camera=self.world_from_camera.reshape(-1, 4, 4)[flat],
            intrinsics=self.intrinsics.reshape(-1, 3, 3)[flat],
        )

    def reshape(self, *shape: int) -> Cameras:
        """The same cameras under other leading dimensions."""
        return replace(
            self,
            world_from_camera=self.world_from_camera.reshape(*shape, 4, 4),
            intrinsics=self.intrinsics.reshape(*shape, 3, 3),
        )

    def expand(self, *shape: int) -> Cameras:
        """Broadcast the leading dimensions, as `Tensor.expand`."""
        return replace(
            self,
            world_from_camera=self.world_from_camera.expand(*shape, 4, 4),
            intrinsics=self.intrinsics.expand(*shape, 3, 3),
        )

    def to(self, *args: Any, **kwargs: Any) -> Cameras:
        """Move or cast, as `Tensor.to`."""
        return replace(
            self,
            world_from_camera=self.world_from_camera.to(*args, **kwargs),
            intrinsics=self.intrinsics.to(*args, **kwargs),
        )

    def resized(self, width: int, height: int | None = None) -> Cameras:
        """The same cameras seen at another image size (in pixels; square if no height is given)."""
        height = width if height is None else height
        scale = self.intrinsics.new_tensor([width / self.width, height / self.height, 1.0])
        return replace(
            self, intrinsics=self.intrinsics * scale[:, None], width=width, height=height
        )

    @staticmethod
    def stack(cameras: Sequence[Cameras]) -> Cameras:
        """Join cameras of one image size along a new first dimension."""
        first = cameras[0]
        sizes = {(c.width, c.height, c.near, c.far) for c in cameras}
        if len(sizes) > 1:
            raise ValueError(f"cameras of different (width, height, near, far): {sorted(sizes)}")
        return replace(
            first,
            world_from_camera=torch.stack([c.world_from_camera for c in cameras]),
            intrinsics=torch.stack([c.intrinsics for c in cameras]),
        )


def pinhole_intrinsics(fov_y: float, width: int, height: int) -> Tensor:
    """[3, 3] intrinsics in pixels, centred; focal = height / (2 tan(fov_y / 2)), degrees."""
    if not 0 < fov_y < 180:
        raise ValueError(f"fov_y must lie between 0 and 180 degrees, got {fov_y}")
    focal = height / (2 * math.tan(math.radians(fov_y) / 2))
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def orbit_cameras(
    azimuths: Sequence[float] | Tensor | float,
    elevation: Sequence[float] | Tensor | float = 0.0,
    radius: float = RADIUS,
    fov_y: float = FOV_Y_DEGREES,
    size: int = 512,
    target: Sequence[float] = (0.0, 0.0, 0.0),
) -> Cameras:
    """Cameras on a sphere around a point, by default the origin, looking at it, upright.

    Azimuth 0 looks from +z, 90 from +x; elevation > 0 is above the object. The released code's
    elevation has the opposite sign.

    Args:
        azimuths: degrees, one per camera.
        elevation: degrees, one for all or one per camera.
        radius: distance to that point, world units.
        fov_y: vertical field of view, degrees.
        size: width and height in pixels.
        target: the point, world coordinates.

    Returns:
        Cameras [len(azimuths)], near 0.5 and far 2.5 scaled by radius / 1.5.
    """
    azimuth = torch.atleast_1d(torch.as_tensor(azimuths, dtype=torch.float64)).deg2rad()
    up_angle = torch.as_tensor(elevation, dtype=torch.float64).expand_as(azimuth).deg2rad()
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), up_angle.sin(), up_angle.cos()
    backward = torch.stack([cos_e * sin_a, sin_e, cos_e * cos_a], -1)
    # From the azimuth alone, so that the rig stays defined when it looks straight down or up.
    right = torch.stack([cos_a, torch.zeros_like(sin_a), -sin_a], -1)
    down = torch.linalg.cross(-backward, right)
    pose = torch.zeros(len(azimuth), 4, 4, dtype=torch.float64)
    pose[:, :3, :3] = torch.stack([right, down, -backward], -1)
    pose[:, :3, 3] = radius * backward + torch.as_tensor(target, dtype=torch.float64)
    pose[:, 3, 3] = 1
    intrinsics = pinhole_intrinsics(fov_y, size, size).expand(len(azimuth), 3, 3)
    scale = radius / RADIUS
    return Cameras(pose.float(), intrinsics, size, size, NEAR * scale, FAR * scale)


def camera_axes_from_opengl(pose: Tensor) -> Tensor:
    """OpenGL or Blender camera axes (x right, y up, z backward) to OpenCV, or back.

    Args:
        pose: [..., 4, 4] world_from_camera (or any [..., 3 or 4, 4] whose columns are the axes).
    """
    return pose * pose.new_tensor([1.0, -1.0, -1.0, 1.0])
