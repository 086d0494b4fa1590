"""Which points of the view frustum lie inside an object, carved by the depth of many views.

Meshes of the wild are open, doubled and self-intersecting, so that inside and outside are not
defined. What cameras see is: a point is empty if any of them sees past it. What is left is solid,
and a sheet is as thick as the tolerance.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from l4gm.geometry.cameras import Cameras

# Neighbouring pixels whose depths differ by less are taken for one slanted surface, whose depth is
# interpolated; others for an edge.
EDGE_DEPTH = 0.06
# A surface that is seen more obliquely than this counts as seen at this angle: 1 / cos(76 degrees).
MOST_SLANT = 4.0


def carve_rays(
    mask: NDArray[np.bool_],
    front: Cameras,
    near: float,
    far: float,
    cells: int,
    depth: NDArray[np.float32],
    cameras: Cameras,
    tolerance: float,
) -> NDArray[np.bool_]:
    """Occupancy along the rays of one camera's pixels.

    Args:
        mask: [h, w], the pixels whose rays are looked at; the others are empty.
        front: [] the camera of the rays, of this size.
        near, far: camera z between which each ray has its cells.
        cells: per ray, evenly spaced in z.
        depth: [V, H, W] camera z of the nearest surface, 0 where there is none.
        cameras: [V], of the depth.
        tolerance: a point this far in front of the surface is still inside, in world units.

    Returns:
        [cells, h, w].
    """
    inside = np.zeros((cells, *mask.shape), np.bool_)
    pose = front.world_from_camera.double().numpy()[:3]
    lens = _lens(front.intrinsics.double().numpy()[None])[0]
    poses = np.ascontiguousarray(cameras.camera_from_world.double().numpy()[:, :3])
    lenses = _lens(cameras.intrinsics.double().numpy())
    _carve(mask, pose, lens, near, far, depth, poses, lenses, tolerance, inside)
    return inside


def _lens(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """[V, 4] fx, fy, cx, cy."""
    return np.stack([matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 0, 2], matrix[:, 1, 2]], 1)


@njit(cache=True, nogil=True, error_model="numpy")
def _carve(  # type: ignore[no-untyped-def]
    mask,  # [h, w]
    pose,  # [3, 4] world from camera
    lens,  # [4]
    near,
    far,
    depth,  # [V, H, W]
    poses,  # [V, 3, 4] camera from world
    lenses,  # [V, 4]
    tolerance,
    inside,  # out [cells, h, w]
):
    cells = inside.shape[0]
    num_views, height, width = depth.shape
    # Image coordinates, times depth, and depth are affine in z along a ray: their slopes, offsets.
    ray = np.empty((num_views, 6))
    emptied_by = 0  # neighbours are mostly seen past by the same view
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if not mask[y, x]:
                continue
            cx = (x + 0.5 - lens[2]) / lens[0]
            cy = (y + 0.5 - lens[3]) / lens[1]
            for v in range(num_views):
                _project_ray(pose, cx, cy, poses[v], lenses[v], ray[v])
            for d in range(cells):
                z = near + (d + 0.5) / cells * (far - near)
                solid = True
                for k in range(num_views + 1):
                    v = emptied_by if k == 0 else k - 1
                    w = ray[v, 4] * z + ray[v, 5]
                    if w <= 0.0:
                        continue
                    u = (ray[v, 0] * z + ray[v, 1]) / w - 0.5
                    r = (ray[v, 2] * z + ray[v, 3]) / w - 0.5
                    if u < 0.0 or r < 0.0 or u >= width - 1 or r >= height - 1:
                        continue
                    if _sees_past(depth[v], u, r, w, tolerance, lenses[v, 0]):
                        solid = False
                        emptied_by = v
                        break
                inside[d, y, x] = solid


@njit(cache=True, nogil=True, error_model="numpy")
def _project_ray(pose, cx, cy, view, lens, out):  # type: ignore[no-untyped-def]
    """A ray's points in another camera, as they depend on z."""
    for i in range(3):
        slope, offset = 0.0, view[i, 3]
        for j in range(3):
            slope += view[i, j] * (pose[j, 0] * cx + pose[j, 1] * cy + pose[j, 2])
            offset += view[i, j] * pose[j, 3]
        out[2 * i], out[2 * i + 1] = slope, offset
    for k in range(2):
        out[k] = lens[0] * out[k] + lens[2] * out[4 + k]
        out[2 + k] = lens[1] * out[2 + k] + lens[3] * out[4 + k]


@njit(cache=True, nogil=True, error_model="numpy")
def _sees_past(depth, u, v, z, tolerance, focal):  # type: ignore[no-untyped-def]
    """Whether the surface at a place between pixels is beyond a camera z by more than the
    tolerance, which is measured along the surface's normal."""
    x, y = int(u), int(v)
    a, b = depth[y, x], depth[y, x + 1]
    c, d = depth[y + 1, x], depth[y + 1, x + 1]
    low, high = min(min(a, b), min(c, d)), max(max(a, b), max(c, d))
    if low > 0.0 and high - low < EDGE_DEPTH:
        s, t = u - x, v - y
        surface = (1 - t) * ((1 - s) * a + s * b) + t * ((1 - s) * c + s * d)
        # Depth per unit of length across the image: the tangent of the angle it is seen at.
        across, down = (b + d - a - c) / 2, (c + d - a - b) / 2
        slope = (across * across + down * down) * (focal / z) ** 2
        return surface > z + tolerance * min(math.sqrt(1.0 + slope), MOST_SLANT)
    nearest = depth[int(v + 0.5), int(u + 0.5)]
    return nearest == 0.0 or nearest > z + tolerance
