"""What a run did and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

# Called with (stage, frames done, frames in all) whenever a stage has got on.
Progress = Callable[[str, int, int], None]


class SharedProgress:
    """Adds up what several clips tell of their common stages.

    Args:
        progress: told (stage, frames done of all clips, frames of all clips that have begun it).
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told: dict[str, dict[int, tuple[int, int]]] = {}

    def of(self, clip: int) -> Progress:
        """What the clip of this number tells its progress to."""

        def tell(stage: str, done: int, total: int) -> None:
            clips = self._told.setdefault(stage, {})
            clips[clip] = (done, total)
            dones, totals = zip(*clips.values(), strict=True)
            self._progress(stage, sum(dones), sum(totals))

        return tell


@dataclass
class PipelineReport:
    """Filled while a video is reconstructed.

    Args:
        seconds: wall-clock seconds of each stage: "prepare" (waiting for frames), "views",
            "first guess", "align", "reconstruct", "interpolate".
        first_guess: where the first views came from: "given", "given, aligned", "generated,
            aligned", "some given", or "video alone" (no views).
        azimuth_degrees: by how much the first guess was turned to match the first frame, if it was.
        num_chunks: forward passes of the reconstruction network over the video.
        num_frames: frames of the video that were reconstructed.
        num_output_frames: frames that were put out, with those put between.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    first_guess: str = ""
    azimuth_degrees: int | None = None
    num_chunks: int = 0
    num_frames: int = 0
    num_output_frames: int = 0

    @contextmanager
    def stage(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time spent inside to a stage, work queued on a GPU included."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def as_dict(self) -> dict[str, Any]:
        """For JSON; seconds to the millisecond."""
        return {
            **{name: value for name, value in vars(self).items() if name != "seconds"},
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }
