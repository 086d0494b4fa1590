"""What all body plans share: random choices in one style, and parts that recur.

Creatures look along +z of their root part and are mirrored in x. A limb's own y axis runs along
it; a positive angle about its x axis takes a leg's tip backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from l4gm.datagen.objects.looks import Looks
from l4gm.datagen.objects.rig import Array, Part, Path, Rig, Wave, rotation, turn_to
from l4gm.datagen.objects.shapes import Shape, box, capsule, cylinder, ellipsoid

Vector = Sequence[float] | Array
STYLES = ("round", "soft", "boxy", "faceted")


@lru_cache(maxsize=64)
def _faceted_ball(rows: int, segments: int) -> Shape:
    return ellipsoid(rows, segments).faceted()


@lru_cache(maxsize=64)
def _faceted_cylinder(top: float, segments: int) -> Shape:
    return cylinder(top, segments, 1).faceted()


class Kit:
    """An object under construction, with the random choices that give it one style.

    Args:
        generator: all randomness of the object.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.rig = Rig()
        self.looks = Looks(generator)
        self.style = STYLES[generator.choice(4, p=[0.4, 0.2, 0.2, 0.2])]
        self.tempo = generator.uniform(0.6, 2.2)
        busy = generator.choice([0.0, 0.35, 0.7])
        # A few wear a net or slats: holes through which the other side is seen.
        self.main = self.looks.perforated(0) if self.chance(0.03) else self.looks.random(0, busy)
        self.second = self.looks.random(1, busy)
        self.accent = self.looks.random(2, 0.5 * busy)
        self.light = self.looks.plain(3)
        self.dark = self.looks.plain(4)
        self.white = self.looks.plain(np.full(3, 0.95))
        self.black = self.looks.plain(np.full(3, 0.06))

    def between(self, low: float, high: float) -> float:
        """A uniform random number."""
        return float(self.generator.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self.generator.random() < probability)

    def count(self, low: int, high: int) -> int:
        """A random whole number from low to high, both possible."""
        return int(self.generator.integers(low, high + 1))

    def pick(self, *options: Any) -> Any:
        return options[int(self.generator.integers(len(options)))]

    def wave(
        self, amplitude: float, phase: float | None = None, multiple: float = 1.0, **more: float
    ) -> Wave:
        """A swing in the object's tempo; a random phase unless one is given."""
        phase = float(self.generator.random()) if phase is None else phase
        return Wave(amplitude=amplitude, frequency=self.tempo * multiple, phase=phase, **more)

    def travel(self) -> None:
        """Let the object as a whole walk, circle, hop, turn or weave."""
        kind = self.count(0, 4)
        speed = self.between(0.15, 0.6)
        turn = self.between(40, 200) * self.pick(-1, 1)
        self.rig.path = (
            Path(speed=speed),
            Path(speed=speed, turn_rate=turn),
            Path(speed=0.5 * speed, hop=self.between(0.06, 0.3), hops=self.tempo),
            Path(turn_rate=turn),
            Path(speed=speed, sway=self.between(0.03, 0.12), sways=0.5 * self.tempo),
        )[kind]

    # Shapes in the object's style.

    def body(self) -> Shape:
        """A compact body."""
        if self.style == "round":
            return ellipsoid()
        if self.style == "soft":
            return ellipsoid(9, 14, 0.5, 0.6)
        if self.style == "boxy":
            return box(3, 1.0)
        return _faceted_ball(5, 8)

    def stick(self, top: float = 0.8) -> Shape:
        """An elongated piece: limb, neck, pole; `top` is the relative width of its far end."""
        if self.style == "boxy":
            return box(3, round(top, 1))
        if self.style == "faceted":
            return _faceted_cylinder(round(top, 1), 6)
        return capsule(round(top, 1), 10)

    def spike(self) -> Shape:
        """A cone."""
        return _faceted_cylinder(0.0, 6) if self.style == "faceted" else cylinder(0.0, 12, 2)

    def add(
        self,
        shape: Shape,
        size: Vector,
        look: int,
        parent: int = -1,
        at: Vector = (0.0, 0.0, 0.0),
        toward: Vector | None = None,
        **more: Any,
    ) -> int:
        """Add a part; `toward` (in the parent's axes) is where its y axis points, else `turn`."""
        if toward is not None:
            more["turn"] = turn_to(toward, more.pop("roll_degrees", 0.0))
        if "axis" in more:
            more["axis"] = np.asarray(more["axis"], np.float64)
        width, length, depth = (float(value) for value in size)
        return self.rig.add(
            Part(
                shape=shape,
                size=(width, length, depth),
                material=look,
                parent=parent,
                at=np.asarray(at, np.float64),
                **more,
            )
        )

    def mirror(self, first: int, shift_cycles: float = 0.0) -> None:
        """Add the mirror image of part `first` and all since."""
        self.rig.mirror(first, shift_cycles)

    def surface(self, part: int, direction: Vector, share: float = 0.9) -> Array:
        """The point in a part's axes at `share` of the way from its middle to its surface.

        The direction counts the part's half sizes as 1, so that (1, 1, 0) is a corner of a box
        whatever its proportions.
        """
        shape, size = self.rig.parts[part].shape, np.array(self.rig.parts[part].size)
        ray = np.asarray(direction, np.float64) * [1.0, 0.5, 1.0]
        return size * (shape.MIDDLE + share * shape.reach(ray) * ray)

    def on(
        self, part: int, direction: Vector, shape: Shape, size: Vector, look: int, **more: Any
    ) -> int:
        """Add a part that grows out of another's surface in a direction (in that part's axes)."""
        at = self.surface(part, direction, more.pop("share", 0.85))
        return self.add(shape, size, look, part, at, more.pop("toward", direction), **more)

    # Parts that recur.

    def limb(
        self,
        parent: int,
        at: Vector,
        toward: Vector,
        lengths: Sequence[float],
        width: float,
        look: int,
        swing: Wave,
        knees_degrees: Sequence[float] = (),
        knee_swing_degrees: float = 0.0,
        axis: Vector = (1.0, 0.0, 0.0),
        knee_axis: Vector = (1.0, 0.0, 0.0),
        taper: float = 0.8,
        **more: Any,
    ) -> int:
        """A chain of sticks that swings at its root and, a quarter later, at its knees.

        Returns:
            the index of its last piece.
        """
        last = self.add(
            self.stick(taper), (width, lengths[0], width), look, parent, at, toward,
            axis=axis, joint=swing, **more,
        )  # fmt: skip
        knees = [*knees_degrees, *([0.0] * len(lengths))]
        for k, length in enumerate(lengths[1:]):
            width *= taper
            before = self.rig.parts[last].size[1]
            knee = Wave(
                offset=knees[k],
                amplitude=knee_swing_degrees,
                frequency=swing.frequency,
                phase=swing.phase + 0.25 * (k + 1),
            )
            last = self.add(
                self.stick(taper), (width, length, width), look, last,
                (0, before - 0.6 * width, 0), turn=np.eye(3), axis=knee_axis, joint=knee,
            )  # fmt: skip
        return last

    def chain(
        self,
        parent: int,
        at: Vector,
        toward: Vector,
        count: int,
        length: float,
        width: float,
        look: int,
        swing_degrees: float,
        axis: Vector = (1.0, 0.0, 0.0),
        curl_degrees: float = 0.0,
        end: float = 0.3,
    ) -> int:
        """A tail or tentacle: pieces that bend one after the other, so that a wave runs along it.

        Returns:
            the index of its last piece.
        """
        phase = float(self.generator.random())
        last = parent
        for k in range(count):
            thick = width * (1 - (1 - end) * k / count)
            thin = width * (1 - (1 - end) * (k + 1) / count) / thick
            last = self.add(
                self.stick(round(thin, 1)),
                (thick, length / count + thick * 0.5, thick),
                look,
                last,
                at if k == 0 else (0, length / count, 0),
                turn=turn_to(toward) if k == 0 else np.eye(3),
                axis=axis,
                joint=self.wave(swing_degrees, phase - 0.15 * k, offset=curl_degrees if k else 0.0),
            )
        return last

    def eyes(self, head: int, direction: Vector, radius: float) -> None:
        """A pair of eyes with pupils, on a head, looking in a direction (in the head's axes)."""
        x, y, z = direction
        first = self.on(head, (x, y, z), self.ball(), (radius, 2 * radius, radius), self.white)
        part = self.rig.parts[first]
        look_along = part.turn @ np.array([0.0, 1.0, 0.0])
        self.rig.parts[first] = Part(
            shape=part.shape,
            size=part.size,
            material=self.black if self.chance(0.3) else self.white,
            parent=head,
            at=part.at - radius * look_along,
            turn=part.turn,
        )
        small = 0.6 * radius
        self.add(
            self.ball(), (small, 2 * small, small), self.black, first,
            (0, 2 * radius - 1.5 * small, 0), turn=np.eye(3),
        )  # fmt: skip
        self.mirror(first)

    def ball(self) -> Shape:
        """A small ball, whatever the style."""
        return ellipsoid(6, 8)

    def wheel(self, parent: int, at: Vector, radius: float, width: float, rate: float) -> int:
        """A wheel about the x axis, with a hub and spokes that show its turning."""
        tyre = self.add(
            cylinder(1.0, 16, 1), (radius, width, radius), self.dark, parent,
            np.asarray(at) - [width / 2, 0, 0], (1, 0, 0), axis=(0, 1, 0),
            joint=Wave(rate=rate, offset=self.between(0, 90)),
        )  # fmt: skip
        for turn in (0, 90) if self.chance(0.5) else (45,):
            self.add(
                box(1), (0.75 * radius, 1.1 * width, 0.18 * radius), self.light, tyre,
                (0, -0.05 * width, 0), turn=rotation((0, 1, 0), turn),
            )  # fmt: skip
        return tyre
