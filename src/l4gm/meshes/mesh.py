"""A coloured triangle mesh, and what can be said and done about one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Triangles = NDArray[np.int32]


@dataclass(frozen=True)
class Mesh:
    """Triangles with a colour at every vertex.

    Args:
        positions: [P, 3] float32.
        faces: [F, 3] int32 vertex indices, counter-clockwise seen from outside.
        colors: [P, 3] float32, display values (sRGB-encoded) in [0, 1].
    """

    positions: Floats
    faces: Triangles
    colors: Floats


def vertex_normals(positions: NDArray[Any], faces: Triangles) -> Floats:
    """[P, 3] unit normals, the faces' weighted by their areas; +z where there is none."""
    first, second, third = (positions[faces[:, k]].astype(np.float64) for k in range(3))
    across = np.cross(second - first, third - first)
    sums = np.zeros((len(positions), 3))
    for axis in range(3):
        sums[:, axis] = np.bincount(
            faces.ravel(), np.repeat(across[:, axis], 3), minlength=len(positions)
        )
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    upright = np.array([0.0, 0.0, 1.0])
    return np.where(length > 1e-20, sums / np.maximum(length, 1e-20), upright).astype(np.float32)


def component_labels(num_vertices: int, faces: Triangles) -> NDArray[np.int64]:
    """[P] numbers that vertices have in common if faces join them."""
    labels = np.arange(num_vertices)
    while True:
        lowest = labels.copy()
        np.minimum.at(lowest, faces.ravel(), np.repeat(labels[faces].min(1), 3))
        lowest = lowest[lowest]
        if np.array_equal(lowest, labels):
            return np.unique(labels, return_inverse=True)[1]
        labels = lowest


def face_volumes(positions: NDArray[Any], faces: Triangles) -> NDArray[np.float64]:
    """[F] signed volumes between each face and the origin; they sum to a closed mesh's volume."""
    first, second, third = (positions[faces[:, k]].astype(np.float64) for k in range(3))
    return np.einsum("fi,fi->f", first, np.cross(second, third)) / 6


def without_specks(
    positions: Floats, faces: Triangles, least_share: float
) -> tuple[Floats, Triangles]:
    """A closed mesh without the parts that enclose less than a share of the largest's volume.

    Cavities, which nobody sees, go too: their volume is negative.
    """
    if not len(faces):
        return positions, faces
    labels = component_labels(len(positions), faces)
    volumes = np.bincount(labels[faces[:, 0]], face_volumes(positions, faces))
    kept = volumes >= least_share * volumes.max()
    faces = faces[kept[labels[faces[:, 0]]]]
    used = np.unique(faces)
    numbers = np.zeros(len(positions), np.int32)
    numbers[used] = np.arange(len(used), dtype=np.int32)
    return positions[used], numbers[faces]
