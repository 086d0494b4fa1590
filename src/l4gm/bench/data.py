"""How fast training data is made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from l4gm.bench.results import Row
from l4gm.bench.timing import take_turns
from l4gm.data.clip import ClipRequest, ClipSource

SIZES_PX = (64, 128, 256)


def bench_data(
    name: str, source: ClipSource, *, sizes_px: tuple[int, ...] = SIZES_PX, num_clips: int = 4
) -> list[Row]:
    """Frames (one picture of one view) a second, other clips in every run.

    Args:
        name: of the source, for the table.
        source: of the clips.
        sizes_px: width and height of the pictures.
        num_clips: clips in a run.
    """
    rows = []
    for size in sizes_px:
        request = ClipRequest(size_px=size, num_frames=4)
        views = 4 + request.num_supervision_views
        coming = itertools.count()

        def draw(request: ClipRequest = request, coming: Iterator[int] = coming) -> None:
            for index in itertools.islice(coming, num_clips):
                source.clip(index, request)

        timing = take_turns({name: draw}, torch.device("cpu"), repeats=2)[name]
        frames = num_clips * request.num_frames * views
        figures = {
            "frames per second": frames / timing.least_seconds,
            "frames per processor second": frames / timing.processor_seconds,
        }
        case = f"{name} clips, {size} px, {request.num_frames} frames x {views} views"
        rows.append(Row(case=case, competitor="l4gm", figures=figures))
    return rows
