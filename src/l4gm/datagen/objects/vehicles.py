"""Plans of vehicles on land and in the air, and the arms and propellers they share."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import Wave, turn_to
from l4gm.datagen.objects.shapes import blade, box, capsule, cylinder, ellipsoid, lathe, torus


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
        radius = kit.between(0.6, 0.9) * width
        turret = kit.add(
            kit.pick(box(1, 0.8), cylinder(0.8, 10, 1), soft), (radius, 0.14, radius * 1.1),
            kit.second, base, (0, top, 0), axis=(0, 1, 0),
            joint=kit.wave(kit.between(15, 80), multiple=0.5),
        )  # fmt: skip
        for side in kit.pick((0.0,), (0.0,), (-0.3, 0.3)):
            kit.add(
                cylinder(0.8, 10, 1), (0.03, kit.between(0.3, 0.55), 0.03), kit.dark, turret,
                (side * radius, 0.07, 0.5 * radius), (0, 0.15, 1), joint=kit.wave(8),
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
    if kind == 2:
        rocket(kit, length, width)
        return
    hull = kit.add(
        kit.pick(ellipsoid(), ellipsoid(9, 14, 0.7), kit.stick(0.7)), (width, length, width),
        kit.main,
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
        propeller(kit, hull, (0, 0.98 * length, 0), (0, 1, 0), kit.between(0.12, 0.25))
    else:
        propeller(kit, hull, (0, 0.5 * length, -0.9 * width), (0, 0, -1), kit.between(0.3, 0.5))
        first = kit.add(
            capsule(1.0, 8), (0.02, 0.8 * length, 0.02), kit.dark, hull,
            (0.8 * width, 0.1 * length, 1.3 * width),
        )  # fmt: skip
        for place in (0.2, 0.6):
            kit.add(
                capsule(1.0, 8), (0.012, 1.3 * width, 0.012), kit.dark, first,
                (0, place * length, 0), (-0.6, 0, -1.3),
            )  # fmt: skip
        kit.mirror(first)


def rocket(kit: Kit, length: float, width: float) -> None:
    """A rocket that stands upright, with fins and a flame."""
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
