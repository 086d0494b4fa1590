"""Which kinds of objects the generator makes, and how often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from l4gm.datagen.objects.animals import bird, fish, quadruped
from l4gm.datagen.objects.contraptions import contraption
from l4gm.datagen.objects.crawlers import arthropod, blob, serpent
from l4gm.datagen.objects.furniture import furniture
from l4gm.datagen.objects.kit import Kit
from l4gm.datagen.objects.machines import machine
from l4gm.datagen.objects.people import biped
from l4gm.datagen.objects.plants import plant
from l4gm.datagen.objects.toys import assembly, toy
from l4gm.datagen.objects.vehicles import aircraft, vehicle

PLANS: dict[str, tuple[float, Callable[[Kit], None]]] = {
    "quadruped": (0.13, quadruped),
    "biped": (0.15, biped),
    "bird": (0.07, bird),
    "fish": (0.08, fish),
    "serpent": (0.04, serpent),
    "arthropod": (0.06, arthropod),
    "blob": (0.06, blob),
    "vehicle": (0.07, vehicle),
    "aircraft": (0.05, aircraft),
    "furniture": (0.04, furniture),
    "machine": (0.04, machine),
    "contraption": (0.07, contraption),
    "plant": (0.04, plant),
    "toy": (0.03, toy),
    "assembly": (0.07, assembly),
}
"""Share and plan of every kind."""

# What goes about; the others stand on something.
TRAVELLERS = (
    "quadruped",
    "biped",
    "bird",
    "fish",
    "serpent",
    "arthropod",
    "blob",
    "vehicle",
    "aircraft",
)


def build_object(generator: np.random.Generator, kind: str | None = None) -> tuple[Kit, str]:
    """A random object of a random kind (or of the one given), and the kind's name."""
    names = list(PLANS)
    drawn = names[int(generator.choice(len(names), p=[PLANS[name][0] for name in names]))]
    kind = kind or drawn
    kit = Kit(generator)
    PLANS[kind][1](kit)
    if kind in TRAVELLERS and kit.chance(0.3):
        kit.travel()
    if kit.chance(0.35):
        kit.rig.loop(kit.pick(1.0, 2.0))
    return kit, kind
