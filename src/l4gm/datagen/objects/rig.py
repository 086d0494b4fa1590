"""Part trees in motion: how the parts of a procedural object are joined, move and deform.

Each part has its own axes: its shape stands on the origin and grows along +y. `turn` and `at` put
it onto its parent (whose bends, twists and squashes carry it along); a joint turns it about `axis`.
Every motion is a function of time in seconds, so a clip at another rate shows the same motion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.objects.shapes import Shape

Array = NDArray[np.float64]
MIRROR = np.array([-1.0, 1.0, 1.0])
IDENTITY = np.eye(3)
# An axis times this is, row by row, the matrix of the cross product with it.
CROSS = np.array(
    [
        [0, 0, 0, 0, 0, -1, 0, 1, 0],
        [0, 0, 1, 0, 0, 0, -1, 0, 0],
        [0, -1, 0, 1, 0, 0, 0, 0, 0],
    ],
    np.float64,
)


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
    """[..., 3, 3] rotations about axes [..., 3] by angles [...] (Rodrigues' formula)."""
    axis = axis / np.sqrt((axis * axis).sum(-1, keepdims=True))
    angle = np.radians(degrees)[..., None, None]
    outer = axis[..., :, None] * axis[..., None, :]
    cross = (axis @ CROSS).reshape(*axis.shape[:-1], 3, 3)
    return np.cos(angle) * (IDENTITY - outer) + outer + np.sin(angle) * cross


def rotation(axis: tuple[float, float, float], degrees: float) -> Array:
    """[3, 3] rotation about an axis."""
    return rotations(np.array(axis, np.float64), np.array(degrees))


def turn_to(direction: Sequence[float] | Array, roll_degrees: float = 0.0) -> Array:
    """[3, 3] the least rotation that brings +y to `direction`, after a roll about y."""
    x, y, z = (float(value) for value in direction)
    length = math.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    if y < -1 + 1e-9:
        lean = np.diag([1.0, -1.0, -1.0])
    else:
        k = 1.0 / (1.0 + y)
        lean = np.array(
            [[1 - x * x * k, x, -x * z * k], [-x, y, -z], [-x * z * k, z, 1 - z * z * k]]
        )
    return lean @ rotation((0, 1, 0), roll_degrees) if roll_degrees else lean


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
        moved: dict[int, int] = {}
        for index in range(first, len(self.parts)):
            part = self.parts[index]
            parent = moved.get(part.parent, part.parent)
            moved[index] = self.add(part.mirrored(parent, shift_cycles))

    def positions(self, seconds: Array) -> list[Array]:
        """Vertices [T, P_k, 3] of every part k at these times [T]."""
        motions = Motions.at(self.parts, seconds)
        frames: list[tuple[Array, Array]] = []
        out = []
        for k, part in enumerate(self.parts):
            turn, origin = self._frame(k, frames, motions)
            frames.append((turn, origin))
            points = part.shape.points * part.size
            if motions.deforms[k]:
                points = motions.deformed(k, points)
                out.append(points @ turn.transpose(0, 2, 1) + origin[:, None])
            else:
                placed = (turn * motions.stretch[k][:, None]).transpose(0, 2, 1)
                out.append(points @ placed + origin[:, None])
        return out

    def _frame(
        self, k: int, frames: list[tuple[Array, Array]], motions: Motions
    ) -> tuple[Array, Array]:
        """A part's axes [T, 3, 3] and origin [T, 3] in the world."""
        part = self.parts[k]
        turn = part.turn @ motions.joint[k]
        origin = part.at + motions.slide[k][:, None] * part.slide_axis
        if part.pivot.any():
            origin = origin + part.turn @ part.pivot - turn @ part.pivot
        if part.parent < 0:
            return turn, origin
        parent_turn, parent_origin = frames[part.parent]
        if motions.deforms[part.parent]:
            turn = motions.carried(part.parent, origin[:, 1]) @ turn
            origin = motions.deformed(part.parent, origin[:, None])[:, 0]
        else:
            origin = origin * motions.stretch[part.parent]
        placed = np.einsum("tij,tj->ti", parent_turn, origin)
        return parent_turn @ turn, parent_origin + placed


@dataclass(frozen=True)
class Motions:
    """What the waves of K parts come to at T times; computed for all parts at once for speed.

    Args:
        joint: [K, T, 3, 3] rotations.
        slide: [K, T].
        stretch: [K, T, 3] scale by the squash, at constant volume.
        bend, twist: [K, T] radians from base to tip.
        side: [K, 3] unit direction of the bend.
        length: [K] of the parts at rest.
        deforms: [K] whether a part bends or twists.
    """

    joint: Array
    slide: Array
    stretch: Array
    bend: Array
    twist: Array
    side: Array
    length: Array
    deforms: list[bool]

    @staticmethod
    def at(parts: list[Part], seconds: Array) -> Motions:
        """Evaluate all waves of the parts at these times [T]."""
        waves = [(p.joint, p.slide, p.squash, p.bend, p.twist) for p in parts]
        joint, slide, squash, bend, twist = _wave_values(waves, seconds).transpose(1, 0, 2)
        length = np.maximum(1.0 + squash, 0.2)
        direction = np.radians([part.bend_direction_degrees for part in parts])
        return Motions(
            joint=rotations(np.stack([part.axis for part in parts])[:, None], joint),
            slide=slide,
            stretch=np.stack([length**-0.5, length, length**-0.5], -1),
            bend=np.radians(bend),
            twist=np.radians(twist),
            side=np.stack([np.sin(direction), 0 * direction, np.cos(direction)], -1),
            length=np.array([part.size[1] for part in parts]),
            deforms=[not (part.bend == STILL and part.twist == STILL) for part in parts],
        )

    def deformed(self, k: int, points: Array) -> Array:
        """[T, P, 3] points [P, 3] or [T, P, 3] of part k, stretched, then twisted, then bent.

        The axis bends into a circular arc of its own length; cross-sections stay flat.
        """
        share = points[..., 1] / self.length[k]
        points = points * self.stretch[k][:, None]
        twist, bend = self.twist[k][:, None] * share, self.bend[k][:, None] * share
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        cos, sin = np.cos(twist), np.sin(twist)
        x, z = cos * x + sin * z, cos * z - sin * x
        side_x, _, side_z = self.side[k]
        # sin(a) / a and (1 - cos(a)) / a, defined at 0.
        rise = np.sinc(bend / np.pi)
        lean = 0.5 * bend * np.sinc(bend / (2 * np.pi)) ** 2
        across = x * side_x + z * side_z
        moved = y * lean + across * (np.cos(bend) - 1.0)
        out = np.empty((len(bend), points.shape[-2], 3))
        out[..., 0] = x + moved * side_x
        out[..., 1] = y * rise - across * np.sin(bend)
        out[..., 2] = z + moved * side_z
        return out

    def carried(self, k: int, heights: Array) -> Array:
        """[T, 3, 3] how part k's deformation turns what is fixed to it at these heights [T]."""
        share = (heights / self.length[k])[:, None]
        roll = rotations(np.array([0.0, 1.0, 0.0]), np.degrees(self.twist[k][:, None] * share))
        hinge = np.array([self.side[k, 2], 0.0, -self.side[k, 0]])
        turn = rotations(hinge, np.degrees(self.bend[k][:, None] * share))
        return (turn @ roll)[:, 0]


def _wave_values(waves: Sequence[tuple[Wave, ...]], seconds: Array) -> Array:
    """[K, W, T] values of K tuples of W waves at times [T]; what `Wave` says, for all at once."""
    numbers = np.array(
        [
            [(w.offset, w.rate, w.amplitude, w.frequency, w.phase, w.harmonic) for w in row]
            for row in waves
        ]
    )
    offset, rate, amplitude, frequency, phase, harmonic = np.moveaxis(numbers, -1, 0)[..., None]
    angle = 2 * math.pi * (frequency * seconds + phase)
    swing = np.sin(angle) + harmonic * np.sin(2 * angle)
    return offset + rate * seconds + amplitude * swing
