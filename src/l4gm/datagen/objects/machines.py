"""Plans of machines on a stand."""

from __future__ import annotations

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import Wave, rotation
from l4gm.datagen.objects.shapes import box, cylinder, torus
from l4gm.datagen.objects.vehicles import crane_arm, propeller


def machine(kit: Kit) -> None:
    """A robot arm, windmill, fan, gear train or lever on a stand."""
    kind = kit.count(0, 3)
    base = kit.add(
        kit.pick(box(1, 0.8), cylinder(0.8, 14, 1)), (0.22, kit.between(0.06, 0.2), 0.2), kit.main
    )
    top = 0.9 * kit.rig.parts[base].size[1]
    if kind == 0:
        crane_arm(kit, base, (0, top, 0), kit.between(0.28, 0.4))
    else:
        (windmill, gears, levers)[kind - 1](kit, base, top)


def windmill(kit: Kit, base: int, top: float) -> None:
    """A tower with turning blades: a windmill or a fan."""
    height = kit.between(0.35, 0.7)
    tower = kit.add(
        kit.pick(kit.stick(0.6), cylinder(0.6, 10, 2), box(2, 0.6)),
        (kit.between(0.04, 0.15), height, 0.1),
        kit.second, base, (0, top, 0),
    )  # fmt: skip
    head = kit.add(
        kit.body(), (0.1, 0.16, 0.12), kit.accent, tower, (0, height - 0.05, 0), axis=(0, 1, 0),
        joint=kit.wave(kit.between(0, 45), multiple=0.4),
    )  # fmt: skip
    propeller(kit, head, (0, 0.08, 0.1), (0, 0, 1), kit.between(0.2, 0.42))
    if kit.chance(0.4):
        kit.add(torus(0.05, 20, 6), (0.3, 0.03, 0.3), kit.light, head, (0, 0.08, 0.13), (0, 0, 1))


def gears(kit: Kit, base: int, top: float) -> None:
    """Three toothed wheels on a board."""
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


def levers(kit: Kit, base: int, top: float) -> None:
    """Sticks with knobs that swing or slide."""
    for k in range(kit.count(2, 4)):
        at = (0.09 * (k - 1.0), top, kit.between(-0.1, 0.1))
        stick = kit.add(
            kit.stick(0.8), (0.025, kit.between(0.25, 0.5), 0.025), kit.dark, base, at,
            axis=kit.pick((1, 0, 0), (0, 0, 1)), joint=kit.wave(kit.pick(0.0, 35.0)),
            slide=kit.wave(0.05, offset=-0.05),
        )  # fmt: skip
        knob = kit.between(0.04, 0.09)
        kit.add(
            kit.body(), (knob, 2 * knob, knob), kit.accent, stick,
            (0, kit.rig.parts[stick].size[1] - knob, 0),
        )  # fmt: skip
