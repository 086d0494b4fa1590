"""Body plans of made and grown things: vehicles, aircraft, furniture, machines, plants, toys."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.procedural_kit import Kit
from l4gm.datagen.procedural_rig import Wave, rotation, turn_to
from l4gm.datagen.procedural_shapes import (
    Shape,
    blade,
    box,
    capsule,
    cylinder,
    ellipsoid,
    lathe,
    torus,
)


def vehicle(kit: Kit) -> None:
    """A car, lorry, tank or cart: wheels turn, the body rocks, turrets and loads move."""
    length, width = kit.between(0.5, 0.9), kit.between(0.16, 0.28)
    height, radius = kit.between(0.1, 0.22), kit.between(0.07, 0.14)
    soft = ellipsoid(9, 14, 0.4, 0.4)
    base = kit.add(
        kit.pick(box(2, kit.pick(0.8, 0.9, 1.0)), soft), (width, height, length / 2), kit.main,
        at=(0, radius, 0), slide=kit.wave(0.012, multiple=2), joint=kit.wave(kit.between(0, 4)),
    )  # fmt: skip
    rate = kit.pick(-1, 1) * kit.between(90, 500)
    axles = kit.pick((-0.6, 0.6), (-0.65, 0.65), (-0.65, 0.0, 0.65), (-0.7, -0.25, 0.25, 0.7))
    for place in axles:
        first = kit.wheel(base, (width, 0, place * length / 2), radius, 0.4 * radius, rate)
        kit.mirror(first)
    kind = kit.count(0, 3)
    top = 0.92 * height
    if kind == 0:  # cabin with windows
        share, place = kit.between(0.3, 0.6), kit.between(-0.25, 0.25) * length
        size = (0.85 * width, kit.between(0.1, 0.2), share * length / 2)
        cabin = kit.add(box(1, kit.pick(0.7, 0.85)), size, kit.main, base, (0, top, place))
        glass = (0.98 * size[0], 0.55 * size[1], 1.0 * size[2])
        kit.add(box(1, 0.85), glass, kit.dark, cabin, (0, 0.25 * size[1], 0.02 * length))
        if kit.chance(0.4):
            lamp = (0.05, 0.05, 0.03)
            kit.add(kit.body(), lamp, kit.accent, cabin, (0, 0.95 * size[1], 0))
    elif kind == 1:  # turret with a gun
        size = kit.between(0.6, 0.9) * width
        turret = kit.add(
            kit.pick(box(1, 0.8), cylinder(0.8, 10, 1), soft), (size, 0.14, size * 1.1), kit.second,
            base, (0, top, 0), axis=(0, 1, 0), joint=kit.wave(kit.between(15, 80), multiple=0.5),
        )  # fmt: skip
        for side in kit.pick((0.0,), (0.0,), (-0.3, 0.3)):
            kit.add(
                cylinder(0.8, 10, 1), (0.03, kit.between(0.3, 0.55), 0.03), kit.dark, turret,
                (side * size, 0.07, 0.5 * size), (0, 0.15, 1), joint=kit.wave(8),
            )  # fmt: skip
    elif kind == 2:  # lorry: cab in front, load behind
        cab = (0.95 * width, kit.between(0.18, 0.28), 0.16 * length)
        front = kit.add(box(1, 0.9), cab, kit.second, base, (0, 0.5 * height, 0.32 * length))
        glass = (0.9 * cab[0], 0.4 * cab[1], 0.98 * cab[2])
        kit.add(box(1, 0.95), glass, kit.dark, front, (0, 0.5 * cab[1], 0.01))
        load = (0.95 * width, kit.between(0.12, 0.4), 0.3 * length)
        kit.add(
            kit.pick(box(2), soft, cylinder(1.0, 12, 1)), load, kit.accent, base,
            (0, top, -0.18 * length), joint=kit.wave(kit.pick(0.0, 15.0), multiple=0.5),
        )  # fmt: skip
    else:  # crane or digger
        crane_arm(kit, base, (0, top, 0), kit.between(0.3, 0.5))
    first = kit.add(
        kit.ball(), (0.03, 0.03, 0.03), kit.light, base, (0.6 * width, 0.6 * height, 0.48 * length),
        (0, 0, 1),
    )  # fmt: skip
    kit.mirror(first)


def crane_arm(kit: Kit, base: int, at: tuple[float, float, float], reach: float) -> None:
    """A turning foot with a jointed arm that ends in a claw, shovel or hook."""
    foot = kit.add(
        cylinder(0.9, 12, 1), (0.1, 0.08, 0.1), kit.dark, base, at, axis=(0, 1, 0),
        joint=kit.wave(kit.between(20, 80), multiple=0.5),
    )  # fmt: skip
    last = foot
    for k in range(kit.count(2, 3)):
        thick = 0.05 * 0.8**k
        last = kit.add(
            kit.stick(0.8), (thick, reach, thick), (kit.main, kit.second)[k % 2], last,
            (0, 0.06 if k == 0 else reach - 0.04, 0), axis=(1, 0, 0),
            joint=kit.wave(kit.between(10, 35), offset=kit.between(15, 75) if k else 10.0),
        )  # fmt: skip
        ring = (1.5 * thick, 3 * thick, 1.5 * thick)
        kit.add(cylinder(1.0, 10, 1), ring, kit.dark, last, (-1.5 * thick, 0, 0), (1, 0, 0))
    for side in (-1, 1):
        kit.add(
            blade((1.0, 0.8, 0.3)), (0.04, 0.15, 0.03), kit.accent, last,
            (0.02 * side, reach - 0.03, 0), (0.5 * side, 1, 0), axis=(0, 0, 1),
            joint=kit.wave(20.0 * side, 0.0),
        )  # fmt: skip


def aircraft(kit: Kit) -> None:
    """Aeroplane, helicopter, drone, rocket or flying saucer."""
    kind = kit.count(0, 3)
    if kind == 3:
        saucer(kit)
        return
    length, width = kit.between(0.5, 0.9), kit.between(0.07, 0.16)
    if kind == 2:  # rocket, upright
        hull = kit.add(
            lathe([0.7, 1.0, 0.95, 0.6, 0.0]), (width, length, width), kit.main,
            slide=kit.wave(0.05), axis=(0, 1, 0), joint=Wave(rate=kit.between(-120, 120)),
        )  # fmt: skip
        fins = kit.count(3, 4)
        for k in range(fins):
            angle = 360.0 * k / fins
            side = (np.sin(np.radians(angle)), np.cos(np.radians(angle)))
            kit.add(
                blade((1.0, 0.7, 0.3), 1.0, -0.5), (0.1, 0.2, 0.02), kit.accent, hull,
                (0.6 * width * side[0], 0.15 * length, 0.6 * width * side[1]),
                (side[0], -0.2, side[1]), roll_degrees=angle + 90,
            )  # fmt: skip
        window = kit.surface(hull, (0, 0.3, 1), 1.0)
        kit.add(torus(0.3), (0.05, 0.03, 0.05), kit.dark, hull, window, (0, 0, 1))
        kit.add(
            ellipsoid(), (0.6 * width, 0.25, 0.6 * width), kit.accent, hull, (0, 0.03, 0),
            (0, -1, 0), squash=kit.wave(0.3, multiple=2),
        )  # fmt: skip
        return
    hull = kit.add(
        kit.pick(ellipsoid(), ellipsoid(9, 14, 0.7), kit.stick(0.7)), (width, length, width), kit.main,
        turn=turn_to((0, 0, 1)), axis=(0, 1, 0), joint=kit.wave(kit.between(3, 25), multiple=0.5),
        slide=kit.wave(0.03, multiple=0.5),
    )  # fmt: skip
    kit.add(
        ellipsoid(), (0.6 * width, 0.3 * length, 0.7 * width), kit.dark, hull,
        (0, 0.5 * length, -0.55 * width),
    )  # fmt: skip
    fin = (0.08, kit.between(0.12, 0.22), 0.015)
    kit.add(
        blade((1.0, 0.7)), fin, kit.accent, hull, (0, 0.12 * length, -0.5 * width), (0, -0.4, -1),
        roll_degrees=90,
    )  # fmt: skip
    if kind == 0:
        wing = (kit.between(0.07, 0.14), kit.between(0.35, 0.55), 0.02)
        first = kit.add(
            blade((1.0, 0.85, 0.6)), wing, kit.second, hull,
            (0.5 * width, 0.5 * length, kit.between(-0.5, 0.5) * width),
            (1, kit.between(-0.6, 0.1), -0.1),
        )  # fmt: skip
        kit.mirror(first)
        small = kit.add(
            blade((1.0, 0.7)), (0.06, 0.2, 0.015), kit.second, hull, (0, 0.1 * length, 0), (1, 0, 0)
        )
        kit.mirror(small)
        propeller(kit, hull, (0, 0.98 * length, 0), FORWARD, kit.between(0.12, 0.25))
    else:
        propeller(kit, hull, (0, 0.5 * length, -0.9 * width), (0, 0, -1), kit.between(0.3, 0.5))
        first = kit.add(
            capsule(1.0, 8), (0.02, 0.8 * length, 0.02), kit.dark, hull,
            (0.8 * width, 0.1 * length, 1.3 * width),
        )  # fmt: skip
        kit.mirror(first)


FORWARD = (0, 1, 0)


def propeller(
    kit: Kit,
    parent: int,
    at: tuple[float, float, float],
    toward: tuple[float, float, float],
    reach: float,
) -> None:
    """Blades that turn about an axle."""
    axle = kit.add(
        cylinder(0.6, 10, 1), (0.03, 0.08, 0.03), kit.dark, parent, at, toward, axis=(0, 1, 0),
        joint=Wave(rate=kit.between(150, 700), offset=kit.between(0, 360)),
    )  # fmt: skip
    blades = kit.count(2, 4)
    for k in range(blades):
        angle = 2 * np.pi * k / blades
        kit.add(
            blade((0.5, 1.0, 0.8)), (0.04, reach, 0.012), kit.pick(kit.light, kit.accent), axle,
            (0, 0.05, 0), (np.sin(angle), 0, np.cos(angle)),
            roll_degrees=0,
        )  # fmt: skip


def saucer(kit: Kit) -> None:
    """A disc with a dome, lamps round its edge and legs."""
    radius, height = kit.between(0.3, 0.45), kit.between(0.1, 0.2)
    disc = kit.add(
        lathe([0.3, 0.9, 1.0, 0.5, 0.3]), (radius, height, radius), kit.main, axis=(0, 1, 0),
        joint=Wave(rate=kit.between(20, 120)), slide=kit.wave(0.05),
    )  # fmt: skip
    kit.add(
        ellipsoid(),
        (0.45 * radius, 0.7 * radius, 0.45 * radius),
        kit.light,
        disc,
        (0, 0.6 * height, 0),
    )
    count = kit.count(4, 8)
    for k in range(count):
        angle = 2 * np.pi * k / count
        side = (np.sin(angle), 0.0, np.cos(angle))
        at = (0.9 * radius * side[0], 0.5 * height, 0.9 * radius * side[2])
        kit.add(kit.ball(), (0.035, 0.07, 0.035), (kit.accent, kit.dark)[k % 2], disc, at)
    for k in range(3):
        side = (np.sin(2.1 * k), -1.0, np.cos(2.1 * k))
        at = (0.4 * radius * side[0], 0.15 * height, 0.4 * radius * side[2])
        kit.add(kit.stick(0.6), (0.02, 0.18, 0.02), kit.dark, disc, at, side, joint=kit.wave(10))


def furniture(kit: Kit) -> None:
    """A chair, table, lamp, chest or clock, with a part that moves."""
    kind = kit.count(0, 3)
    if kind == 0:  # chair or table
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
    elif kind == 1:  # desk lamp
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
    elif kind == 2:  # chest with a lid
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
            kit.add(
                box(1), (0.03, 1.02 * height, 1.03 * depth), kit.accent, chest, (x * width, 0, 0)
            )
        kit.add(kit.body(), (0.05, 0.1, 0.04), kit.accent, chest, (0, 0.7 * height, depth))
        for _ in range(kit.count(0, 4)):
            at = (kit.between(-0.6, 0.6) * width, 0.85 * height, kit.between(-0.5, 0.5) * depth)
            kit.add(kit.ball(), (0.06, 0.12, 0.06), kit.light, chest, at, slide=kit.wave(0.05))
    else:  # pendulum clock
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
        kit.add(
            cylinder(1.0, 14, 1), (0.06, 0.03, 0.06), kit.accent, rod, (0, 0.35, 0.015), (0, 0, -1)
        )
        kit.add(box(1, 0.0), (0.2, 0.15, 0.12), kit.second, case, (0, 0.78, 0))


def machine(kit: Kit) -> None:
    """A robot arm, windmill, fan, gear train or lever on a stand."""
    kind = kit.count(0, 3)
    base = kit.add(
        kit.pick(box(1, 0.8), cylinder(0.8, 14, 1)), (0.22, kit.between(0.06, 0.2), 0.2), kit.main
    )
    top = 0.9 * kit.rig.parts[base].size[1]
    if kind == 0:
        crane_arm(kit, base, (0, top, 0), kit.between(0.28, 0.4))
    elif kind == 1:  # windmill or fan
        height = kit.between(0.35, 0.7)
        tower = kit.add(
            kit.pick(kit.stick(0.6), cylinder(0.6, 10, 2), box(2, 0.6)), (kit.between(0.04, 0.15), height, 0.1),
            kit.second, base, (0, top, 0),
        )  # fmt: skip
        head = kit.add(
            kit.body(), (0.1, 0.16, 0.12), kit.accent, tower, (0, height - 0.05, 0), axis=(0, 1, 0),
            joint=kit.wave(kit.between(0, 45), multiple=0.4),
        )  # fmt: skip
        propeller(kit, head, (0, 0.08, 0.1), (0, 0, 1), kit.between(0.2, 0.42))
        if kit.chance(0.4):
            kit.add(
                torus(0.05, 20, 6), (0.3, 0.03, 0.3), kit.light, head, (0, 0.08, 0.13), (0, 0, 1)
            )
    elif kind == 2:  # gears
        back = kit.add(box(1), (0.35, 0.6, 0.04), kit.second, base, (0, top, -0.08))
        rate = kit.between(40, 160)
        for k, (x, y) in enumerate(((-0.15, 0.2), (0.13, 0.34), (-0.1, 0.47))):
            radius = kit.between(0.11, 0.17)
            gear = kit.add(
                cylinder(1.0, 14, 1), (radius, 0.05, radius), kit.pick(kit.main, kit.accent, kit.light),
                back, (x, y, 0.04 + 0.02 * (k % 2)), (0, 0, 1), axis=(0, 1, 0),
                joint=Wave(rate=rate * (-1) ** k),
            )  # fmt: skip
            for turn in range(0, 180, 45):
                kit.add(
                    box(1),
                    (1.18 * radius, 0.05, 0.025),
                    kit.dark,
                    gear,
                    turn=rotation((0, 1, 0), turn),
                )
    else:  # levers and pistons
        for k in range(kit.count(2, 4)):
            at = (0.12 * (k - 1.0), top, kit.between(-0.1, 0.1))
            stick = kit.add(
                kit.stick(0.8), (0.025, kit.between(0.25, 0.5), 0.025), kit.dark, base, at,
                axis=kit.pick((1, 0, 0), (0, 0, 1)), joint=kit.wave(kit.pick(0.0, 35.0)),
                slide=kit.wave(0.07),
            )  # fmt: skip
            knob = kit.between(0.04, 0.09)
            kit.add(
                kit.body(), (knob, 2 * knob, knob), kit.accent, stick,
                (0, kit.rig.parts[stick].size[1] - knob, 0),
            )  # fmt: skip


def plant(kit: Kit) -> None:
    """A flower, tree, cactus or mushroom that sways."""
    green = kit.looks.plain(
        np.array([kit.between(0.1, 0.4), kit.between(0.35, 0.75), kit.between(0.05, 0.3)])
    )
    kind = kit.count(0, 3)
    root = -1
    start = (0.0, 0.0, 0.0)
    if kit.chance(0.6):
        pot = (kit.between(0.12, 0.22), kit.between(0.15, 0.25))
        root = kit.add(
            kit.pick(cylinder(1.3, 14, 1), box(1, 1.2), lathe([0.6, 1, 0.8, 0.9])),
            (pot[0], pot[1], pot[0]),
            kit.main,
        )
        start = (0.0, 0.9 * pot[1], 0.0)
    height = kit.between(0.35, 0.7)
    sway = kit.wave(kit.between(10, 35), multiple=0.6, offset=kit.between(-20, 20))
    thick = (0.025, 0.06, 0.12, 0.08)[kind]
    wood = kit.looks.plain(np.array([0.45, 0.3, 0.18]) * kit.between(0.6, 1.4))
    stem = kit.add(
        capsule(0.7) if kind != 3 else lathe([1.0, 0.8, 0.7, 0.8]), (thick, height, thick),
        (green, wood, green, kit.light)[kind], root, start, bend=sway,
        bend_direction_degrees=kit.between(0, 360), twist=kit.wave(10),
    )  # fmt: skip
    if kind == 0:  # flower
        middle = kit.add(
            kit.ball(), (0.08, 0.1, 0.08), kit.accent, stem, (0, 0.96 * height, 0),
            turn=rotation((1, 0, 0), kit.between(0, 70)), joint=kit.wave(10),
        )  # fmt: skip
        petals = kit.count(5, 9)
        for k in range(petals):
            angle = 2 * np.pi * k / petals
            kit.add(
                blade((0.4, 1.0, 0.7)), (0.08, kit.between(0.16, 0.2), 0.015), kit.second, middle,
                (0, 0.05, 0), (np.sin(angle), 0.35, np.cos(angle)),
                joint=kit.wave(12, 0.0),
            )  # fmt: skip
    elif kind == 1:  # tree
        for k in range(kit.count(3, 7)):
            angle, radius = 2.4 * k, kit.between(0.12, 0.22)
            at = (0.16 * np.sin(angle), height * kit.between(0.75, 1.05), 0.16 * np.cos(angle))
            kit.add(
                kit.pick(kit.body(), kit.spike()), (radius, 1.8 * radius, radius), green, stem,
                (at[0], at[1] - 0.5 * radius, at[2]), squash=kit.wave(0.05),
            )  # fmt: skip
    elif kind == 2:  # cactus
        for k in range(kit.count(2, 4)):
            side = (-1.0) ** k
            arm = kit.add(
                capsule(1.0), (0.06, 0.2, 0.06), green, stem,
                (0.06 * side, height * kit.between(0.3, 0.7), 0), (side, 0.2, kit.between(-0.6, 0.6)),
            )  # fmt: skip
            kit.add(
                capsule(0.8),
                (0.055, 0.22, 0.055),
                green,
                arm,
                (0, 0.17, 0),
                (-side, 0.3, 0),
                joint=kit.wave(15),
            )
        kit.add(kit.ball(), (0.07, 0.1, 0.07), kit.accent, stem, (0, 0.96 * height, 0))
    else:  # mushroom
        cap = (kit.between(0.2, 0.32), kit.between(0.15, 0.3))
        dome = kit.add(
            lathe([1.0, 0.95, 0.75, 0.0]), (cap[0], cap[1], cap[0]), kit.second, stem,
            (0, 0.85 * height, 0), squash=kit.wave(0.1),
        )  # fmt: skip
        for k in range(kit.count(3, 7)):
            kit.on(
                dome,
                (np.sin(2.4 * k), 0.25, np.cos(2.4 * k)),
                kit.ball(),
                (0.04, 0.04, 0.04),
                kit.light,
                share=0.95,
            )
    leaves = kit.count(0, 4) if kind in (0, 2) else 0
    for k in range(leaves):
        kit.add(
            blade((0.3, 1.0, 0.6, 0.0), 1.0, -0.2), (0.06, kit.between(0.15, 0.25), 0.015), green, stem,
            (0, height * (0.2 + 0.15 * k), 0), (np.sin(2.4 * k), 0.8, np.cos(2.4 * k)),
            joint=kit.wave(15),
        )  # fmt: skip


def toy(kit: Kit) -> None:
    """Stacks and turned bodies: ring tower, spinning top, snowman, bottle, hourglass, fruit."""
    last, start = -1, 0.0
    kind = kit.count(0, 2)
    if kind == 0:  # a swaying stack
        for k in range(kit.count(3, 7)):
            size, tall = kit.between(0.12, 0.32), kit.between(0.08, 0.22)
            shape = kit.pick(
                torus(0.4), cylinder(kit.pick(0.7, 1.0, 1.3), 14, 1), box(1), kit.body()
            )
            look = (kit.main, kit.second, kit.accent, kit.light)[k % 4]
            last = kit.add(
                shape, (size, tall, size), look, last, (0, start, 0), axis=(0, 1, 0),
                joint=kit.wave(kit.between(0, 60), multiple=0.5),
                slide=kit.wave(0.02, offset=-0.02), slide_axis=np.array([kit.pick(0.0, 1.0), 0.5, 0.3]),
            )  # fmt: skip
            start = tall - 0.02
    elif kind == 1:  # a turned body that spins and tilts
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
    else:  # snowman or doll
        sizes = (0.24, 0.18, 0.13)[: kit.count(2, 3)]
        for size in sizes:
            last = kit.add(
                kit.pick(kit.body(), ellipsoid()), (size, 1.8 * size, size), kit.pick(kit.main, kit.light),
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


def any_shape(kit: Kit) -> Shape:
    """A random primitive."""
    kind = kit.count(0, 7)
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


def assembly(kit: Kit) -> None:
    """A random tree of primitives, half of them in mirrored pairs: what no other plan would make."""
    generator = kit.generator
    looks = (kit.main, kit.main, kit.second, kit.accent, kit.light)
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
        )  # fmt: skip
        if kit.chance(0.5):
            kit.mirror(index, kit.pick(0.0, 0.5))
