"""The zero surface of a volume as a closed mesh: surface nets (Gibson 1998).

A vertex in every cell that the surface cuts, at the mean of its cuts of the cell's edges, and a
quadrilateral for every grid edge that it cuts. That is a manifold unless a cell holds two pieces of
surface, or a cell's face has its corners inside and outside crosswise; such cells are filled first.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from l4gm.meshes.mesh import Floats, Triangles

_CORNERS = np.array(list(itertools.product((0, 1), repeat=3)))  # of a cell; corner k = 4x + 2y + z
_EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if bin(a ^ b).count("1") == 1]
_FACES = [
    [corner for corner in range(8) if corner >> axis & 1 == side]
    for axis in range(3)
    for side in (0, 1)
]
_FILLED = -1e-3  # of the volume's units: just inside


def extract_surface(volume: NDArray[np.float32]) -> tuple[Floats, Triangles]:
    """The surface between positive (outside) and negative (inside) values.

    Args:
        volume: [X, Y, Z]; changed. Its outermost two layers must be positive.

    Returns:
        positions [P, 3] in grid steps, and faces [F, 3], counter-clockwise seen from outside;
        closed, every edge between two faces.
    """
    codes = _make_manifold(volume)
    cells = np.argwhere((codes > 0) & (codes < 255))
    numbers = np.full(codes.shape, -1, np.int32)
    numbers[tuple(cells.T)] = np.arange(len(cells), dtype=np.int32)
    positions = _vertices(volume, cells)
    quads = np.concatenate([_quads(volume < 0, numbers, axis) for axis in range(3)])
    return positions, _triangulated(positions, quads)


def _make_manifold(volume: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fill cells that would break the mesh; returns which corners of each cell are inside."""
    while True:
        codes = _codes(volume < 0)
        broken = np.argwhere(_BREAKS[codes])
        if not len(broken):
            return codes
        for corner in _CORNERS:
            x, y, z = (broken + corner).T
            volume[x, y, z] = np.minimum(volume[x, y, z], _FILLED)
        # Never out of the grid: what reaches the rim stays open there.
        for axis in range(3):
            rim = np.moveaxis(volume, axis, 0)
            rim[[0, -1]] = np.maximum(rim[[0, -1]], -_FILLED)


def _codes(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """[X - 1, Y - 1, Z - 1]: bit k says whether corner k of a cell is inside."""
    codes = np.zeros(tuple(size - 1 for size in inside.shape), np.uint8)
    for corner, (x, y, z) in enumerate(_CORNERS):
        piece = inside[x : x + codes.shape[0], y : y + codes.shape[1], z : z + codes.shape[2]]
        codes |= piece.astype(np.uint8) << corner
    return codes


def _breaks(code: int) -> bool:
    """Whether a cell of this code breaks the mesh."""
    inside = [bool(code >> corner & 1) for corner in range(8)]
    for face in _FACES:
        a, b, c, d = (inside[corner] for corner in face)  # b and c are a's neighbours
        if a == d and b == c and a != b:
            return True
    for side in (True, False):
        group = [corner for corner in range(8) if inside[corner] == side]
        reached = set(group[:1])
        for _ in group:
            reached |= {
                b
                for edge in _EDGES
                for a, b in (edge, edge[::-1])
                if a in reached and inside[b] == side
            }
        if len(reached) < len(group):
            return True
    return False


_BREAKS = np.array([_breaks(code) for code in range(256)])


def _vertices(volume: NDArray[np.float32], cells: NDArray[np.int64]) -> Floats:
    """[P, 3]: the mean of the cuts of each cell's edges."""
    values = np.stack([volume[tuple((cells + corner).T)] for corner in _CORNERS], -1)
    sums, cuts = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for a, b in _EDGES:
        is_cut = (values[:, a] < 0) != (values[:, b] < 0)
        first = values[:, a].astype(np.float64)
        share = np.where(is_cut, first / np.where(is_cut, first - values[:, b], 1.0), 0.0)
        place = _CORNERS[a] + share[:, None] * (_CORNERS[b] - _CORNERS[a])
        sums += place * is_cut[:, None]
        cuts += is_cut
    return (cells + sums / np.maximum(cuts, 1)[:, None]).astype(np.float32)


def _quads(inside: NDArray[np.bool_], numbers: NDArray[np.int32], axis: int) -> NDArray[np.int32]:
    """[Q, 4] vertices around the grid edges along an axis that the surface cuts."""
    along = np.moveaxis(inside, axis, 0)
    around = np.moveaxis(numbers, axis, 0)  # the other two axes stay in order
    i, j, k = np.nonzero(along[:-1] != along[1:])
    quads = np.stack(
        [around[i, j - 1, k - 1], around[i, j, k - 1], around[i, j, k], around[i, j - 1, k]], -1
    )
    # Seen from where the axis points, the four turn counter-clockwise (for y clockwise).
    leaves = along[i, j, k] != (axis == 1)
    return np.where(leaves[:, None], quads, quads[:, ::-1])


def _triangulated(positions: Floats, quads: NDArray[np.int32]) -> Triangles:
    """[2Q, 3]: each cut along its shorter diagonal."""
    corners = positions[quads]
    first = np.square(corners[:, 0] - corners[:, 2]).sum(-1)
    second = np.square(corners[:, 1] - corners[:, 3]).sum(-1)
    turned = np.where((first <= second)[:, None], quads, np.roll(quads, -1, 1))
    return np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]]).astype(np.int32)
