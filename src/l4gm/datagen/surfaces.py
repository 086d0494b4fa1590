"""Where surface points go: exact correspondence and optical flow of our own renderings.

Every pixel's centre is traced to a point of the mesh, a face and barycentric coordinates. The same
point at another time or from another camera is then known exactly, seen there or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.software_renderer import trace_mesh
from l4gm.geometry.cameras import Cameras

# A point counts as seen if the surface at its pixel is not nearer by more than this share: what
# half a pixel of a slanted surface may differ by.
DEPTH_TOLERANCE = 0.02


@dataclass(frozen=True)
class Surfaces:
    """The surface point that every pixel's centre shows; made by `Surfaces.trace`.

    Args:
        mesh, cameras: of the pictures, T frames and [V].
        faces: [T, V, H, W] int32, -1 where there is no surface.
        weights: [T, V, H, W, 2] float32 barycentric coordinates of the face's first two corners.
        depth: [T, V, H, W] float32 camera z, 0 where there is no surface.
    """

    mesh: AnimatedMesh
    cameras: Cameras
    faces: NDArray[np.int32]
    weights: NDArray[np.float32]
    depth: NDArray[np.float32]

    @staticmethod
    def trace(mesh: AnimatedMesh, cameras: Cameras) -> Surfaces:
        """Trace all pixels of all frames and views.

        Raises:
            ValueError: if cameras do not have one leading dimension.
        """
        return Surfaces(mesh, cameras, *trace_mesh(mesh, cameras))

    def points(self, frame: int, view: int, at_frame: int) -> NDArray[np.float64]:
        """[H, W, 3] where the points that a picture shows are at another time, world axes.

        NaN where the picture shows no surface.
        """
        shown = self.faces[frame, view]
        corners = self.mesh.positions[at_frame].astype(np.float64)[self.mesh.faces[shown]]
        first, second = np.moveaxis(self.weights[frame, view].astype(np.float64), -1, 0)
        weights = np.stack([first, second, 1 - first - second], -1)
        points = (corners * weights[..., None]).sum(-2)
        points[shown < 0] = np.nan
        return points

    def flow(
        self, frame: int, view: int, at_frame: int, at_view: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where the points that a picture shows have gone in another picture.

        Args:
            frame, view: of the picture whose pixels are asked about.
            at_frame: of the other; the next frame for optical flow.
            at_view: of the other; by default the same.

        Returns:
            flow [H, W, 2] in pixels (x right, y down), 0 where there is no surface; seen [H, W],
            whether the other picture shows the point: it lies inside and nothing hides it.
        """
        at_view = view if at_view is None else at_view
        points = self.points(frame, view, at_frame)
        place, depth = _project(points, self.cameras, at_view)
        rows, columns = points.shape[:2]
        y, x = np.mgrid[0:rows, 0:columns] + 0.5
        flow = place - np.stack([x, y], -1)
        there = np.isfinite(depth) & (depth > 0)
        there &= (place >= 0).all(-1) & (place[..., 0] < columns) & (place[..., 1] < rows)
        pixel = np.where(there[..., None], place, 0).astype(int)
        surface = self.depth[at_frame, at_view][pixel[..., 1], pixel[..., 0]]
        seen = there & (surface > 0) & (depth < surface * (1 + DEPTH_TOLERANCE))
        return np.nan_to_num(flow).astype(np.float32), seen


def _project(
    points: NDArray[np.float64], cameras: Cameras, view: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel positions [..., 2] and camera z [...] of world points [..., 3]; NaN stays NaN."""
    pose = cameras.camera_from_world[view].double().numpy()
    in_camera = points @ pose[:3, :3].T + pose[:3, 3]
    matrix = cameras.intrinsics[view].double().numpy()
    depth = in_camera[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        place = in_camera[..., :2] / depth[..., None]
    return place * [matrix[0, 0], matrix[1, 1]] + [matrix[0, 2], matrix[1, 2]], depth
