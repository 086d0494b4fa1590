"""What a farm has done, how fast, and what more would cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from l4gm.datagen.farm_jobs import RenderSettings
from l4gm.datagen.farm_ledger import Record

PAPER_ANIMATIONS, PAPER_VIDEOS, PAPER_VIEWS, PAPER_FRAMES = 110_000, 12_000_000, 48, 24


@dataclass(frozen=True, kw_only=True)
class Report:
    """The sum of a ledger.

    Args:
        models: of the job; done, refused and failed of them have a record.
        done, refused, failed: models.
        reasons: number of models by reason, of those refused and failed.
        clips: that are there.
        clip_problems: clips of models that are there otherwise, by reason.
        rendered_models, rendered_clips, frames, bytes, worker_seconds, cpu_seconds: what the rates
            are from: of this run, or of the whole ledger.
        settings: how the clips look.
    """

    models: int
    done: int
    refused: int
    failed: int
    reasons: dict[str, int]
    clips: int
    clip_problems: dict[str, int]
    rendered_models: int
    rendered_clips: int
    frames: int
    bytes: int
    worker_seconds: float
    cpu_seconds: float
    settings: RenderSettings

    @property
    def recorded(self) -> int:
        """Models with a record."""
        return self.done + self.refused + self.failed

    @property
    def seconds_per_frame(self) -> float | None:
        """Of one worker, loading included."""
        return self.worker_seconds / self.frames if self.frames else None

    def projection(self) -> dict[str, float] | None:
        """What the paper's numbers would take at this rate: worker hours and terabytes."""
        if self.seconds_per_frame is None:
            return None
        bytes_per_frame = self.bytes / self.frames
        animations = PAPER_ANIMATIONS * PAPER_VIEWS * PAPER_FRAMES
        videos = PAPER_VIDEOS * PAPER_FRAMES
        return {
            "worker_hours_110k_animations": round(animations * self.seconds_per_frame / 3600, 1),
            "terabytes_110k_animations": round(animations * bytes_per_frame / 1e12, 3),
            "worker_hours_12m_videos": round(videos * self.seconds_per_frame / 3600, 1),
            "terabytes_12m_videos": round(videos * bytes_per_frame / 1e12, 3),
        }

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        values = asdict(self) | {"settings": self.settings.to_json()}
        rate = self.seconds_per_frame
        values["frames_per_worker_second"] = None if rate is None else round(1 / rate, 2)
        values["projection"] = self.projection()
        return values


class Tally:
    """Adds up records.

    Args:
        settings: how they were rendered.
        num_models: of the job.
    """

    def __init__(self, settings: RenderSettings, num_models: int) -> None:
        self.settings = settings
        self.num_models = num_models
        self._status: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._clip_problems: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._seconds = self._cpu_seconds = 0.0

    def add(self, record: Record, *, rated: bool = True) -> None:
        """Count a record; the rates are taken from those that are `rated`."""
        self._status[record.status] += 1
        if record.status != "done":
            self._reasons[record.reason] += 1
        self._clip_problems.update(problem.kind for problem in record.problems if problem.clip)
        self._sums["clips"] += len(record.clips)
        if rated and record.rendered:
            self._sums["rendered_models"] += 1
            self._sums["rendered_clips"] += record.rendered
            self._sums["frames"] += record.frames
            self._sums["bytes"] += record.bytes
            self._seconds += record.seconds
            self._cpu_seconds += record.cpu_seconds

    def report(self) -> Report:
        """The sums so far."""
        return Report(
            models=self.num_models,
            done=self._status["done"],
            refused=self._status["refused"],
            failed=self._status["failed"],
            reasons=dict(self._reasons.most_common()),
            clips=self._sums["clips"],
            clip_problems=dict(self._clip_problems.most_common()),
            rendered_models=self._sums["rendered_models"],
            rendered_clips=self._sums["rendered_clips"],
            frames=self._sums["frames"],
            bytes=self._sums["bytes"],
            worker_seconds=round(self._seconds, 3),
            cpu_seconds=round(self._cpu_seconds, 3),
            settings=self.settings,
        )
