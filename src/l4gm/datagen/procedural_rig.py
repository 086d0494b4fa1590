"""Part trees in motion: how the parts of a procedural object are joined, move and deform.

Each part has its own axes: its shape stands on the origin and grows along +y. `turn` and `at` put
it onto its parent (whose bends, twists and squashes carry it along); a joint turns it about `axis`.
Every motion is a function of time in seconds, so a clip at another rate shows the same motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.procedural_shapes import Shape

Array = NDArray[np.float64]
MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class Wave:
    """offset + rate t + amplitude sin(2 pi (frequency t + phase)), plus a second harmonic.

    Args:
        offset: value about which it swings.
        amplitude: half the swing.
        frequency: cycles a second.
        phase: in cycles.
        harmonic: amplitude of the term of twice the frequency, as a share of `amplitude`.
        rate: change a second.
    """

    offset: float = 0.0
    amplitude: float = 0.0
    frequency: float = 1.0
    phase: float = 0.0
    harmonic: float = 0.0
    rate: float = 0.0

    def __call__(self, seconds: Array) -> Array:
        angle = 2 * math.pi * (self.frequency * seconds + self.phase)
        swing = np.sin(angle) + self.harmonic * np.sin(2 * angle)
        return self.offset + self.rate * seconds + self.amplitude * swing

    @property
    def is_still(self) -> bool:
        return self.amplitude == 0 and self.rate == 0

    def shifted(self, cycles: float) -> Wave:
        """The same motion, earlier by a part of its cycle."""
        return replace(self, phase=self.phase + cycles)


STILL = Wave()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One piece of an object.

    Args:
        shape: its unit surface.
        size: (half width x, length y, half depth z).
        material: index of its look.
        parent: index of an earlier part, -1 for the first.
        at: [3] where its origin lies in the parent's axes, before the parent deforms.
        turn: [3, 3] its axes in the parent's axes.
        axis: [3] of its joint, in its own axes.
        joint: degrees.
        slide: displacement along `slide_axis` (in the parent's axes).
        bend: degrees from base to tip, towards the direction `bend_direction_degrees` (0 is +z,
            90 is +x).
        twist: degrees from base to tip.
        squash: change of length; 0.1 makes it 10 % longer and thinner by the square root.
        pivot: [3] where the joint is, in its own axes at rest; what lies there stays in place.
    """

    shape: Shape
    size: tuple[float, float, float]
    material: int = 0
    parent: int = -1
    at: Array = field(default_factory=lambda: np.zeros(3))
    turn: Array = field(default_factory=lambda: np.eye(3))
    axis: Array = field(default_factory=lambda: np.array([1.0, 0.0, 0.0]))
    joint: Wave = STILL
    slide: Wave = STILL
    slide_axis: Array = field(default_factory=lambda: np.array([0.0, 1.0, 0.0]))
    bend: Wave = STILL
    bend_direction_degrees: float = 0.0
    twist: Wave = STILL
    squash: Wave = STILL
    pivot: Array = field(default_factory=lambda: np.zeros(3))

    def mirrored(self, parent: int, shift_cycles: float) -> Part:
        """The part reflected in x -> -x of its parent's axes, moving `shift_cycles` earlier."""
        flip = np.diag(MIRROR)
        return replace(
            self,
            parent=parent,
            at=self.at * MIRROR,
            pivot=self.pivot * MIRROR,
            turn=flip @ self.turn @ flip,
            # A reflection keeps an axis' component along x and turns the others round.
            axis=-self.axis * MIRROR,
            joint=self.joint.shifted(shift_cycles),
            slide=self.slide.shifted(shift_cycles),
            slide_axis=self.slide_axis * MIRROR,
            bend=self.bend.shifted(shift_cycles),
            bend_direction_degrees=-self.bend_direction_degrees,
            twist=replace(
                self.twist.shifted(shift_cycles),
                offset=-self.twist.offset,
                amplitude=-self.twist.amplitude,
                rate=-self.twist.rate,
            ),
            squash=self.squash.shifted(shift_cycles),
        )


def rotations(axis: Array, degrees: Array) -> Array:
    """[T, 3, 3] rotations about one axis [3] (Rodrigues' formula)."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(np.atleast_1d(degrees))[:, None, None]
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation(axis: tuple[float, float, float], degrees: float) -> Array:
    """[3, 3] rotation about an axis."""
    return rotations(np.array(axis, np.float64), np.array([degrees]))[0]


def turn_to(direction: tuple[float, float, float] | Array, roll_degrees: float = 0.0) -> Array:
    """[3, 3] the least rotation that brings +y to `direction`, after a roll about y."""
    goal = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    axis = np.cross([0.0, 1.0, 0.0], goal)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        axis, sine = np.array([1.0, 0.0, 0.0]), 0.0
    lean = rotations(axis, np.array([math.degrees(math.atan2(sine, goal[1]))]))[0]
    return lean @ rotation((0, 1, 0), roll_degrees)


class Rig:
    """An object under construction: its parts, parents before children."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def add(self, part: Part) -> int:
        """Append a part; returns its index."""
        if part.parent >= len(self.parts):
            raise ValueError(f"parent {part.parent} of a part must exist before it")
        self.parts.append(part)
        return len(self.parts) - 1

    def mirror(self, first: int, shift_cycles: float = 0.0) -> None:
        """Add the mirror image of part `first` and all parts added since (which hang on it)."""
        moved = {}
        for index in range(first, len(self.parts)):
            part = self.parts[index]
            parent = moved.get(part.parent, part.parent)
            moved[index] = self.add(part.mirrored(parent, shift_cycles))

    def positions(self, seconds: Array) -> list[Array]:
        """Vertices [T, P_k, 3] of every part k at these times [T]."""
        frames: list[tuple[Array, Array]] = []
        out = []
        for part in self.parts:
            turn, origin = self._frame(part, frames, seconds)
            frames.append((turn, origin))
            points = part.shape.points * part.size
            points = points[None] * _stretch(part, seconds)[:, None]
            if not (part.bend == STILL and part.twist == STILL):
                points, _ = _deformed(part, points, seconds)
            out.append(points @ turn.transpose(0, 2, 1) + origin[:, None])
        return out

    def _frame(
        self, part: Part, frames: list[tuple[Array, Array]], seconds: Array
    ) -> tuple[Array, Array]:
        """A part's axes [T, 3, 3] and origin [T, 3] in the world."""
        turn = part.turn @ rotations(part.axis, part.joint(seconds))
        origin = part.at + part.slide(seconds)[:, None] * part.slide_axis
        origin = origin + part.turn @ part.pivot - turn @ part.pivot
        if part.parent < 0:
            return turn, origin
        parent = self.parts[part.parent]
        parent_turn, parent_origin = frames[part.parent]
        origin = (origin * _stretch(parent, seconds))[:, None]
        if not (parent.bend == STILL and parent.twist == STILL):
            origin, carried = _deformed(parent, origin, seconds)
            turn = carried[:, 0] @ turn
        placed = (origin @ parent_turn.transpose(0, 2, 1))[:, 0]
        return parent_turn @ turn, parent_origin + placed


def _stretch(part: Part, seconds: Array) -> Array:
    """[T, 3] scale of a part by its squash, at constant volume."""
    length = np.maximum(1.0 + part.squash(seconds), 0.2)
    return np.stack([length**-0.5, length, length**-0.5], -1)


def _deformed(part: Part, points: Array, seconds: Array) -> tuple[Array, Array]:
    """Twist, then bend points [T, P, 3]; also the rotation [T, P, 3, 3] that each undergoes.

    The axis bends into a circular arc of its own length; cross-sections stay flat.
    """
    length = (part.size[1] * _stretch(part, seconds)[:, 1])[:, None]
    share = points[..., 1] / length
    bend = np.radians(part.bend(seconds))[:, None] * share
    twist = np.radians(part.twist(seconds))[:, None] * share
    direction = math.radians(part.bend_direction_degrees)
    side = np.array([math.sin(direction), 0.0, math.cos(direction)])
    cos, sin = np.cos(twist), np.sin(twist)
    x = cos * points[..., 0] + sin * points[..., 2]
    z = cos * points[..., 2] - sin * points[..., 0]
    # sin(a) / a and (1 - cos(a)) / a, defined at 0.
    rise = np.sinc(bend / np.pi)
    lean = 0.5 * bend * np.sinc(bend / (2 * np.pi)) ** 2
    across = x * side[0] + z * side[2]
    cosine, sine = np.cos(bend), np.sin(bend)
    moved = points[..., 1] * lean + across * (cosine - 1.0)
    bent = np.stack(
        [x + moved * side[0], points[..., 1] * rise - across * sine, z + moved * side[2]], -1
    )
    hinge = np.cross([0.0, 1.0, 0.0], side)
    skew = np.array([[0, -hinge[2], hinge[1]], [hinge[2], 0, -hinge[0]], [-hinge[1], hinge[0], 0]])
    turn = np.eye(3) + sine[..., None, None] * skew + (1 - cosine)[..., None, None] * (skew @ skew)
    roll = np.zeros((*twist.shape, 3, 3))
    roll[..., 0, 0] = roll[..., 2, 2] = cos
    roll[..., 0, 2], roll[..., 2, 0], roll[..., 1, 1] = sin, -sin, 1.0
    return bent, turn @ roll
