"""Plans of toys, and of random trees of parts."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.contraptions import cut_or_hollow, wire
from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import PRESENT, Wave
from l4gm.datagen.objects.shapes import (
    Shape,
    blade,
    box,
    capsule,
    cylinder,
    ellipsoid,
    lathe,
    torus,
)


def toy(kit: Kit) -> None:
    """A stack, a turned body that spins, or a snowman."""
    (stack, top, snowman)[kit.count(0, 2)](kit)


def stack(kit: Kit) -> None:
    """Rings, discs and blocks that sway on each other."""
    last, start = -1, 0.0
    for k in range(kit.count(3, 7)):
        size, tall = kit.between(0.12, 0.32), kit.between(0.08, 0.22)
        shape = kit.pick(torus(0.4), cylinder(kit.pick(0.7, 1.0, 1.3), 14, 1), box(1), kit.body())
        look = (kit.main, kit.second, kit.accent, kit.light)[k % 4]
        last = kit.add(
            shape, (size, tall, size), look, last, (0, start, 0), axis=(0, 1, 0),
            joint=kit.wave(kit.between(0, 60), multiple=0.5),
            slide=kit.wave(0.02, offset=-0.02), slide_axis=np.array([kit.pick(0.0, 1.0), 0.5, 0.3]),
        )  # fmt: skip
        start = tall - 0.02


def top(kit: Kit) -> None:
    """A turned body that spins and tilts: spinning top, vase, fruit."""
    pole = kit.add(
        cylinder(1.0, 8, 1), (0.01, 0.02, 0.01), kit.dark, axis=(1, 0, 0), joint=kit.wave(18)
    )
    knots = [kit.between(0.05, 1.0) for _ in range(kit.count(4, 7))]
    size = (kit.between(0.15, 0.4), kit.between(0.3, 0.8))
    body = kit.add(
        lathe(knots, 18), (size[0], size[1], size[0]), kit.main, pole, axis=(0, 1, 0),
        joint=Wave(rate=kit.between(-300, 300)), squash=kit.wave(kit.pick(0.0, 0.1)),
    )  # fmt: skip
    for k in range(kit.count(1, 5)):
        ring = kit.between(0.15, 0.85)
        shape, wide = kit.pick((kit.ball(), 0.05), (kit.spike(), 0.04), (box(1), 0.05))
        radius = size[0] * float(np.interp(ring, np.linspace(0, 1, len(knots)), knots))
        at = (0.9 * radius * np.sin(2.1 * k), ring * size[1], 0.9 * radius * np.cos(2.1 * k))
        kit.add(shape, (wide, 0.12, wide), kit.accent, body, at, (at[0], 0.02, at[2] + 0.01))


def snowman(kit: Kit) -> None:
    """Two or three balls with a face, a hat and arms."""
    last, start = -1, 0.0
    sizes = (0.24, 0.18, 0.13)[: kit.count(2, 3)]
    for size in sizes:
        last = kit.add(
            kit.pick(kit.body(), ellipsoid()), (size, 1.8 * size, size),
            kit.pick(kit.main, kit.light),
            last, (0, start, 0), joint=kit.wave(8), axis=(kit.between(-1, 1), 0.3, 1),
        )  # fmt: skip
        start = 1.6 * size
    kit.eyes(last, (0.4, 0.25, 0.8), 0.15 * size)
    kit.add(
        kit.spike(),
        (0.03, 0.18, 0.03),
        kit.accent,
        last,
        kit.surface(last, (0, 0, 1)),
        (0, 0, 1),
    )
    kit.add(
        cylinder(0.9, 14, 1),
        (0.9 * size, 1.0 * size, 0.9 * size),
        kit.dark,
        last,
        (0, 1.5 * size, 0),
        joint=kit.wave(10),
    )
    first = kit.limb(
        1,
        (0.1, 0.2, 0),
        (1, kit.between(-0.5, 0.8), 0.2),
        (0.35,),
        0.02,
        kit.second,
        kit.wave(25),
        axis=(0, 0, 1),
    )
    kit.mirror(first, kit.pick(0.0, 0.5))


def assembly(kit: Kit) -> None:
    """A random tree of primitives, half of them in mirrored pairs: what no plan would make."""
    generator = kit.generator
    looks = (kit.main, kit.main, kit.second, kit.accent, kit.light, kit.looks.perforated(3))
    size = generator.uniform(0.12, 0.35, 3)
    kit.add(
        any_shape(kit), (size[0], 2 * size[1], size[2]), kit.main, axis=(0, 1, 0),
        joint=kit.wave(kit.between(0, 30)), twist=kit.wave(kit.between(0, 60)),
        bend=kit.wave(kit.between(0, 50)), bend_direction_degrees=kit.between(0, 360),
    )  # fmt: skip
    target = kit.count(5, 16)
    while len(kit.rig.parts) < target:
        parent = kit.count(0, len(kit.rig.parts) - 1) if kit.chance(0.5) else 0
        direction = generator.normal(size=3)
        width = kit.between(0.03, 0.13)
        index = kit.on(
            parent, direction, any_shape(kit),
            (width, kit.between(0.1, 0.5), width * kit.between(0.3, 1.2)), kit.pick(*looks),
            toward=direction + 0.3 * generator.normal(size=3), axis=generator.normal(size=3),
            share=0.75 if parent == 0 else 0.5,
            joint=kit.wave(kit.between(5, 45)), bend=kit.wave(kit.pick(0.0, 0.0, 50.0)),
            presence=kit.wave(1.2, offset=0.9) if kit.chance(0.15) else PRESENT,
        )  # fmt: skip
        if kit.chance(0.5):
            kit.mirror(index, kit.pick(0.0, 0.5))


def any_shape(kit: Kit) -> Shape:
    """A random primitive."""
    kind = kit.count(0, 10)
    if kind >= 9:
        return cut_or_hollow(kit)
    if kind == 8:
        return wire(kit)
    if kind == 0:
        return ellipsoid()
    if kind == 1:
        return ellipsoid(9, 14, kit.pick(0.3, 0.5, 1.4), kit.pick(0.3, 0.6, 1.4))
    if kind == 2:
        return cylinder(kit.pick(0.0, 0.5, 1.0, 1.4), kit.pick(3, 4, 5, 6, 14))
    if kind == 3:
        return capsule(kit.pick(0.4, 0.7, 1.0))
    if kind == 4:
        return torus(kit.pick(0.15, 0.3))
    if kind == 5:
        return blade(kit.pick((0.5, 1.0, 0.0), (1.0, 0.6, 1.0), (0.3, 0.6, 1.0)))
    if kind == 6:
        return lathe([kit.between(0.2, 1.0) for _ in range(kit.count(3, 6))])
    return box(4, kit.pick(0.0, 0.5, 0.8, 1.0, 1.3))
