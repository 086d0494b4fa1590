"""Plan of two-legged figures."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.shapes import blade, cylinder


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
        kit.body(), (size, kit.between(2.0, 2.5) * size, size * kit.between(0.85, 1.1)), skin,
        torso,
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
        torso, shoulder, (kit.between(0.25, 0.6), lift, 0), (0.55 * arm, 0.5 * arm), thick,
        kit.main,
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
