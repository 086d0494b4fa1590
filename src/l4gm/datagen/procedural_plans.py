"""Body plans: what kinds of objects the generator makes."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.procedural_looks import Looks
from l4gm.datagen.procedural_rig import Part, Rig, Wave, rotation, turn_to
from l4gm.datagen.procedural_shapes import Shape, blade, box, capsule, cylinder, ellipsoid, torus


def build_object(generator: np.random.Generator) -> tuple[Rig, Looks, str]:
    """A random object: its parts, its looks, and the name of its kind."""
    looks = Looks(generator)
    rig = Rig()
    assembly(generator, rig, looks)
    return rig, looks, "assembly"


def any_shape(generator: np.random.Generator) -> Shape:
    """A random primitive."""
    kind = generator.integers(0, 7)
    if kind == 0:
        return ellipsoid()
    if kind == 1:
        return ellipsoid(9, 14, float(generator.choice([0.3, 0.5])), float(generator.choice([0.3, 0.6])))
    if kind == 2:
        return cylinder(float(generator.choice([0.0, 0.5, 1.0, 1.4])))
    if kind == 3:
        return capsule(float(generator.choice([0.4, 0.7, 1.0])))
    if kind == 4:
        return torus(float(generator.choice([0.2, 0.35])))
    if kind == 5:
        return blade()
    return box(4, float(generator.choice([0.5, 0.8, 1.0])))


def assembly(generator: np.random.Generator, rig: Rig, looks: Looks) -> None:
    """A random tree of primitives, half of them in mirrored pairs."""
    looks_of = [looks.random(k, 0.5) for k in (0, 1, 2, 3)]
    size = generator.uniform(0.18, 0.4, 3)
    rig.add(Part(shape=any_shape(generator), size=tuple(size * [1, 2, 1]), material=looks_of[0]))
    target = int(generator.integers(5, 18))
    while len(rig.parts) < target:
        parent = int(generator.integers(0, len(rig.parts))) if generator.random() < 0.5 else 0
        body = rig.parts[parent]
        direction = generator.normal(size=3)
        direction /= np.linalg.norm(direction)
        at = np.array([0, body.size[1] / 2, 0]) + 0.8 * direction * [
            body.size[0], body.size[1] / 2, body.size[2]
        ]  # fmt: skip
        shape = any_shape(generator)
        width = generator.uniform(0.04, 0.14)
        index = rig.add(
            Part(
                shape=shape,
                size=(width, generator.uniform(0.1, 0.5), width * generator.uniform(0.4, 1.2)),
                material=int(generator.choice(looks_of)),
                parent=parent,
                at=at,
                turn=turn_to(direction) @ rotation((1, 0, 0), generator.normal() * 15),
                axis=generator.normal(size=3),
                joint=Wave(
                    amplitude=generator.uniform(5, 45),
                    frequency=generator.uniform(0.4, 2.0),
                    phase=generator.random(),
                ),
            )
        )
        if generator.random() < 0.5:
            rig.mirror(index, float(generator.choice([0.0, 0.5])))
