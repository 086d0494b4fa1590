"""Which kinds of objects the generator makes, and how often."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from l4gm.datagen import procedural_creatures as creatures
from l4gm.datagen import procedural_things as things
from l4gm.datagen.procedural_kit import Kit

PLANS: dict[str, tuple[float, Callable[[Kit], None]]] = {
    "quadruped": (0.15, creatures.quadruped),
    "biped": (0.18, creatures.biped),
    "bird": (0.07, creatures.bird),
    "fish": (0.09, creatures.fish),
    "serpent": (0.04, creatures.serpent),
    "arthropod": (0.06, creatures.arthropod),
    "blob": (0.06, creatures.blob),
    "vehicle": (0.08, things.vehicle),
    "aircraft": (0.05, things.aircraft),
    "furniture": (0.04, things.furniture),
    "machine": (0.04, things.machine),
    "plant": (0.04, things.plant),
    "toy": (0.03, things.toy),
    "assembly": (0.07, things.assembly),
}
"""Share and plan of every kind."""


def build_object(generator: np.random.Generator, kind: str | None = None) -> tuple[Kit, str]:
    """A random object of a random kind (or of the one given), and the kind's name."""
    names = list(PLANS)
    drawn = names[int(generator.choice(len(names), p=[PLANS[name][0] for name in names]))]
    kind = kind or drawn
    kit = Kit(generator)
    PLANS[kind][1](kit)
    return kit, kind
