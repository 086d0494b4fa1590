"""Plans of furniture."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import Wave, rotation
from l4gm.datagen.objects.shapes import blade, box, cylinder, ellipsoid, lathe


def furniture(kit: Kit) -> None:
    """A chair, table, lamp, chest or clock, with a part that moves."""
    (chair, desk_lamp, chest, clock)[kit.count(0, 3)](kit)


def chair(kit: Kit) -> None:
    """A chair, or a table with a vase."""
    width, depth, height = (
        kit.between(0.2, 0.42),
        kit.between(0.2, 0.35),
        kit.between(0.25, 0.45),
    )
    seat = kit.add(
        kit.pick(box(1), cylinder(1.0, 16, 1)), (width, 0.06, depth), kit.main, at=(0, height, 0),
        joint=kit.wave(kit.pick(0.0, 10.0)), squash=kit.wave(0.1),
    )  # fmt: skip
    for front in (1, -1):
        first = kit.add(
            kit.stick(kit.pick(0.6, 1.0)), (0.03, height, 0.03), kit.second, seat,
            (0.7 * width, 0.03, 0.7 * depth * front), (kit.between(0, 0.15), -1, 0.1 * front),
            bend=kit.wave(kit.pick(0.0, 25.0)),
        )  # fmt: skip
        kit.mirror(first)
    if kit.chance(0.6):
        kit.add(
            kit.pick(box(3), blade((0.9, 1.0, 0.9)), kit.body()),
            (0.9 * width, kit.between(0.3, 0.55), 0.03), kit.main, seat,
            (0, 0.03, -0.92 * depth), joint=kit.wave(10), bend=kit.wave(15),
        )  # fmt: skip
    else:
        vase = (0.1, kit.between(0.15, 0.3), 0.1)
        shape = lathe([kit.between(0.3, 1) for _ in range(5)])
        kit.add(
            shape, vase, kit.accent, seat, (kit.between(-0.1, 0.1), 0.05, 0), axis=(0, 1, 0),
            joint=Wave(rate=kit.between(-90, 90)),
        )  # fmt: skip


def desk_lamp(kit: Kit) -> None:
    """A jointed lamp."""
    foot = kit.add(cylinder(0.8, 16, 1), (0.2, 0.05, 0.2), kit.dark)
    last = kit.limb(
        foot, (0, 0.04, 0), (0, 1, 0.2), (0.35, 0.35), 0.025, kit.second, kit.wave(15),
        (kit.between(30, 80),), 20, taper=1.0,
    )  # fmt: skip
    tip = kit.rig.parts[last].size[1]
    shade = kit.add(
        lathe([0.3, 0.45, 0.7, 1.0]), (0.13, 0.2, 0.13), kit.main, last, (0, tip - 0.03, 0),
        turn=rotation((1, 0, 0), kit.between(30, 90)), joint=kit.wave(25),
    )  # fmt: skip
    kit.add(kit.ball(), (0.06, 0.12, 0.06), kit.light, shade, (0, 0.12, 0))


def chest(kit: Kit) -> None:
    """A chest whose lid opens."""
    width, height, depth = (
        kit.between(0.25, 0.4),
        kit.between(0.15, 0.3),
        kit.between(0.15, 0.28),
    )
    chest = kit.add(box(1), (width, height, depth), kit.main)
    kit.add(
        kit.pick(box(1, 0.85), ellipsoid(9, 14, 0.5, 0.4)), (1.03 * width, 0.12, 1.03 * depth),
        kit.second, chest, (0, 0.97 * height, 0), axis=(1, 0, 0),
        joint=kit.wave(25, offset=-28.0), pivot=np.array([0.0, 0.0, -depth]),
    )  # fmt: skip
    for x in (-0.7, 0.7):
        kit.add(box(1), (0.03, 1.02 * height, 1.03 * depth), kit.accent, chest, (x * width, 0, 0))
    kit.add(kit.body(), (0.05, 0.1, 0.04), kit.accent, chest, (0, 0.7 * height, depth))
    for _ in range(kit.count(0, 4)):
        at = (kit.between(-0.6, 0.6) * width, 0.75 * height, kit.between(-0.5, 0.5) * depth)
        kit.add(kit.ball(), (0.06, 0.12, 0.06), kit.light, chest, at, slide=kit.wave(0.03))


def clock(kit: Kit) -> None:
    """A clock with hands and a pendulum."""
    case = kit.add(box(3, kit.pick(0.8, 1.0)), (0.17, 0.8, 0.1), kit.main)
    dial = kit.add(
        cylinder(1.0, 18, 1), (0.14, 0.03, 0.14), kit.light, case, (0, 0.65, 0.09), (0, 0, 1)
    )
    for reach, speed in ((0.12, 120.0), (0.08, 30.0)):
        kit.add(
            box(1, 0.5), (0.012, reach, 0.01), kit.black, dial, (0, 0.035, 0), (0, 0, 1),
            axis=(0, 0, 1), joint=Wave(rate=speed, offset=kit.between(0, 360)),
        )  # fmt: skip
    rod = kit.add(
        box(1), (0.012, 0.35, 0.01), kit.dark, case, (0, 0.48, 0.11), (0, -1, 0), axis=(0, 0, 1),
        joint=kit.wave(25),
    )  # fmt: skip
    kit.add(cylinder(1.0, 14, 1), (0.06, 0.03, 0.06), kit.accent, rod, (0, 0.35, 0.015), (0, 0, -1))
    kit.add(box(1, 0.0), (0.2, 0.15, 0.12), kit.second, case, (0, 0.78, 0))
