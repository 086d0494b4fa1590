"""Where clips come from: what `train` and `evaluate` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from l4gm.data.clip import ClipSource


def clip_sources(
    models: Path | None,
    data: str | None = None,
    *,
    seed: int,
    split: Literal["train", "heldout"],
) -> dict[str, ClipSource]:
    """Sources by name: a packed set or procedural objects, and animated models where given.

    Args:
        models: folder of .glb or .gltf files, or None.
        data: folder or URL of a packed set, or None.
        seed: of all random choices.
        split: "heldout" objects are none of those of "train".

    Raises:
        InputError: no such folder or set, or nothing of this split in it.
    """
    from l4gm.data.packed import PackedClips
    from l4gm.datagen.clips import ModelClips, ProceduralClips

    sources: dict[str, ClipSource] = {}
    if data is not None:
        sources[data.rstrip("/").rpartition("/")[2]] = PackedClips(data, seed, split)
    else:
        sources["procedural"] = ProceduralClips(seed, split)
    if models is not None:
        sources[models.name] = ModelClips(models, seed, split)
    return sources
