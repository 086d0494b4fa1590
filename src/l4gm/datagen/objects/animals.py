"""Plans of four-legged animals, birds and fish."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import Wave, rotation, turn_to
from l4gm.datagen.objects.shapes import blade, cylinder, ellipsoid, torus

# In a body that lies along z, its own y axis is forward and its own z axis points down.
LYING = turn_to((0, 0, 1))
UP, DOWN = (0, 0, -1), (0, 0, 1)


def quadruped(kit: Kit) -> None:
    """Four legs, neck, head and tail: horse, dog, dinosaur, pig, giraffe, turtle."""
    length, width = kit.between(0.45, 0.9), kit.between(0.1, 0.22)
    height, leg = width * kit.between(0.8, 1.3), kit.between(0.15, 0.55)
    torso = kit.add(
        kit.body(), (width, length, height), kit.main, at=(0, 0, -length / 2), turn=LYING,
        slide=kit.wave(0.025, multiple=2.0), bend=kit.wave(kit.between(0, 14)),
        bend_direction_degrees=kit.pick(0.0, 90.0),
    )  # fmt: skip
    gait = kit.pick(0.5, 0.25, 0.0)
    thick, swing = width * kit.between(0.22, 0.42), kit.between(12, 40)
    leg_look = kit.pick(kit.main, kit.main, kit.second)
    for place, phase in ((0.82, 0.0), (0.17, gait)):
        at = (0.7 * width, place * length, 0.3 * height)
        first = len(kit.rig.parts)
        last = kit.limb(
            torso, at, DOWN, (0.55 * leg + 0.5 * height, 0.55 * leg), thick, leg_look,
            kit.wave(swing, phase), (kit.between(0, 25),), 0.6 * swing,
        )  # fmt: skip
        if kit.chance(0.6):
            tip = kit.rig.parts[last].size[1]
            foot = (1.1 * thick, 1.0 * thick, 1.7 * thick)
            kit.add(kit.body(), foot, kit.dark, last, (0, tip - 0.4 * thick, -0.5 * thick))
        kit.mirror(first, 0.5)
    neck, rise = kit.between(0.08, 0.45), kit.between(0.2, 1.4)
    stem = kit.add(
        kit.stick(0.8), (0.5 * width, neck + 0.12, 0.5 * height), kit.main, torso,
        (0, 0.86 * length, -0.3 * height), (0, 1, -rise), joint=kit.wave(kit.between(3, 15)),
    )  # fmt: skip
    size = kit.between(0.09, 0.17)
    head = kit.add(
        kit.body(), (0.8 * size, 2.4 * size, size), kit.main, stem, (0, neck + 0.04, 0.3 * size),
        turn=rotation((1, 0, 0), np.degrees(np.arctan(rise)) + kit.between(-10, 30)),
        joint=kit.wave(kit.between(2, 14)),
    )  # fmt: skip
    animal_face(kit, head, size)
    tail(kit, torso, length, height)
    if kit.chance(0.25):
        for k in range(kit.count(3, 6)):
            plate = blade((0.7, 1.0, 0.0), 0.5)
            kit.add(
                plate, (0.02, kit.between(0.08, 0.2), 0.07), kit.accent, torso,
                (0, length * (0.12 + 0.14 * k), -0.85 * height), UP, roll_degrees=90,
            )  # fmt: skip
    elif kit.chance(0.2):
        shell = (1.35 * width, 0.95 * length, 1.2 * height)
        kit.add(ellipsoid(), shell, kit.second, torso, (0, 0.03 * length, -0.35 * height))


def animal_face(kit: Kit, head: int, size: float) -> None:
    """Snout, ears or horns, and eyes, on a head that points along its y axis with z down."""
    if kit.chance(0.7):
        snout = (0.5 * size, kit.between(0.7, 1.8) * size, 0.5 * size)
        nose = kit.add(
            kit.stick(0.7), snout, kit.pick(kit.main, kit.second), head,
            (0, 1.8 * size, 0.25 * size), turn=np.eye(3),
        )  # fmt: skip
        if kit.chance(0.5):
            bit = 0.22 * size
            kit.add(kit.ball(), (bit, 2 * bit, bit), kit.black, nose, (0, snout[1] - bit, -bit))
    kit.eyes(head, (0.75, 0.35, -0.55), size * kit.between(0.16, 0.28))
    kind = kit.count(0, 4)
    if kind == 0:  # upright ears
        first = kit.on(
            head, (0.55, -0.5, -0.8), blade((0.7, 1.0, 0.0), 0.6),
            (0.4 * size, kit.between(0.5, 1.6) * size, 0.15 * size), kit.second,
            toward=(0.4, -0.2, -1), joint=kit.wave(8),
        )  # fmt: skip
    elif kind == 1:  # hanging ears
        first = kit.on(
            head, (0.9, -0.4, -0.5), blade((0.6, 1.0, 0.9, 0.3), 0.6),
            (0.4 * size, kit.between(0.8, 1.5) * size, 0.15 * size), kit.second,
            toward=(0.6, -0.2, 1), roll_degrees=90, axis=(0, 0, 1), joint=kit.wave(18),
        )  # fmt: skip
    elif kind == 2:  # horns
        first = kit.on(
            head, (0.5, -0.4, -0.8), kit.spike(),
            (0.16 * size, kit.between(0.8, 2.0) * size, 0.16 * size), kit.light,
            toward=(0.7, kit.between(-0.5, 0.5), -1),
        )  # fmt: skip
    else:
        return
    kit.mirror(first)


def tail(kit: Kit, torso: int, length: float, height: float) -> None:
    """None, a stub, a brush, or a long swinging tail at the back of a lying body."""
    kind = kit.count(0, 3)
    at = (0, 0.06 * length, -0.4 * height)
    if kind == 1:
        bit = kit.between(0.04, 0.07)
        kit.add(kit.ball(), (bit, 2 * bit, bit), kit.second, torso, at, (0, -1, -0.6))
    elif kind == 2:
        brush = (kit.between(0.04, 0.08), kit.between(0.2, 0.4), 0.05)
        kit.add(
            ellipsoid(), brush, kit.second, torso, at, (0, -1, kit.between(-1, 0.6)),
            axis=(0, 0, 1), joint=kit.wave(30), bend=Wave(offset=kit.between(-60, 60)),
        )  # fmt: skip
    elif kind == 3:
        kit.chain(
            torso, at, (0, -1, kit.between(-0.6, 0.4)), kit.count(2, 4), kit.between(0.25, 0.6),
            0.35 * height, kit.main, 14, axis=kit.pick((0, 0, 1), (1, 0, 0)), end=0.25,
        )  # fmt: skip


def bird(kit: Kit) -> None:
    """Wings that flap, or hang folded while it walks: bird, bat, bee, dragon."""
    length, width = kit.between(0.3, 0.5), kit.between(0.09, 0.17)
    slope = kit.between(-0.1, 1.0)
    torso = kit.add(
        kit.body(), (width, length, width), kit.main, turn=turn_to((0, slope, 1)),
        slide=kit.wave(0.04, 0.25), slide_axis=np.array([0.0, 1.0, 0.0]),
    )  # fmt: skip
    span, chord = kit.between(0.3, 0.6), kit.between(0.08, 0.2)
    outline = kit.pick((0.7, 1.0, 0.8, 0.2), (1.0, 0.9, 0.7, 0.0), (0.4, 0.9, 1.0, 0.6))
    flap = kit.between(20, 60)
    first = kit.add(
        blade(outline[:2] + outline[1:2], 1.0, 0.2), (chord, 0.5 * span, 0.02), kit.second, torso,
        (0.6 * width, 0.6 * length, -0.5 * width), (1, 0, -0.15), axis=(1, 0, 0),
        joint=kit.wave(flap, 0.0, offset=kit.between(-15, 15)),
    )  # fmt: skip
    kit.add(
        blade(outline, 1.0, 0.4), (0.95 * chord, 0.6 * span, 0.015),
        kit.pick(kit.second, kit.accent), first, (0, 0.46 * span, 0),
        axis=(1, 0, 0), joint=kit.wave(0.6 * flap, -0.2),
    )  # fmt: skip
    kit.mirror(first)
    size = width * kit.between(0.55, 0.95)
    head = kit.add(
        kit.body(), (size, 2 * size, size), kit.pick(kit.main, kit.second), torso,
        (0, length - 0.5 * size, -0.5 * width), (0, 1, -0.6), joint=kit.wave(8),
    )  # fmt: skip
    kit.eyes(head, (0.7, 0.5, -0.4), 0.25 * size)
    beak = (0.35 * size, kit.between(0.7, 2.0) * size, 0.3 * size)
    kit.add(kit.spike(), beak, kit.accent, head, (0, 1.75 * size, 0.1 * size))
    kit.add(
        blade((0.5, 0.9, 1.0, 0.7), 0.8), (kit.between(0.05, 0.15), kit.between(0.15, 0.4), 0.02),
        kit.second, torso, (0, 0.12 * length, 0), (0, -1, kit.between(-0.4, 0.2)),
        joint=kit.wave(14),
    )  # fmt: skip
    if kit.chance(0.6):
        first = len(kit.rig.parts)
        legs = kit.between(0.08, 0.25)
        kit.limb(
            torso, (0.4 * width, 0.35 * length, 0.6 * width), (0, -slope, 1), (legs, legs), 0.02,
            kit.accent, kit.wave(20), (-30,), 10, taper=0.9,
        )  # fmt: skip
        kit.mirror(first, kit.pick(0.0, 0.5))


def fish(kit: Kit) -> None:
    """A body that swims by bending sideways, or up and down: fish, shark, whale, ray."""
    length, height = kit.between(0.4, 0.7), kit.between(0.1, 0.3)
    width = height * kit.between(0.3, 0.9)
    plane = kit.pick(90.0, 90.0, 90.0, 0.0)
    swing = kit.between(15, 40)
    body = kit.add(
        kit.pick(ellipsoid(), ellipsoid(9, 14, 1.2), kit.body()), (width, length, height), kit.main,
        turn=LYING @ rotation((1, 0, 0), 180), bend=kit.wave(swing, 0.0),
        bend_direction_degrees=plane,
        slide=kit.wave(0.02), slide_axis=np.array([1.0, 0.0, 0.0]),
    )  # fmt: skip
    # From here y runs to the tail and z up.
    rear = kit.add(
        kit.stick(0.4), (0.6 * width, 0.4 * length, 0.5 * height), kit.main, body,
        (0, 0.82 * length, 0), bend=kit.wave(1.4 * swing, -0.15), bend_direction_degrees=plane,
    )  # fmt: skip
    fin = kit.pick((0.2, 0.7, 1.0), (0.3, 1.0, 0.6), (0.2, 0.5, 1.0, 0.8))
    size = (kit.between(0.4, 1.0) * height, kit.between(0.15, 0.35), 0.015)
    upright = 90 if plane else 0
    kit.add(
        blade(fin), size, kit.accent, rear, (0, 0.36 * length, 0),
        turn=rotation((0, 1, 0), upright),
        joint=kit.wave(swing, -0.3), axis=(1, 0, 0),
    )  # fmt: skip
    for up in (1, -1):
        if kit.chance(0.75):
            kit.add(
                blade(kit.pick((1.0, 0.8, 0.0), (0.8, 1.0, 0.6)), 1.0, 0.0),
                (kit.between(0.15, 0.3) * length, kit.between(0.3, 0.9) * height, 0.015),
                kit.accent, body, (0, kit.between(0.4, 0.6) * length, 0.75 * up * height),
                (0, kit.between(0.2, 0.8), up), roll_degrees=90, joint=kit.wave(8),
                axis=(0, 0, 1),
            )  # fmt: skip
    first = kit.add(
        blade(kit.pick((0.6, 1.0, 0.4), (0.5, 0.8, 1.0))),
        (0.1 * length, kit.between(0.3, 1.2) * height, 0.015), kit.accent, body,
        (0.8 * width, 0.4 * length, -0.3 * height), (1, 0.7, -0.3), roll_degrees=30,
        joint=kit.wave(25), axis=(0, 0, 1),
    )  # fmt: skip
    kit.mirror(first)
    kit.eyes(body, (0.75, -0.75, 0.3), min(width, height) * kit.between(0.2, 0.38))
    if kit.chance(0.4):
        stripe = (1.02 * width, 0.12 * length, 1.02 * height)
        kit.add(cylinder(1.0, 14, 1), stripe, kit.light, body, (0, 0.42 * length, 0))
    if kit.chance(0.2):
        mouth = (0.5 * width, 0.1 * length, 0.4 * height)
        kit.add(torus(0.4), mouth, kit.second, body, (0, 0.01, -0.1 * height))
