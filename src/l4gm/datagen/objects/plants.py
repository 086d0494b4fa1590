"""Plans of plants."""

from __future__ import annotations

import numpy as np

from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.rig import rotation
from l4gm.datagen.objects.shapes import blade, box, capsule, cylinder, lathe


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
    if kind == 0:
        blossom(kit, stem, height)
    elif kind == 1:
        foliage(kit, stem, height, green)
    elif kind == 2:
        cactus_arms(kit, stem, height, green)
    else:
        mushroom_cap(kit, stem, height)
    leaves = kit.count(0, 4) if kind in (0, 2) else 0
    for k in range(leaves):
        kit.add(
            blade((0.3, 1.0, 0.6, 0.0), 1.0, -0.2), (0.06, kit.between(0.15, 0.25), 0.015), green,
            stem,
            (0, height * (0.2 + 0.15 * k), 0), (np.sin(2.4 * k), 0.8, np.cos(2.4 * k)),
            joint=kit.wave(15),
        )  # fmt: skip


def blossom(kit: Kit, stem: int, height: float) -> None:
    """Petals round a middle."""
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


def foliage(kit: Kit, stem: int, height: float, green: int) -> None:
    """Masses of leaves."""
    for k in range(kit.count(3, 7)):
        angle, radius = 2.4 * k, kit.between(0.12, 0.22)
        at = (0.16 * np.sin(angle), height * kit.between(0.75, 1.05), 0.16 * np.cos(angle))
        kit.add(
            kit.pick(kit.body(), kit.spike()), (radius, 1.8 * radius, radius), green, stem,
            (at[0], at[1] - 0.5 * radius, at[2]), squash=kit.wave(0.05),
        )  # fmt: skip


def cactus_arms(kit: Kit, stem: int, height: float, green: int) -> None:
    """Arms that turn upwards, and a flower."""
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


def mushroom_cap(kit: Kit, stem: int, height: float) -> None:
    """A spotted cap."""
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
