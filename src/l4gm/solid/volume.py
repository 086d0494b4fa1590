"""What the network predicts: occupancy and colours in the frustum of the video's camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras


@dataclass(frozen=True)
class Frustum:
    """Where the cells of a volume are.

    The centre of cell (d, y, x) of a tensor [..., D, h, w] lies on the ray through the image at
    ((x + 0.5) / w, (y + 0.5) / h) of its size, at camera z = near + (d + 0.5) / D (far - near).

    Args:
        camera: [], the video's camera; of the same field of view whatever its size in pixels.
        near: camera z of the first depth cell's front face.
        far: camera z of the last depth cell's back face.

    Raises:
        ValueError: if `camera` has leading dimensions, or near and far are not ordered.
    """

    camera: Cameras
    near: float
    far: float

    def __post_init__(self) -> None:
        if self.camera.shape != ():
            raise ValueError(f"camera must be a single one, got {list(self.camera.shape)}")
        if not 0 < self.near < self.far:
            raise ValueError(f"need 0 < near < far, got near={self.near}, far={self.far}")

    @property
    def lens(self) -> Tensor:
        """[6] float64 on the CPU: fx, fy, cx, cy in image sizes, near, far."""
        matrix, camera = self.camera.intrinsics.double().cpu(), self.camera
        fx, cx = matrix[0, [0, 2]] / camera.width
        fy, cy = matrix[1, [1, 2]] / camera.height
        near_far = torch.tensor([self.near, self.far], dtype=torch.float64)
        return torch.cat([torch.stack([fx, fy, cx, cy]), near_far])

    def points(self, depth_cells: int, height: int, width: int) -> Tensor:
        """[D, h, w, 3] world points: the centres of the cells of a tensor of that shape."""
        pose = self.camera.world_from_camera
        fx, fy, cx, cy, near, far = self.lens.tolist()

        def centres(count: int) -> Tensor:
            return (torch.arange(count, dtype=pose.dtype, device=pose.device) + 0.5) / count

        z = near + centres(depth_cells) * (far - near)
        z, v, u = torch.meshgrid(z, centres(height), centres(width), indexing="ij")
        in_camera = torch.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], -1)
        return in_camera @ pose[:3, :3].T + pose[:3, 3]

    def coordinates(self, points: Tensor) -> Tensor:
        """Where world points lie in the volume, for `grid_sample` with align_corners=False.

        Args:
            points: [..., 3], in front of the camera.

        Returns:
            [..., 3] (x, y, z), in [-1, 1] inside the frustum, from the outer faces of its cells.
        """
        inverse = self.camera.camera_from_world.to(points)
        fx, fy, cx, cy, near, far = self.lens.tolist()
        x, y, z = (points @ inverse[:3, :3].T + inverse[:3, 3]).unbind(-1)
        u, v = x / z * fx + cx, y / z * fy + cy
        return torch.stack([u, v, (z - near) / (far - near)], -1) * 2 - 1


@dataclass(frozen=True)
class Volume:
    """What the network predicts of the T frames of a clip.

    Args:
        logits: [T, D, h, w], logit of the occupancy; above 0 is inside.
        colors: [T, 3, Dc, h', w'] in [0, 1], for what no image shows.
        motion: [T, 3, Dm, h'', w''], world displacement from a point at time t to where it was at
            the reference moment, when the side views were taken.

    Raises:
        ValueError: if a tensor's shape does not fit.
    """

    logits: Tensor
    colors: Tensor
    motion: Tensor

    def __post_init__(self) -> None:
        if self.logits.ndim != 4:
            raise ValueError(f"logits must be [T, D, h, w], got {list(self.logits.shape)}")
        for name in ("colors", "motion"):
            shape = getattr(self, name).shape
            if len(shape) != 5 or shape[:2] != (len(self.logits), 3):
                raise ValueError(
                    f"{name} must be [{len(self.logits)}, 3, D, h, w] to go with logits "
                    f"{list(self.logits.shape)}, got {list(shape)}"
                )
