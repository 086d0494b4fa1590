"""Plans of things with springs, wires, cages, hollow and cut bodies, and parts that come and go."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import Wave, rotation
from l4gm.datagen.objects.shapes import (
    Shape,
    arch,
    bowl,
    box,
    coil,
    cut_body,
    cylinder,
    lattice,
    prism,
    tube,
)


def contraption(kit: Kit) -> None:
    """A jack-in-the-box, mobile, clockwork, cage, popping pots or a bell on a frame."""
    (jack_in_the_box, mobile, clockwork, cage, popping, bell)[kit.count(0, 5)](kit)


def cut_or_hollow(kit: Kit) -> Shape:
    """A body with a piece missing."""
    kind = kit.count(0, 6)
    if kind == 0:
        return tube(kit.pick(0.6, 0.8, 0.9))
    if kind == 1:
        return bowl(kit.pick(0.08, 0.15, 0.25), 14, kit.pick(0.3, 0.5, 0.8))
    if kind == 2:
        return prism(kit.count(5, 14), kit.pick(0.6, 0.75, 0.88), kit.pick(0.35, 0.5))
    if kind == 3:
        return prism(kit.count(4, 8), kit.pick(0.4, 0.6), points=True)
    if kind == 4:
        return tube(kit.pick(0.6, 0.8), 8, 0.02).faceted()
    return cut_body(kit.count(0, 2), kit.pick(0.0, 0.3, 0.8), kit.pick(0.55, 0.7, 0.8))


def wire(kit: Kit) -> Shape:
    """Something thin."""
    return kit.pick(coil(kit.count(3, 7), 0.1), arch(kit.pick(0.1, 0.3, 0.5), 0.06), lattice(3))


def jack_in_the_box(kit: Kit) -> None:
    """A box with a lid, a spring out of it, and a head on the spring."""
    size, tall = kit.between(0.18, 0.28), kit.between(0.25, 0.4)
    frame = kit.add(
        tube(0.85, 8, 0.02).faceted(), (size, tall, size), kit.main, joint=kit.wave(4, multiple=2.0)
    )
    kit.add(box(1), (0.95 * size, 0.04, 0.95 * size), kit.dark, frame)
    kit.add(
        box(1), (size, 2 * size, 0.02), kit.second, frame, (0, 0.98 * tall, -size), (0, 0.4, -1),
        joint=kit.wave(25, offset=kit.between(-40, 20)),
    )  # fmt: skip
    length = kit.between(0.3, 0.55)
    spring = kit.add(
        coil(kit.count(4, 7), 0.09), (0.45 * size, length, 0.45 * size), kit.dark, frame,
        (0, 0.05, 0), squash=kit.wave(kit.between(0.15, 0.4), harmonic=0.3),
        bend=kit.wave(kit.between(5, 35)), bend_direction_degrees=kit.between(0, 360),
    )  # fmt: skip
    wide = kit.between(0.6, 0.9) * size
    head = kit.add(
        kit.body(), (wide, 2 * wide, wide), kit.accent, spring, (0, length - 0.02, 0),
        axis=(0, 0, 1), joint=kit.wave(15),
    )  # fmt: skip
    kit.eyes(head, (0.45, 0.2, 0.8), 0.18 * wide)
    kit.on(head, (0, 1, 0), kit.spike(), (0.5 * wide, 1.2 * wide, 0.5 * wide), kit.second)


def mobile(kit: Kit) -> None:
    """Things that hang on threads from turning wires."""
    hook = kit.add(
        arch(0.35, 0.1), (0.06, 0.14, 0.01), kit.dark, axis=(0, 1, 0),
        joint=Wave(rate=kit.between(30, 120) * kit.pick(-1, 1)),
    )  # fmt: skip
    arms = kit.count(2, 4)
    reach = kit.between(0.25, 0.45)
    thread = (0.006, 1.0, 0.006)
    for k in range(arms):
        direction = rotation((0, 1, 0), 360 * k / arms) @ np.array([0.0, 0.0, 1.0])
        arm = kit.add(
            kit.stick(0.9), (0.012, reach, 0.012), kit.dark, hook, (0, 0.02, 0),
            direction + np.array([0.0, kit.between(-0.3, 0.1), 0.0]), joint=kit.wave(6),
        )  # fmt: skip
        drop = kit.between(0.12, 0.45)
        down = kit.rig.parts[arm].turn.T @ np.array([0.0, -1.0, 0.0])
        string = kit.add(
            cylinder(1.0, 4, 1), (thread[0], drop, thread[2]), kit.light, arm,
            (0, 0.97 * reach, 0), down, axis=kit.generator.normal(size=3), joint=kit.wave(15),
        )  # fmt: skip
        wide = kit.between(0.05, 0.11)
        shape = kit.pick(kit.body(), cut_or_hollow(kit), prism(5, 0.5, points=True))
        kit.add(
            shape, (wide, kit.between(0.8, 2.0) * wide, wide), kit.pick(kit.main, kit.accent),
            string, (0, drop - 0.01, 0), turn=np.eye(3), axis=(0, 1, 0),
            joint=kit.wave(kit.between(20, 90)),
        )  # fmt: skip


def clockwork(kit: Kit) -> None:
    """Toothed wheels that drive each other, in a frame, with a pendulum."""
    frame = kit.add(
        tube(0.86, 8, 0.02, 1).faceted(), (0.36, 0.1, 0.42), kit.main, turn=rotation((1, 0, 0), 90)
    )
    teeth = [kit.count(8, 12) for _ in range(kit.count(2, 3))]
    scale = 0.4 / sum(teeth)
    rate, along, lean = kit.between(40, 140), -0.2, kit.pick(-1, 1)
    for k, count in enumerate(teeth):
        radius = scale * count
        along += radius if k else 0.0
        look = (kit.second, kit.accent, kit.light)[k]
        kit.add(
            prism(count, 0.82, 0.45), (radius, 0.05, radius), look, frame,
            (0.04 * lean * (-1) ** k, kit.between(0.02, 0.04), along), axis=(0, 1, 0),
            joint=Wave(rate=rate * (-1) ** k / count * teeth[0], offset=180 / count * k),
        )  # fmt: skip
        along += radius
    length = kit.between(0.3, 0.5)
    rod = kit.add(
        cylinder(1.0, 6, 1), (0.012, length, 0.012), kit.dark, frame, (0, 0.07, 0), (0, 0, 1),
        axis=(0, 0, 1), joint=kit.wave(kit.between(10, 30)),
    )  # fmt: skip
    bob = kit.between(0.05, 0.09)
    shape = kit.pick(cylinder(1.0, 16, 1), prism(12, 0.85), cut_body(0, 0.0, 0.6))
    kit.add(
        shape, (bob, 0.06, bob), kit.accent, rod, (0, length, -0.03), turn=rotation((1, 0, 0), 90)
    )


def cage(kit: Kit) -> None:
    """A cage with something alive in it, swinging on a handle."""
    wide, tall = kit.between(0.18, 0.3), kit.between(0.35, 0.6)
    handle = kit.add(
        arch(0.4, 0.09), (0.08, 0.16, 0.012), kit.dark, axis=(0, 0, 1), joint=kit.wave(9)
    )
    if kit.chance(0.6):
        shape, look = lattice(kit.count(3, 5), 0.04), kit.dark
    else:
        shape, look = tube(0.97, kit.pick(5, 16)), kit.looks.perforated(2)
    bars = kit.add(shape, (wide, tall, wide), look, handle, (0, 0.02, 0), (0, -1, 0))
    kit.add(box(1), (wide, 0.03, wide), kit.main, bars, (0, tall - 0.03, 0))
    small = 0.5 * wide
    bird = kit.add(
        kit.body(), (small, 2.2 * small, small), kit.accent, bars, (0, 0.95 * tall, 0), (0, -1, 0),
        axis=(0, 1, 0), joint=kit.wave(60, multiple=0.5), slide=kit.wave(-0.03, offset=-0.03),
        squash=kit.wave(0.1),
    )  # fmt: skip
    kit.eyes(bird, (0.5, 0.3, 0.8), 0.18 * small)


def popping(kit: Kit) -> None:
    """Things that grow out of a ground and vanish again, in turn."""
    ground = kit.add(
        kit.pick(cut_body(0, 0.0, 0.5), cylinder(0.9, 16, 1), box(1, 0.9), bowl(0.2, 16, 0.3)),
        (0.4, kit.between(0.06, 0.14), 0.4), kit.main,
    )  # fmt: skip
    top = 0.85 * kit.rig.parts[ground].size[1]
    count = kit.count(3, 7)
    for k in range(count):
        angle = 360 * k / count + kit.between(-15, 15)
        place = rotation((0, 1, 0), angle) @ np.array([0.0, 0.0, kit.between(0.1, 0.32)])
        there = Wave(
            offset=kit.between(0.5, 1.2), amplitude=1.2, frequency=kit.tempo * 0.6,
            phase=k / count,
        )  # fmt: skip
        tall = kit.between(0.2, 0.5)
        stem = kit.add(
            kit.stick(0.7), (0.03, tall, 0.03), kit.second, ground, (place[0], top, place[2]),
            (0.5 * place[0], 1, 0.5 * place[2]), axis=(1, 0, 0), joint=kit.wave(8), presence=there,
        )  # fmt: skip
        wide = kit.between(0.06, 0.13)
        shape = kit.pick(cut_body(0, 0.0, 0.5), kit.body(), prism(6, 0.5, points=True), bowl())
        look, high = kit.pick(kit.accent, kit.light), kit.between(0.8, 1.6) * wide
        kit.add(
            shape, (wide, high, wide), look, stem,
            (0, tall - 0.03, 0), turn=np.eye(3), axis=(0, 1, 0), joint=kit.wave(40),
        )  # fmt: skip


def bell(kit: Kit) -> None:
    """A bell with its clapper on a frame, or a hanging lamp with a shade of net."""
    stand = kit.add(arch(0.3, 0.04), (0.4, 0.8, 0.03), kit.dark)
    top = (0.0, 0.74, 0.0)
    wide, tall = kit.between(0.16, 0.26), kit.between(0.22, 0.36)
    swing = kit.wave(kit.between(15, 40))
    look = kit.looks.perforated(1) if kit.chance(0.4) else kit.main
    shade = kit.add(
        bowl(0.12, 18, kit.pick(0.25, 0.4, 0.7)), (wide, tall, wide), look, stand, top, (0, -1, 0),
        axis=(0, 0, 1), joint=swing,
    )  # fmt: skip
    ball = 0.3 * wide
    rod = kit.add(
        cylinder(1.0, 5, 1), (0.01, 0.95 * tall, 0.01), kit.light, stand, top, (0, -1, 0),
        axis=(0, 0, 1), joint=swing.shifted(kit.between(-0.3, 0.3)),
    )  # fmt: skip
    kit.add(kit.ball(), (ball, 2 * ball, ball), kit.accent, rod, (0, 0.85 * tall, 0))
    if kit.chance(0.5):
        kit.on(shade, (0, -1, 0), wire(kit), (0.05, 0.1, 0.05), kit.dark)
