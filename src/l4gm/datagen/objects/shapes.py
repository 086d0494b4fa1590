"""Building blocks of procedural objects: unit surfaces that a part scales to its size.

Every shape stands on its base: y runs from 0 (where it is attached) to 1, x and z from -1 to 1.
Faces are counter-clockwise seen from outside. All shapes but the coil are symmetric under x -> -x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shape:
    """A unit surface.

    Args:
        points: [P, 3].
        faces: [F, 3].
        uv: [P, 2] in [0, 1]: around and along.
        smoothing: [P] vertices with equal numbers share a normal.
    """

    points: Array
    faces: NDArray[np.int64]
    uv: Array
    smoothing: NDArray[np.int64]

    MIDDLE: ClassVar[Array] = np.array([0.0, 0.5, 0.0])

    def reach(self, ray: Array) -> float:
        """How many times `ray` [3] leads from `MIDDLE` to the outermost surface; 0 if it hits none.

        Moeller and Trumbore's intersection with every triangle.
        """
        a, b, c = self.points[self.faces].transpose(1, 0, 2)
        first, second, start = b - a, c - a, self.MIDDLE - a
        p = np.cross(ray, second)
        volume = (p * first).sum(1)
        facing = np.abs(volume) > 1e-12
        scale = np.where(facing, volume, 1.0)
        u = (start * p).sum(1) / scale
        q = np.cross(start, first)
        v = (q @ ray) / scale
        distance = (q * second).sum(1) / scale
        inside = facing & (u > -1e-6) & (v > -1e-6) & (u + v < 1 + 1e-6)
        return float(distance[inside].max(initial=0.0))

    def faceted(self) -> Shape:
        """The same surface with every triangle flat."""
        corners = self.faces.reshape(-1)
        count = len(corners)
        flat = np.repeat(np.arange(count // 3) * 3, 3)
        return Shape(self.points[corners], np.arange(count).reshape(-1, 3), self.uv[corners], flat)


def loft(
    radii: Sequence[float] | Array,
    heights: Sequence[float] | Array,
    segments: int = 14,
    squareness: float = 1.0,
    depth_radii: Sequence[float] | Array | None = None,
    offsets: Sequence[float] | Array | None = None,
) -> Shape:
    """A surface through rings stacked along y.

    Args:
        radii, heights: [K] of the rings; equal neighbouring heights make a flat step with a sharp
            edge, as does a ring given twice.
        segments: vertices around.
        squareness: exponent of the cross-section: 1 is an ellipse, towards 0 a square, 2 a diamond.
        depth_radii: [K] radii along z, if they differ from those along x.
        offsets: [K] shift of the rings along z.
    """
    radius, height = np.asarray(radii, np.float64), np.asarray(heights, np.float64)
    depth = radius if depth_radii is None else np.asarray(depth_radii, np.float64)
    shift = np.zeros_like(radius) if offsets is None else np.asarray(offsets, np.float64)
    # A corner: doubling its ring gives the surfaces on both sides their own normals.
    rings = [0]
    for k in range(1, len(radius) - 1):
        before = np.array([radius[k] - radius[k - 1], height[k] - height[k - 1]])
        after = np.array([radius[k + 1] - radius[k], height[k + 1] - height[k]])
        lengths = np.linalg.norm(before) * np.linalg.norm(after)
        rings += [k, k] if lengths > 0 and before @ after < 0.5 * lengths else [k]
    rings.append(len(radius) - 1)
    radius, height, depth, shift = radius[rings], height[rings], depth[rings], shift[rings]
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    # Rounded, as a power of the rounding error at the quarter turns would open the seam.
    sin, cos = np.sin(angle).round(15), np.cos(angle).round(15)
    across = np.sign(sin) * np.abs(sin) ** squareness
    along = np.sign(cos) * np.abs(cos) ** squareness
    points = np.stack(
        [
            radius[:, None] * across,
            np.repeat(height[:, None], segments + 1, 1),
            depth[:, None] * along + shift[:, None],
        ],
        -1,
    )
    count, columns = len(radius), segments + 1
    index = np.arange(count * columns).reshape(count, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    real = np.abs(np.diff(radius)) + np.abs(np.diff(height)) + np.abs(np.diff(depth)) > 1e-9
    lower = np.stack([a, b, d], -1)[real & (np.maximum(radius, depth)[:-1] > 1e-9)]
    upper = np.stack([a, d, c], -1)[real & (np.maximum(radius, depth)[1:] > 1e-9)]
    smoothing = index.copy()
    smoothing[:, -1] = smoothing[:, 0]
    closed = np.maximum(radius, depth) < 1e-9
    smoothing[closed] = index[closed, :1]
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(radius), np.diff(height)))])
    uv = np.stack(
        np.broadcast_arrays(angle / (2 * np.pi), 1.0 - (travelled / travelled[-1])[:, None]), -1
    )
    return Shape(
        points.reshape(-1, 3),
        np.concatenate([lower.reshape(-1, 3), upper.reshape(-1, 3)]),
        uv.reshape(-1, 2),
        smoothing.reshape(-1),
    )


@lru_cache(maxsize=256)
def ellipsoid(
    rows: int = 9, segments: int = 14, roundness: float = 1.0, squareness: float = 1.0
) -> Shape:
    """A superellipsoid: exponents 1, 1 a ball; 0.4, 1 a soft can; 0.4, 0.4 a soft box."""
    angle = np.linspace(0, np.pi, rows + 1)
    cos = -np.cos(angle)
    height = 0.5 + 0.5 * np.sign(cos) * np.abs(cos) ** roundness
    radius = np.sin(angle).clip(0) ** roundness
    radius[[0, -1]] = 0.0
    return loft(radius, height, segments, squareness)


@lru_cache(maxsize=256)
def cylinder(top: float = 1.0, segments: int = 14, rows: int = 3, squareness: float = 1.0) -> Shape:
    """A cylinder or cut cone with flat ends; `top` is the radius of its upper end (0 is a cone)."""
    heights = np.linspace(0, 1, rows + 1)
    radii = 1 + (top - 1) * heights
    if top < 1e-6:
        return loft([0.0, *radii], [0.0, *heights], segments, squareness)
    return loft([0.0, *radii, 0.0], [0.0, *heights, 1.0], segments, squareness)


@lru_cache(maxsize=256)
def capsule(top: float = 1.0, segments: int = 12, cap: float = 0.15) -> Shape:
    """A limb: a cylinder (or cone) with round ends, each taking the share `cap` of the height."""
    angle = np.linspace(0, np.pi / 2, 4)
    lower_radius, lower_height = np.sin(angle), cap * (1 - np.cos(angle))
    radii = [*lower_radius, 0.5 + 0.5 * top, *(top * lower_radius[::-1])]
    heights = [*lower_height, 0.5, *(1 - lower_height[::-1])]
    return loft(radii, heights, segments)


@lru_cache(maxsize=64)
def box(rows: int = 4, top: float = 1.0) -> Shape:
    """A box with sharp edges, its upper face scaled by `top`; `rows` lets it bend."""
    points, faces, uv, smoothing = [], [], [], []
    start = 0
    for axis, side in ((0, 1), (0, -1), (2, 1), (2, -1), (1, 1), (1, -1)):
        steps = (1, 1) if axis == 1 else (1, rows)
        s, t = np.meshgrid(np.linspace(-1, 1, steps[0] + 1), np.linspace(-1, 1, steps[1] + 1))
        plane = np.empty((*s.shape, 3))
        plane[..., axis] = side
        other = 0 if axis == 2 else 2
        if axis == 1:
            plane[..., 0], plane[..., 2] = s, t
        else:
            plane[..., other], plane[..., 1] = s, t
        corners = plane.reshape(-1, 3)
        corners[:, 1] = 0.5 + 0.5 * corners[:, 1]
        corners[:, [0, 2]] *= (1 + (top - 1) * corners[:, 1])[:, None]
        index = start + np.arange(len(corners)).reshape(s.shape)
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        quads = np.stack([a, b, d, a, d, c], -1).reshape(-1, 3)
        e0, e1 = corners[quads[0, 1] - start], corners[quads[0, 2] - start]
        normal = np.cross(e0 - corners[quads[0, 0] - start], e1 - corners[quads[0, 0] - start])
        if normal[axis] * side < 0:
            quads = quads[:, ::-1]
        points.append(corners)
        faces.append(quads)
        uv.append(np.stack([0.5 + 0.5 * s, 0.5 - 0.5 * t], -1).reshape(-1, 2))
        # One normal a side would be wrong on a side that bends, so each vertex has its own.
        smoothing.append(np.arange(start, start + len(corners)))
        start += len(corners)
    return Shape(
        np.concatenate(points),
        np.concatenate(faces),
        np.concatenate(uv),
        np.concatenate(smoothing),
    )


@lru_cache(maxsize=64)
def torus(thickness: float = 0.3, segments: int = 18, around: int = 8) -> Shape:
    """A ring about the y axis; `thickness` is the tube's radius, of an outer radius of 1."""
    turn = np.linspace(0, 2 * np.pi, around + 1) - np.pi / 2
    radii = 1 - thickness + thickness * np.cos(turn)
    heights = 0.5 + 0.5 * np.sin(turn)
    shape = loft(radii, heights, segments)
    smoothing = shape.smoothing.reshape(-1, segments + 1)
    smoothing[-1] = smoothing[0]
    return Shape(shape.points, shape.faces, shape.uv, smoothing.reshape(-1))


@lru_cache(maxsize=256)
def blade(
    outline: tuple[float, ...] = (0.5, 1.0, 0.8, 0.0), thickness: float = 1.0, sweep: float = 0.0
) -> Shape:
    """A flat part (fin, wing, leaf, ear): half widths along x at even heights, thin along z.

    Args:
        outline: relative half width from base to tip; a last 0 makes a point.
        thickness: relative thickness at the base, falling towards the tip.
        sweep: shift of the tip along z.
    """
    knots = np.linspace(0, 1, len(outline))
    heights = np.linspace(0, 1, 7)
    widths = np.interp(heights, knots, outline)
    depth = thickness * (1.0 - 0.8 * heights) * np.minimum(1.0, widths * 4)
    shift = sweep * heights**2
    return loft(
        [0.0, *widths, 0.0], [0.0, *heights, 1.0], 10, 1.0, [0.0, *depth, 0.0], [0, *shift, sweep]
    )


def lathe(knots: Sequence[float], segments: int = 16) -> Shape:
    """A turned body (vase, fruit, mushroom): radii at even heights, smoothly joined, closed."""
    values = np.asarray(knots, np.float64)
    heights = np.linspace(0, 1, 13)
    place = heights * (len(knots) - 1)
    left = np.minimum(place.astype(int), len(knots) - 2)
    share = place - left
    share = share * share * (3 - 2 * share)
    radii = values[left] * (1 - share) + values[left + 1] * share
    return loft([0.0, *radii, 0.0], [0.0, *heights, 1.0], segments)


@lru_cache(maxsize=64)
def tube(inner: float = 0.7, segments: int = 14, squareness: float = 1.0, rows: int = 3) -> Shape:
    """A cylinder with a hole along y; `inner` is the hole's radius. 8 segments and a squareness of
    0.02 make a frame."""
    up = np.linspace(0, 1, rows + 1)
    radii = [*np.ones(rows + 1), *np.full(rows + 1, inner), 1.0]
    return loft(radii, [*up, *up[::-1], 0.0], segments, squareness)


@lru_cache(maxsize=64)
def bowl(wall: float = 0.15, segments: int = 14, belly: float = 0.6) -> Shape:
    """A hollow body, open at the top: bowl, cup, bell; `belly` is the exponent of its profile."""
    height = np.linspace(0, 1, 7)
    outside = height**belly
    inside = np.maximum(outside - wall, 0.0)
    deepest = float(np.interp(0.0, outside - wall, height))
    hollow = height[height > deepest]
    return loft(
        [*outside, *np.interp(hollow[::-1], height, inside), 0.0],
        [*height, *hollow[::-1], deepest],
        segments,
    )


@lru_cache(maxsize=128)
def prism(teeth: int = 12, inner: float = 0.8, share: float = 0.5, points: bool = False) -> Shape:
    """An outline pushed along y: a gear, or with `points` a star.

    Args:
        teeth: of the outline.
        inner: radius between them; theirs is 1.
        share: of the outline that the tops of the teeth take.
        points: whether teeth end in a point.
    """
    step = 2 * np.pi / teeth
    if points:
        places, radii = np.array([0.0, 0.5]), np.array([1.0, inner])
    else:
        half, slope = share / 2, min(0.08, (1 - share) / 4)
        places = np.array([-half, half, half + slope, 1 - half - slope])
        radii = np.array([1.0, 1.0, inner, inner])
    angle = (np.arange(teeth)[:, None] + places).reshape(-1) * step
    radius = np.tile(radii, teeth)
    outline = np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)
    outline[:, 0] /= np.abs(outline[:, 0]).max()
    count = len(outline)
    ring = np.arange(count)
    following = (ring + 1) % count
    low = np.insert(outline, 1, 0.0, axis=1)
    high = low + np.array([0.0, 1.0, 0.0])
    points_3d = np.concatenate([low, high, [[0, 0, 0], [0, 1, 0]]])
    faces = np.concatenate(
        [
            np.stack([ring, following, count + following], 1),
            np.stack([ring, count + following, count + ring], 1),
            np.stack([np.full(count, 2 * count), following, ring], 1),
            np.stack([np.full(count, 2 * count + 1), count + ring, count + following], 1),
        ]
    )
    uv = np.concatenate([0.5 + 0.5 * outline, 0.5 + 0.4 * outline, [[0.5, 0.5], [0.5, 0.5]]])
    smooth = Shape(points_3d, faces, uv, np.arange(len(points_3d)))
    return smooth.faceted()


def swept(curve: Array, radius: float, around: int = 6) -> Shape:
    """A wire along a curve [K, 3], with round section and flat ends; scaled to the unit box.

    The section is carried along without turning about the wire: at each step its side is projected
    onto the plane across the curve. The curve must not begin along z.
    """
    along = np.gradient(curve, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    side = np.cross(along[0], [0.0, 0.0, 1.0])
    sides = []
    for direction in along:
        side = side - (side @ direction) * direction
        side = side / np.linalg.norm(side)
        sides.append(side)
    across = np.stack(sides)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    other = np.cross(along, across)
    ring = across[:, None] * np.cos(angle)[:, None] + other[:, None] * np.sin(angle)[:, None]
    ring[:, -1] = ring[:, 0]  # rounding would open the seam
    body = curve[:, None] + radius * ring
    points = np.concatenate([body.reshape(-1, 3), curve[[0, -1]]])
    count, columns = len(curve), around + 1
    index = np.arange(count * columns).reshape(count, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    first, last = count * columns, count * columns + 1
    ends = [
        np.stack([np.full(around, first), index[0, 1:], index[0, :-1]], -1),
        np.stack([np.full(around, last), index[-1, :-1], index[-1, 1:]], -1),
    ]
    sheet = [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    smoothing = np.concatenate([index.reshape(-1), [first, last]])
    smoothing[index[:, -1]] = index[:, 0]
    share = np.linspace(0, 1, count)
    uv = np.stack(np.broadcast_arrays(angle / (2 * np.pi), share[:, None]), -1).reshape(-1, 2)
    return _unit(
        Shape(
            points,
            np.concatenate([*sheet, *ends]),
            np.concatenate([uv, [[0, 0], [0, 1]]]),
            smoothing,
        )
    )


@lru_cache(maxsize=64)
def coil(turns: int = 5, thickness: float = 0.08) -> Shape:
    """A spring along y."""
    share = np.linspace(0, 1, 10 * turns + 1)
    angle = 2 * np.pi * turns * share
    return swept(np.stack([np.sin(angle), 3 * share, np.cos(angle)], 1), thickness)


@lru_cache(maxsize=64)
def arch(opening: float = 0.3, thickness: float = 0.08) -> Shape:
    """A bent wire that stands on both ends: handle, horseshoe, hoop; `opening` of a whole turn."""
    angle = np.linspace(-np.pi * (1 - opening), np.pi * (1 - opening), 17)
    return swept(np.stack([np.sin(angle), np.cos(angle), 0 * angle], 1), thickness)


@lru_cache(maxsize=64)
def lattice(bars: int = 3, thickness: float = 0.05) -> Shape:
    """A cage: rods along y on a square, with a frame at both ends."""
    rod = box(2)
    places = np.linspace(-1 + thickness, 1 - thickness, bars)
    pieces = []
    for x in places:
        for z in places:
            if max(abs(x), abs(z)) > 0.99 - thickness:
                pieces.append((np.array([thickness, 1.0, thickness]), np.array([x, 0.0, z])))
    for y in (0.0, 1 - thickness):
        for edge in (places[0], places[-1]):
            pieces.append((np.array([1.0, thickness, thickness]), np.array([0.0, y, edge])))
            pieces.append((np.array([thickness, thickness, 1.0]), np.array([edge, y, 0.0])))
    count = len(rod.points)
    return Shape(
        np.concatenate([rod.points * scale + place for scale, place in pieces]),
        np.concatenate([rod.faces + k * count for k in range(len(pieces))]),
        np.concatenate([rod.uv for _ in pieces]),
        np.concatenate([rod.smoothing + k * count for k in range(len(pieces))]),
    )


def cut(shape: Shape, normal: Sequence[float], offset: float) -> Shape:
    """What lies below a plane of a closed shape, with a flat face where the rest was.

    The face is a fan about its middle, so the section should be star-shaped, as convex shapes' are.

    Args:
        shape: to be cut.
        normal: [3] of the plane; its x must be 0, so that the rest stays symmetric.
        offset: points with normal . point > offset go.

    Returns:
        the rest, stretched to the unit box again; the shape itself if the plane misses it.
    """
    direction = np.asarray(normal, np.float64)
    height = shape.points @ direction - offset
    if (height <= 0).all() or (height >= 0).all():
        return shape
    points, uv = list(shape.points), list(shape.uv)
    smoothing = list(shape.smoothing)
    faces: list[list[int]] = []
    rim: list[tuple[int, int]] = []
    joined: dict[tuple[int, int], int] = {}

    def crossing(a: int, b: int) -> int:
        """The vertex where the edge from a to b meets the plane, the same from both faces."""
        a, b = min(a, b), max(a, b)
        if (a, b) not in joined:
            share = height[a] / (height[a] - height[b])
            joined[a, b] = len(points)
            points.append(shape.points[a] + share * (shape.points[b] - shape.points[a]))
            uv.append(shape.uv[a] + share * (shape.uv[b] - shape.uv[a]))
            smoothing.append(joined[a, b])
        return joined[a, b]

    for face in shape.faces.tolist():
        kept: list[int] = []
        enters = leaves = -1
        for a, b in zip(face, [*face[1:], face[0]], strict=True):
            if height[a] <= 0:
                kept.append(a)
            if (height[a] <= 0) != (height[b] <= 0):
                kept.append(crossing(a, b))
                if height[a] <= 0:
                    leaves = kept[-1]
                else:
                    enters = kept[-1]
        faces.extend([kept[0], kept[k], kept[k + 1]] for k in range(1, len(kept) - 1))
        if leaves >= 0:
            rim.append((leaves, enters))
    edge = np.array(points)[[a for a, _ in rim]]
    first = len(points)
    flat = [edge.mean(0), *edge, *np.array(points)[[b for _, b in rim]]]
    points += flat
    uv += [[0.5, 0.5]] * len(flat)
    smoothing += [first] * len(flat)
    faces += [[first, first + 1 + len(rim) + k, first + 1 + k] for k in range(len(rim))]
    rest = np.array(faces)
    used, place = np.unique(rest, return_inverse=True)
    _, labels = np.unique(np.array(smoothing)[used], return_inverse=True)
    return _unit(
        Shape(np.array(points)[used], place.reshape(-1, 3), np.array(uv)[used], labels.reshape(-1))
    )


@lru_cache(maxsize=64)
def cut_body(kind: int, slant: float, keep: float) -> Shape:
    """A ball, can or box with a piece cut off: dome, wedge, ramp."""
    body = (ellipsoid(10, 16), cylinder(1.0, 16, 3), box(3))[kind]
    return cut(body, (0.0, 1.0, slant), keep)


def _unit(shape: Shape) -> Shape:
    """Stretched so that y runs from 0 to 1 and x and z reach 1 in size."""
    low, high = shape.points.min(0), shape.points.max(0)
    size = np.abs(shape.points).max(0)
    points = shape.points.copy()
    points[:, 1] = (points[:, 1] - low[1]) / (high[1] - low[1])
    points[:, [0, 2]] /= size[[0, 2]]
    return Shape(points, shape.faces, shape.uv, shape.smoothing)
