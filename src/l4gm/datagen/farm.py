"""Rendering a set of models into clips: on one machine, on Ray, or as one of many parts.

A folder of the farm holds

    farm.json       the settings, written first; a run with others is refused
    clips/          the clips, each whole or not there
    ledger/         what became of every model
    report.json     the sum of the ledger, written last

The job is idempotent: a model with a record is not touched again, a clip that is there is not
rendered again, and the same settings give the same bytes whatever was killed in between.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from l4gm.datagen.farm_jobs import Model, RenderSettings
from l4gm.datagen.farm_ledger import Ledger, Record
from l4gm.datagen.farm_local import local_records
from l4gm.datagen.farm_models import FarmTask
from l4gm.datagen.farm_report import Report, Tally
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.io.json_file import read_json

logger = logging.getLogger(__name__)

SETTINGS_NAME, REPORT_NAME, SCRATCH_NAME = "farm.json", "report.json", ".scratch"
# These end with the outside world, not with the model, so the next run tries again by itself.
TRANSIENT = ("disk full", "interrupted")

Records = Callable[[Sequence[Model], FarmTask], Generator[Record]]


def run_farm(
    models: Sequence[Model],
    task: FarmTask,
    *,
    num_workers: int = 1,
    records: Records | None = None,
    retry_failed: bool = False,
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Render all clips of all models that are not there yet.

    Args:
        models: what to render; uids must differ.
        task: how, and where to.
        num_workers: on this machine.
        records: where else to render than on this machine (`farm_ray.ray_records`).
        retry_failed: also try those again that failed for a reason of their own (a crash, a
            time-out, memory); without it only those that met a full disk.
        progress: is told how far this run is, after every model.

    Returns:
        what became of these models; `report.json` holds the same of all models of the folder.

    Raises:
        InputError: two models share a uid, or the folder was made with other settings.
    """
    uids = Counter(model.uid for model in models)
    if len(uids) != len(models):
        (repeated, count), *_ = uids.most_common(1)
        raise InputError(f"the uid {repeated!r} is there {count} times; every model needs its own")
    _claim(task.folder, task.settings)
    ledger = Ledger(task.folder)
    known = ledger.read()
    pending = [model for model in models if _is_pending(known.get(model.uid), retry_failed)]
    settled = uids.keys() - {model.uid for model in pending}
    tally = Tally(task.settings, len(models))
    for uid in settled:
        tally.add(known[uid], rated=False)
    progress(tally.report())
    source = (
        records(pending, task) if records else local_records(pending, task, max(1, num_workers))
    )
    try:
        for record in source:
            _append(ledger, record)
            for note in record.notes:
                logger.warning("%s: %s", record.path, note)
            tally.add(record)
            progress(tally.report())
    finally:
        source.close()
        shutil.rmtree(task.scratch, ignore_errors=True)
    _write_report(ledger, task)
    return tally.report()


def new_scratch(folder: Path) -> Path:
    """Where the workers of this run leave temporary files: inside the farm's folder."""
    return folder / SCRATCH_NAME / f"{socket.gethostname()}-{os.getpid()}"


def part_of(models: Sequence[Model], index: int, count: int) -> list[Model]:
    """The models of one task of a job array of `count`, counted from 0."""
    if not 0 <= index < count:
        raise ValueError(f"need 0 <= index < count, got {index} of {count}")
    return list(models[index::count])


def _is_pending(record: Record | None, retry_failed: bool) -> bool:
    if record is None:
        return True
    return record.status == "failed" and (retry_failed or record.reason in TRANSIENT)


def _claim(folder: Path, settings: RenderSettings) -> None:
    """Make the folder ours, or see that it is, with these settings."""
    path = folder / SETTINGS_NAME
    wanted = settings.to_json()
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise InputError(
                f"{folder}: holds files but no {SETTINGS_NAME}, so it is no farm's; choose another"
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(path, wanted)
        return
    found = read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"{path}: no settings of a farm; choose another folder")
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{folder}: was rendered with {name} {found.get(name)}, not {value}; use the same "
                "settings to go on, or another folder"
            )


def _append(ledger: Ledger, record: Record) -> None:
    """Record; on a full disk the run goes on, and the next one finds the clips there."""
    try:
        ledger.append(record)
    except OSError as error:
        logger.warning("%s: cannot be recorded (%s)", record.uid, error.strerror)


def _write_report(ledger: Ledger, task: FarmTask) -> None:
    """The sum of everything in the folder, also of other runs."""
    everything = ledger.read()
    tally = Tally(task.settings, len(everything))
    for record in everything.values():
        tally.add(record)
    try:
        _write_json(task.folder / REPORT_NAME, tally.report().to_json())
    except (OSError, InputError) as error:  # the disk may be full; the report is printed too
        logger.warning("%s cannot be written (%s)", REPORT_NAME, error)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n")
