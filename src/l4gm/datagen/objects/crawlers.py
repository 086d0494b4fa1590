"""Plans of serpents, many-legged and soft-bodied animals."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import turn_to
from l4gm.datagen.objects.shapes import blade, ellipsoid, lathe

LYING = turn_to((0, 0, 1))


def serpent(kit: Kit) -> None:
    """A crawling chain: snake, worm, caterpillar, centipede."""
    count, width = kit.count(5, 10), kit.between(0.04, 0.1)
    length = kit.between(0.6, 1.3)
    piece = length / count
    phase = kit.between(0, 1)
    axis = kit.pick((0, 0, 1), (0, 0, 1), (1, 0, 0))
    ringed, legs = kit.chance(0.4), kit.chance(0.3)
    swing = kit.between(15, 35)
    last = -1
    for k in range(count):
        look = kit.second if ringed and k % 2 else kit.main
        wide = width * (1.0 - 0.6 * (k / count) ** 2)
        shape = kit.ball() if ringed and kit.style == "round" else kit.stick(0.9)
        long = 2 * wide if ringed and kit.style == "round" else piece
        last = kit.add(
            shape, (wide, max(long, piece) + 0.7 * wide, wide), look, last,
            (0, 0, 0) if k == 0 else (0, piece, 0),
            turn=turn_to((0, 0, -1)) if k == 0 else np.eye(3), axis=axis,
            joint=kit.wave(swing, phase - k / count * 1.2),
        )  # fmt: skip
        if k == 0:
            first_piece = last
        if legs and k:
            first = kit.limb(
                last, (0.6 * wide, 0.5 * piece, 0), (1, 0, -0.9), (1.6 * wide,), 0.25 * wide,
                kit.dark, kit.wave(25, -0.2 * k), axis=(0, 0, 1),
            )  # fmt: skip
            kit.mirror(first, 0.5)
    head = kit.add(
        kit.body(), (1.2 * width, 3.2 * width, width), kit.pick(kit.main, kit.accent), first_piece,
        (0, 0.6 * width, 0), (0, -1, kit.between(0, 0.8)), axis=(1, 0, 0), joint=kit.wave(10),
    )  # fmt: skip
    kit.eyes(head, (0.6, 0.2, -0.6), 0.3 * width)
    if kit.chance(0.5):
        tongue = (0.15 * width, 1.6 * width, 0.05 * width)
        kit.add(blade((1.0, 0.6, 1.0)), tongue, kit.accent, head, (0, 3.0 * width, 0))


def arthropod(kit: Kit) -> None:
    """Many legs: spider, crab, beetle, scorpion, wasp."""
    length, width = kit.between(0.2, 0.4), kit.between(0.1, 0.24)
    height = width * kit.between(0.4, 0.9)
    body = kit.add(
        kit.body(), (width, length, height), kit.main, turn=LYING, slide=kit.wave(0.02, multiple=2)
    )
    pairs = kit.count(3, 4)
    leg, thick = kit.between(0.15, 0.35), kit.between(0.012, 0.035)
    rise = kit.between(0.2, 0.9)
    for k in range(pairs):
        first = len(kit.rig.parts)
        place = 0.15 + 0.7 * k / (pairs - 1)
        kit.limb(
            body, (0.75 * width, place * length, 0.1 * height), (1, 1.6 * (place - 0.5), -rise),
            (leg, 1.3 * leg), thick, kit.second, kit.wave(14, 0.5 * (k % 2)),
            (kit.between(60, 110),), 8, axis=(0, 0, 1), taper=0.7,
        )  # fmt: skip
        kit.mirror(first, 0.5)
    rear = kit.between(0.6, 1.3)
    if kit.chance(0.7):
        abdomen = (rear * width, 1.2 * length * rear, 1.2 * rear * height)
        kit.add(
            kit.body(), abdomen, kit.second, body, (0, 0.15 * length, 0),
            (0, -1, -kit.between(0, 0.5)), joint=kit.wave(6),
        )  # fmt: skip
    size = kit.between(0.4, 0.7) * width
    head = kit.add(
        kit.body(), (size, 2 * size, 0.8 * size), kit.accent, body, (0, length - 0.6 * size, 0),
        joint=kit.wave(6),
    )  # fmt: skip
    kit.eyes(head, (0.6, 0.6, -0.5), 0.28 * size)
    if kit.chance(0.5):
        first = kit.limb(
            head, (0.4 * size, 1.6 * size, -0.3 * size), (0.4, 1, -0.8), (0.25,), 0.01, kit.dark,
            kit.wave(18),
        )  # fmt: skip
        kit.mirror(first, 0.3)
    if kit.chance(0.4):  # pincers
        first = len(kit.rig.parts)
        arm = kit.limb(
            body, (0.8 * width, 0.9 * length, 0), (1, 0.6, -0.2), (0.15, 0.15), 0.035, kit.main,
            kit.wave(12), (60,), 10, axis=(0, 0, 1), knee_axis=(0, 0, 1),
        )  # fmt: skip
        kit.add(kit.body(), (0.08, 0.2, 0.05), kit.accent, arm, (0, 0.1, 0), joint=kit.wave(15))
        kit.mirror(first, 0.5)
    if kit.chance(0.35):  # wings
        first = kit.add(
            blade((0.4, 1.0, 0.7)), (0.09, kit.between(0.3, 0.5), 0.01), kit.light, body,
            (0.3 * width, 0.6 * length, -0.9 * height), (1, -0.4, -0.6), axis=(1, 0, 0),
            joint=kit.wave(30, multiple=2.0),
        )  # fmt: skip
        kit.mirror(first)
    elif kit.chance(0.25):
        kit.chain(
            body, (0, 0.1 * length, -0.3 * height), (0, -1, -0.8), 4, 0.5, 0.06, kit.main, 8,
            curl_degrees=-35, end=0.3,
        )  # fmt: skip


def blob(kit: Kit) -> None:
    """A soft body that squashes, sways and looks: slime, ghost, octopus, fruit with a face."""
    width, height = kit.between(0.22, 0.4), kit.between(0.3, 0.7)
    knots = [kit.between(0.5, 1.0), 1.0, kit.between(0.6, 1.0), kit.between(0.1, 0.6), 0.0]
    shape = kit.pick(lathe(knots), kit.body(), ellipsoid(10, 16, kit.between(0.6, 1.0)))
    body = kit.add(
        shape, (width, height, width), kit.main, squash=kit.wave(kit.between(0.05, 0.25)),
        slide=kit.wave(kit.between(0, 0.08)), bend=kit.wave(kit.between(0, 30), multiple=0.5),
        bend_direction_degrees=kit.between(0, 180),
        twist=kit.wave(kit.between(0, 25), multiple=0.5),
    )  # fmt: skip
    if kit.chance(0.8):
        kit.eyes(body, (kit.between(0.25, 0.5), 0.2, 0.85), width * kit.between(0.1, 0.3))
    if kit.chance(0.4):
        mouth = (0.3 * width, 0.12 * height, 0.1 * width)
        kit.add(ellipsoid(), mouth, kit.black, body, kit.surface(body, (0, -0.25, 1), 0.92))
    extras = kit.count(0, 4)
    if extras == 0:  # tentacles
        count = kit.count(5, 8)
        for k in range(count):
            angle = 2 * np.pi * (k + 0.5) / count
            at = (0.6 * width * np.sin(angle), 0.12 * height, 0.6 * width * np.cos(angle))
            kit.add(
                kit.stick(0.3), (0.2 * width, kit.between(0.25, 0.4), 0.2 * width), kit.second,
                body,
                at, (np.sin(angle), -0.8, np.cos(angle)), bend=kit.wave(60, offset=40),
            )  # fmt: skip
    elif extras == 1:  # arms and feet
        first = kit.limb(
            body, kit.surface(body, (1, 0, 0.1)), (1, kit.between(-0.6, 0.8), 0.2), (0.15, 0.12),
            0.03, kit.second, kit.wave(35), (20,), 15, axis=(0, 0, 1),
        ) - 1  # fmt: skip
        kit.mirror(first, 0.5)
        first = kit.limb(
            body,
            (0.4 * width, 0.1 * height, 0),
            (0, -1, 0),
            (0.22,),
            0.04,
            kit.second,
            kit.wave(25),
        )
        kit.mirror(first, 0.5)
    elif extras == 2:  # spikes
        for _ in range(kit.count(4, 9)):
            direction = kit.generator.normal(size=3) + np.array([0, 0.5, 0])
            kit.on(body, direction, kit.spike(), (0.05, 0.16, 0.05), kit.accent)
    elif extras == 3:  # leaves or horns on top
        for k in range(kit.count(1, 4)):
            kit.add(
                blade((0.4, 1.0, 0.0), 1.0, 0.3), (0.07, kit.between(0.15, 0.3), 0.02), kit.accent,
                body, (0, 0.93 * height, 0), (np.sin(2.4 * k), 1.0, np.cos(2.4 * k)),
                joint=kit.wave(12),
            )  # fmt: skip
