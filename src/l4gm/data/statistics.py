"""What a packed set holds, by its manifest; and whether every byte of it is as it was written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from l4gm.data.layout import DamagedClipError, read_header, read_views
from l4gm.data.manifest import manifest_rows, read_manifest
from l4gm.data.storage import Storage

SHARES = (0, 10, 25, 50, 75, 90, 100)


@dataclass(frozen=True, kw_only=True)
class SetStatistics:
    """Counts over a set.

    Args:
        clips, kept, objects, shards: how many.
        num_bytes: of all clips.
        frames: pictures in all, over views and times.
        seconds: of animation, views counted once.
        splits, licences, renderers, sizes_px, views: number of clips by each.
        motion: by method, scores at 0, 10, 25, 50, 75, 90 and 100 % of its clips.
    """

    clips: int
    kept: int
    objects: int
    shards: int
    num_bytes: int
    frames: int
    seconds: float
    splits: dict[str, int]
    licences: dict[str, int]
    renderers: dict[str, int]
    sizes_px: dict[str, int]
    views: dict[str, int]
    motion: dict[str, list[float]]

    def lines(self) -> list[str]:
        """As a table for people."""
        per_clip = self.num_bytes / max(self.clips, 1) / 1e6
        lines = [
            f"clips     {self.clips} of {self.objects} objects, {self.kept} kept",
            f"size      {self.num_bytes / 1e9:.3f} GB in {self.shards} shards, {per_clip:.2f} MB a "
            "clip",
            f"pictures  {self.frames}, {self.seconds:.0f} s of animation",
        ]
        tables = ("splits", "views", "sizes_px", "renderers", "licences")
        for name in tables:
            counts = ", ".join(f"{k or '(none)'} {n}" for k, n in getattr(self, name).items())
            lines.append(f"{name.removesuffix('_px'):<9} {counts}")
        for method, values in self.motion.items():
            marks = ", ".join(f"{s} % {v:.3f}" for s, v in zip(SHARES, values, strict=True))
            lines.append(f"motion    {method}, widths a second: {marks}")
        return lines


def set_statistics(folder: str) -> SetStatistics:
    """Count a set.

    Raises:
        InputError: no such set.
    """
    rows = manifest_rows(read_manifest(folder))
    motion = {}
    for method in sorted({row.motion_method for row in rows if row.motion is not None}):
        scores = [row.motion for row in rows if row.motion_method == method]
        motion[method] = [
            round(float(v), 6) for v in np.percentile(np.array(scores, float), SHARES)
        ]

    def counts(values: list[str]) -> dict[str, int]:
        return dict(Counter(values).most_common())

    return SetStatistics(
        clips=len(rows),
        kept=sum(row.kept for row in rows),
        objects=len({row.uid for row in rows}),
        shards=len({row.shard for row in rows}),
        num_bytes=sum(row.size for row in rows),
        frames=sum(row.num_frames * row.num_views for row in rows),
        seconds=sum(row.num_frames / row.fps for row in rows),
        splits=counts([row.split for row in rows]),
        licences=counts([row.licence for row in rows]),
        renderers=counts([row.renderer for row in rows]),
        sizes_px=counts([f"{row.size_px} px" for row in rows]),
        views=counts([f"{row.num_fixed} fixed + {row.num_views - row.num_fixed}" for row in rows]),
        motion=motion,
    )


def verify_set(folder: str, on_clip: Callable[[int, int], None] | None = None) -> dict[str, str]:
    """Read every clip and compare all checksums.

    Returns:
        why it is damaged, by key, of those that are.
    """
    storage = Storage(folder)
    rows = manifest_rows(read_manifest(folder))
    damaged = {}
    for number, row in enumerate(rows):
        try:
            read = storage.clip_reader(row.shard, row.offset, row.size)
            header = read_header(read, row.offset)
            read_views(read, header)
            if header.facts.key != row.key:
                raise DamagedClipError(f"{header.facts.key} lies in its place")
        except DamagedClipError as problem:
            damaged[row.key] = f"{row.shard}: {problem}"
        if on_clip is not None:
            on_clip(number + 1, len(rows))
    return damaged
