"""Body plans of living things."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.procedural_kit import Kit
from l4gm.datagen.procedural_rig import Wave, rotation, turn_to
from l4gm.datagen.procedural_shapes import blade, cylinder, ellipsoid, lathe, torus

# In a body that lies along z, its own y axis is forward and its own z axis points down.
LYING = turn_to((0, 0, 1))
FORWARD, UP, DOWN, BACK = (0, 1, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0)


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


def biped(kit: Kit) -> None:
    """Two legs, two arms: people, robots, monsters, from slender to big-headed."""
    trunk, width = kit.between(0.28, 0.5), kit.between(0.09, 0.2)
    depth = width * kit.between(0.55, 0.95)
    leg, arm = kit.between(0.2, 0.55), kit.between(0.25, 0.5)
    torso = kit.add(
        kit.pick(kit.body(), kit.stick(1.2), kit.stick(0.8)), (width, trunk, depth), kit.main,
        slide=kit.wave(0.02, multiple=2.0), axis=(0, 1, 0), joint=kit.wave(kit.between(0, 15)),
        bend=kit.wave(kit.between(0, 12)), bend_direction_degrees=kit.pick(0.0, 90.0),
    )  # fmt: skip
    thick, stride = width * kit.between(0.28, 0.45), kit.pick(4.0, kit.between(15, 45))
    first = len(kit.rig.parts)
    last = kit.limb(
        torso, (0.5 * width, 0.12 * trunk, 0), (0.05, -1, 0), (0.5 * leg + 0.1 * trunk, 0.55 * leg),
        thick, kit.pick(kit.second, kit.main), kit.wave(stride, 0.0), (0.4 * stride,), 0.4 * stride,
    )  # fmt: skip
    shoe = (1.15 * thick, 1.0 * thick, kit.between(1.6, 2.4) * thick)
    tip = kit.rig.parts[last].size[1]
    kit.add(kit.body(), shoe, kit.dark, last, (0, tip - 0.6 * thick, -0.8 * thick))
    kit.mirror(first, 0.5)
    arms(kit, torso, (0.85 * width, 0.88 * trunk, 0), arm, 0.8 * thick, stride)
    size = kit.between(0.08, 0.2)
    skin = kit.looks.plain(kit.pick([0.94, 0.76, 0.63], [0.55, 0.36, 0.25], kit.looks.palette[1]))
    head = kit.add(
        kit.body(), (size, kit.between(2.0, 2.5) * size, size * kit.between(0.85, 1.1)), skin, torso,
        (0, 0.96 * trunk, 0), turn=np.eye(3), axis=kit.pick((0, 1, 0), (1, 0, 0)),
        joint=kit.wave(kit.between(3, 25)),
    )  # fmt: skip
    kit.eyes(head, (0.4, kit.between(-0.1, 0.25), 0.85), size * kit.between(0.12, 0.28))
    headwear(kit, head, size)
    if kit.chance(0.3):
        pack = (0.7 * width, 0.6 * trunk, 0.5 * depth)
        kit.add(kit.body(), pack, kit.accent, torso, (0, 0.3 * trunk, -1.1 * depth))
    if kit.chance(0.25):
        skirt = (1.5 * width, kit.between(0.12, 0.3), 1.5 * depth + 0.02)
        kit.add(cylinder(0.55, 12, 2), skirt, kit.accent, torso, (0, 0.2 * trunk - skirt[1], 0))


def arms(
    kit: Kit,
    torso: int,
    shoulder: tuple[float, float, float],
    arm: float,
    thick: float,
    stride: float,
) -> None:
    """Two arms with hands, hanging, waving or stretched out, one perhaps holding something."""
    first = len(kit.rig.parts)
    lift = kit.pick(-1.0, -1.0, -0.3, 0.6)
    swing = kit.wave(max(stride, 10.0), 0.5)
    axis = (1, 0, 0) if lift < -0.5 else kit.pick((1, 0, 0), (0, 0, 1))
    last = kit.limb(
        torso, shoulder, (kit.between(0.25, 0.6), lift, 0), (0.55 * arm, 0.5 * arm), thick, kit.main,
        swing, (-kit.between(5, 60),), 15, axis=axis,
    )  # fmt: skip
    tip = kit.rig.parts[last].size[1]
    hand = kit.between(1.0, 1.6) * thick
    kit.add(
        kit.ball(), (hand, 2 * hand, hand), kit.pick(kit.second, kit.light), last,
        (0, tip - 0.7 * hand, 0),
    )  # fmt: skip
    kit.mirror(first, kit.pick(0.5, 0.5, 0.0))
    if kit.chance(0.35):
        if kit.chance(0.5):  # a stick, club or sword across the hand
            shape = kit.pick(cylinder(1.0, 8, 1), cylinder(1.8, 8, 1), blade((0.8, 1.0, 0.0)))
            size = (0.025, kit.between(0.3, 0.6), 0.02)
            at = (0, tip, -0.1)
        else:  # a shield or bag
            shape, size, at = kit.body(), (0.1, 0.22, 0.03), (0, tip - 0.1, -thick - 0.02)
        kit.add(shape, size, kit.accent, last, at, (0, 0.2, 1))


def headwear(kit: Kit, head: int, size: float) -> None:
    """A hat, hair, ears, horns or an antenna on an upright head; or none."""
    height = kit.rig.parts[head].size[1]
    kind = kit.count(0, 6)
    if kind == 0:  # pointed hat with a brim
        brim = kit.add(
            cylinder(1.0, 14, 1), (1.5 * size, 0.12 * size, 1.5 * size), kit.accent, head,
            (0, 0.78 * height, 0),
        )  # fmt: skip
        kit.add(
            cylinder(0.0, 12, 4), (0.95 * size, kit.between(1.0, 2.2) * size, 0.95 * size),
            kit.accent, brim, bend=kit.wave(12, offset=kit.between(-40, 40)),
        )  # fmt: skip
    elif kind == 1:  # hair or helmet
        hair = (1.1 * size, 0.75 * height, 1.12 * size)
        kit.add(kit.body(), hair, kit.second, head, (0, 0.36 * height, -0.18 * size))
    elif kind == 2:  # cap
        cap = kit.add(
            cylinder(0.85, 12, 1), (1.05 * size, 0.35 * height, 1.05 * size), kit.accent, head,
            (0, 0.72 * height, 0),
        )  # fmt: skip
        kit.add(
            kit.body(), (0.7 * size, 0.1 * size, 0.7 * size), kit.accent, cap, (0, 0, 1.2 * size)
        )
    elif kind == 3:  # antenna
        stem = kit.add(
            cylinder(0.7, 8, 3), (0.07 * size, kit.between(0.6, 1.3) * size, 0.07 * size), kit.dark,
            head, (0, 0.95 * height, 0), bend=kit.wave(30),
        )  # fmt: skip
        bit = 0.2 * size
        kit.add(
            kit.ball(), (bit, 2 * bit, bit), kit.accent, stem, (0, kit.rig.parts[stem].size[1], 0)
        )
    elif kind in (4, 5):  # ears or horns
        shape = kit.pick(kit.spike(), blade((0.7, 1.0, 0.0), 0.8), kit.body())
        first = kit.on(
            head, (0.7, 0.75, 0), shape,
            (0.3 * size, kit.between(0.6, 1.6) * size, 0.2 * size), kit.second, joint=kit.wave(6),
        )  # fmt: skip
        kit.mirror(first)


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
        kit.second, torso, (0, 0.12 * length, 0), (0, -1, kit.between(-0.4, 0.2)), joint=kit.wave(14),
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
        turn=LYING @ rotation((1, 0, 0), 180), bend=kit.wave(swing, 0.0), bend_direction_degrees=plane,
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
        blade(fin), size, kit.accent, rear, (0, 0.36 * length, 0), turn=rotation((0, 1, 0), upright),
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
        bend_direction_degrees=kit.between(0, 180), twist=kit.wave(kit.between(0, 25), multiple=0.5),
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
                kit.stick(0.3), (0.2 * width, kit.between(0.25, 0.4), 0.2 * width), kit.second, body,
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
            direction = kit.generator.normal(size=3) + [0, 0.5, 0]
            kit.on(body, direction, kit.spike(), (0.05, 0.16, 0.05), kit.accent)
    elif extras == 3:  # leaves or horns on top
        for k in range(kit.count(1, 4)):
            kit.add(
                blade((0.4, 1.0, 0.0), 1.0, 0.3), (0.07, kit.between(0.15, 0.3), 0.02), kit.accent,
                body, (0, 0.93 * height, 0), (np.sin(2.4 * k), 1.0, np.cos(2.4 * k)),
                joint=kit.wave(12),
            )  # fmt: skip
