"""The motion filter: keeps the clips of a packed set in which enough moves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from l4gm.data.layout import DamagedClipError, read_header, read_views
from l4gm.data.manifest import (
    MANIFEST_NAME,
    ManifestRow,
    manifest_rows,
    read_manifest,
    write_manifest,
)
from l4gm.data.pictures import decode_view
from l4gm.data.storage import Storage
from l4gm.datagen.motion import DIS, picture_motion, threshold_that_keeps

logger = logging.getLogger(__name__)

NUM_VIEWS = 4
MEASURED_PX = 128  # DIS on larger pictures takes longer and sees no more


@dataclass(frozen=True)
class FilterOutcome:
    """What came of filtering.

    Args:
        clips, kept: counts.
        unmeasured: damaged clips, which are not kept.
        thresholds: by the method of measuring.
    """

    clips: int
    kept: int
    unmeasured: int
    thresholds: dict[str, float]


def filter_set(
    folder: Path,
    *,
    keep: float = 0.5,
    threshold: float | None = None,
    on_clip: Callable[[int, int], None] | None = None,
) -> FilterOutcome:
    """Set the column `kept` of a set's manifest by motion; the shards stay as they are.

    Clips whose motion is not known are measured by optical flow of their pictures. Scores stay in
    the manifest, so that filtering again takes no time.

    Args:
        folder: of the set, on disk.
        keep: share to keep, counted for each method of measuring apart.
        threshold: keep clips with at least this score instead.
        on_clip: called with (clips measured, clips to measure).

    Raises:
        InputError: no such set, or OpenCV is missing and needed.
    """
    table = read_manifest(folder)
    rows = manifest_rows(table)
    unknown = [k for k, row in enumerate(rows) if row.motion is None]
    for done, k in enumerate(unknown):
        try:
            rows[k] = replace(rows[k], motion=_measured(folder, rows[k]), motion_method=DIS)
        except DamagedClipError as problem:
            logger.warning("not kept: %s: %s", folder, problem)
        if on_clip is not None:
            on_clip(done + 1, len(unknown))
    thresholds = {}
    for method in sorted({row.motion_method for row in rows if row.motion is not None}):
        motions = [row.motion for row in rows if row.motion_method == method]
        thresholds[method] = (
            threshold_that_keeps(np.array(motions, float), keep) if threshold is None else threshold
        )
    rows = [
        replace(row, kept=row.motion is not None and row.motion >= thresholds[row.motion_method])
        for row in rows
    ]
    metadata = {
        key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()
    }
    write_manifest(folder / MANIFEST_NAME, rows, metadata)
    return FilterOutcome(
        clips=len(rows),
        kept=sum(row.kept for row in rows),
        unmeasured=sum(row.motion is None for row in rows),
        thresholds=thresholds,
    )


def _measured(folder: Path, row: ManifestRow) -> float:
    """The motion of a clip's pictures from four sides."""
    read = Storage(str(folder)).clip_reader(row.shard, row.offset, row.size)
    views = [k * row.num_fixed // NUM_VIEWS for k in range(min(NUM_VIEWS, row.num_fixed))] or [0]
    clip = read_views(read, read_header(read, row.offset), views, depth=False)
    size_px = min(MEASURED_PX, row.size_px)
    images = [
        decode_view(view, row.num_frames, row.size_px, size_px=size_px) for view in clip.views
    ]
    return picture_motion(np.stack(images, 1), row.fps)
