"""What a run leaves behind to look at: the log, TensorBoard's files, the network's config."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.model.config import L4GMConfig

logger = logging.getLogger(__name__)

LOG_NAME = "log.jsonl"


class Records:
    """The log of a run: one JSON object a line, with "step" and "minutes".

    Args:
        folder: of the run.
        writes: False for the processes but the first, whose records go nowhere.
        tensorboard: also write TensorBoard's files.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: Path, writes: bool = True, tensorboard: bool = False) -> None:
        self._folder = folder
        self._writes = writes
        self._sums: dict[str, float] = {}
        self._count = 0
        self._board = _open_board(folder) if tensorboard and writes else None

    def add(self, step: int, seconds: float, values: dict[str, float], log_every: int) -> None:
        """Take in a step; every so many, their means are logged ("skipped" is summed)."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % log_every == 0:
            self.flush(step, seconds)

    def flush(self, step: int, seconds: float) -> None:
        """Log the means of the steps since the last line, if there were any."""
        if not self._count:
            return
        skipped = self._sums.pop("skipped", 0.0)
        means = {name: total / self._count for name, total in self._sums.items()}
        self._sums, self._count = {}, 0
        self.log(step, seconds, means | ({"skipped": skipped} if skipped else {}))

    def log(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Write a line."""
        if not self._writes:
            return
        entry = {"step": step, "minutes": seconds / 60, **values}
        rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in entry.items()}
        line = json.dumps(rounded)
        logger.info("%s", line)
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / LOG_NAME).open("a") as file:
            file.write(line + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()


def _open_board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "--tensorboard: TensorBoard is not installed: pip install 'l4gm[train]'"
        ) from None
    return SummaryWriter(folder / "tensorboard")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The log's entries by step; of what a killed run did twice, the later time counts."""
    path = folder / LOG_NAME
    if not path.is_file():
        return []
    entries: dict[tuple[int, bool], dict[str, Any]] = {}
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
            entries[entry["step"], "loss" in entry] = entry
        except (json.JSONDecodeError, KeyError, TypeError):
            continue  # cut off by a kill
    return sorted(entries.values(), key=lambda entry: entry["step"])


def write_config(folder: Path, config: L4GMConfig) -> None:
    """`config.json`, which makes the folder one that models are loaded from."""
    with atomic_file(folder / "config.json") as partial:
        partial.write_text(json.dumps(config.to_dict(), indent=1) + "\n")
