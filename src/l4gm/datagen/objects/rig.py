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

    def looped(self, period_seconds: float) -> Wave:
        """The same with a whole number of cycles in a period, and of turns where it turns on."""
        cycles = max(1, round(self.frequency * period_seconds))
        turns = round(self.rate * period_seconds / 360) or (1 if self.rate > 0 else -1)
        return replace(
            self,
            frequency=cycles / period_seconds,
            rate=360 * turns / period_seconds if self.rate else 0.0,
        )


STILL = Wave()
PRESENT = Wave(offset=1.0)


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
        presence: 1 and above it is there, 0 and below it is not, between it grows out of its origin
            with all that hangs on it.
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
    presence: Wave = PRESENT

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
            presence=self.presence.shifted(shift_cycles),
        )

    def looped(self, period_seconds: float) -> Part:
        """The part with every motion changed as little as makes it repeat after a period."""
        names = ("joint", "slide", "bend", "twist", "squash", "presence")
        return replace(self, **{k: getattr(self, k).looped(period_seconds) for k in names})


@dataclass(frozen=True, kw_only=True)
class Path:
    """How an object as a whole travels: it looks along +z and turns about y.

    Args:
        speed: units a second, along its nose.
        turn_rate: degrees a second; with a speed it walks in a circle.
        hop: height; the object leaves the ground |sin| of the time.
        hops: a second.
        sway: amplitude to the sides.
        sways: a second.
    """

    speed: float = 0.0
    turn_rate: float = 0.0
    hop: float = 0.0
    hops: float = 1.0
    sway: float = 0.0
    sways: float = 1.0

    def at(self, seconds: Array) -> tuple[Array, Array]:
        """The object's turn [T, 3, 3] and place [T, 3]."""
        heading = np.radians(self.turn_rate * seconds)
        # The integral of the speed along the nose; half angles keep it defined at no turning.
        run = self.speed * seconds * np.sinc(heading / (2 * np.pi))
        sway = self.sway * np.sin(2 * np.pi * self.sways * seconds)
        place = np.stack(
            [
                run * np.sin(heading / 2) + sway * np.cos(heading),
                self.hop * np.sin(np.pi * self.hops * seconds) ** 2,
                run * np.cos(heading / 2) - sway * np.sin(heading),
            ],
            -1,
        )
        return rotations(np.array([0.0, 1.0, 0.0]), np.degrees(heading)), place

    def looped(self, period_seconds: float) -> Path:
        """The same coming back after a period: a walk becomes a circle."""
        turn = 360 / period_seconds if self.speed or self.turn_rate else 0.0
        return replace(
            self,
            turn_rate=turn if self.turn_rate >= 0 else -turn,
            hops=max(1, round(self.hops * period_seconds)) / period_seconds,
            sways=max(1, round(self.sways * period_seconds)) / period_seconds,
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
        self.path: Path | None = None

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

    def loop(self, period_seconds: float) -> None:
        """Make the whole motion repeat after a period."""
        self.parts = [part.looped(period_seconds) for part in self.parts]
        if self.path is not None:
            self.path = self.path.looped(period_seconds)

    def positions(self, seconds: Array) -> list[Array]:
        """Vertices [T, P_k, 3] of every part k at these times [T]."""
        placed = self._positions(seconds)
        if self.path is None:
            return placed
        turn, place = self.path.at(seconds)
        return [points @ turn.transpose(0, 2, 1) + place[:, None] for points in placed]

    def _positions(self, seconds: Array) -> list[Array]:
        """The same without the path."""
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
        turn = turn * motions.presence[k][:, None, None]
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
        presence: [K, T] scale, 0 to 1.
    """

    joint: Array
    slide: Array
    stretch: Array
    bend: Array
    twist: Array
    side: Array
    length: Array
    deforms: list[bool]
    presence: Array

    @staticmethod
    def at(parts: list[Part], seconds: Array) -> Motions:
        """Evaluate all waves of the parts at these times [T]."""
        waves = [(p.joint, p.slide, p.squash, p.bend, p.twist, p.presence) for p in parts]
        joint, slide, squash, bend, twist, there = _wave_values(waves, seconds).transpose(1, 0, 2)
        there = np.clip(there, 0.0, 1.0)
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
            presence=there * there * (3 - 2 * there),
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
