"""Where clips come from: what `train` and `evaluate` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from l4gm.data.clip import ClipSource


def clip_sources(
    models: Path | None, *, seed: int, split: Literal["train", "heldout"]
) -> dict[str, ClipSource]:
    """Sources by name: procedural objects, and animated models where a folder of them is given.

    Args:
        models: folder of .glb or .gltf files, or None.
        seed: of all random choices.
        split: "heldout" objects are none of those of "train".

    Raises:
        InputError: no such folder, or no model of this split in it.
    """
    from l4gm.datagen.clips import ModelClips, ProceduralClips

    sources: dict[str, ClipSource] = {"procedural": ProceduralClips(seed, split)}
    if models is not None:
        sources[models.name] = ModelClips(models, seed, split)
    return sources
