"""How far a reconstructed surface lies from the true one: F-score and chamfer distance.

The true surface is what many views' depth shows; the reconstructed one is where the solid splats
are. Both are sets of points, thinned to even density so that neither many views of a place nor many
splats on it count more than once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.rays import points_at_depth

THRESHOLD = 0.02
"""Distance, in units of the cube that holds the object, within which a point counts as found."""
SOLID_OPACITY = 0.5
"""Splats above it are the surface."""
FARTHEST = 0.2
"""Distances beyond it count as this, the one to a surface that is not there too."""

_SPACING = 0.01  # of the points that remain, half the threshold
_QUERIES = 2000  # points of each side whose distance is measured; the others are found from them
_VIEWS, _SIZE_PX, _ELEVATIONS = 24, 128, (-85.0, 85.0)


@dataclass(frozen=True)
class SurfaceScore:
    """Means over frames.

    Args:
        f_score: harmonic mean of the share of reconstructed points within `THRESHOLD` of the true
            surface and the share of true points within it of the reconstructed one.
        chamfer: mean of both directions' mean distance.
    """

    f_score: float
    chamfer: float


def surface_request(request: ClipRequest) -> ClipRequest:
    """The same objects and moments, seen from all around for `true_surface`."""
    return replace(
        request, size_px=_SIZE_PX, num_supervision_views=_VIEWS, elevation_degrees=_ELEVATIONS
    )


def true_surface(clip: Clip) -> list[Tensor]:
    """Points [P, 3] of the surface at each frame of a clip whose views' depth is known.

    Raises:
        ValueError: the depth of some view is missing.
    """
    if clip.depth is None or clip.depth.shape[1] < clip.cameras.shape[0]:
        raise ValueError(f"{clip.name}: the surface needs the depth of every view")
    frames = []
    for depth in torch.from_numpy(clip.depth).float():
        points = points_at_depth(clip.cameras, depth).reshape(-1, 3)
        frames.append(thinned(points[points[:, 0].isfinite()]))
    return frames


def surface_score(gaussians: Gaussians, surface: list[Tensor]) -> SurfaceScore:
    """Solid splats of Gaussians [T, N] against the true surface of T frames."""
    scores = []
    for time, truth in enumerate(surface):
        frame = gaussians[time]
        solid = frame.means[frame.opacities > SOLID_OPACITY].cpu()
        scores.append(compared(thinned(solid), truth))
    return SurfaceScore(fmean(s.f_score for s in scores), fmean(s.chamfer for s in scores))


def compared(points: Tensor, truth: Tensor) -> SurfaceScore:
    """One set of points [P, 3] against another [Q, 3]."""
    to_truth, to_points = _distances(points, truth), _distances(truth, points)
    precision = (to_truth <= THRESHOLD).float().mean().item() if len(points) else 0.0
    recall = (to_points <= THRESHOLD).float().mean().item() if len(truth) else 0.0
    f_score = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    sides = [side.mean().item() if len(side) else FARTHEST for side in (to_truth, to_points)]
    return SurfaceScore(f_score, fmean(sides))


def thinned(points: Tensor) -> Tensor:
    """The first of the points [P, 3] in each cell of a grid."""
    cells = (points / _SPACING).floor().long()
    found, cell_of = torch.unique(cells, dim=0, return_inverse=True)
    first = torch.full((len(found),), len(points))
    return points[first.scatter_reduce(0, cell_of, torch.arange(len(points)), "amin")]


def _distances(points: Tensor, to: Tensor) -> Tensor:
    """From each point, or from `_QUERIES` of them, to the nearest of others; at most `FARTHEST`."""
    if len(points) > _QUERIES:
        generator = torch.Generator().manual_seed(0)
        points = points[torch.randperm(len(points), generator=generator)[:_QUERIES]]
    if not len(to) or not len(points):
        return torch.full((len(points),), FARTHEST)
    nearest = [torch.cdist(part, to).amin(1) for part in points.split(256)]
    return torch.cat(nearest).clamp(max=FARTHEST)
