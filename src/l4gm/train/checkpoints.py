"""Checkpoints of everything a run needs to go on as if it had not stopped.

Written beside and renamed, so that a killed run leaves the previous one whole.
"""

from __future__ import annotations

import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l4gm.errors import InputError

FORMAT = 2
_NAME = re.compile(r"checkpoint_(\d+)\.pt")


@dataclass
class Checkpoint:
    """State of a run after `step` optimizer steps.

    The data's position is `step`: every sample is a function of (seed, stage, step, number).

    Args:
        step: optimizer steps done, skipped ones included.
        config: of the run, as `TrainConfig.to_dict` gives it.
        weights, ema: of the network, and their average.
        optimizer: by the weights' names, as `processes.optimizer_state` gives it.
        losses: of the last steps, which spikes are judged against.
        random: states of torch's generators, by device.
        seconds: spent so far.
    """

    step: int
    config: dict[str, Any]
    weights: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Any]
    losses: list[float]
    random: dict[str, Tensor]
    seconds: float


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **vars(checkpoint)}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints of a run, the newest first."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), path) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def save_in_turn(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Save under the step's name, and delete all but the newest `keep`."""
    path = folder / f"checkpoint_{checkpoint.step:08d}.pt"
    save_checkpoint(path, checkpoint)
    for old in checkpoint_paths(folder)[max(keep, 1) :]:
        old.unlink()
    return path


def load_newest(folder: Path, *, mmap: bool = False) -> Checkpoint:
    """The newest checkpoint of a run.

    Args:
        mmap: read its tensors only when they are looked at.

    Raises:
        InputError: there is none, or it cannot be read; an older one may be left.
    """
    paths = checkpoint_paths(folder)
    if not paths:
        raise InputError(f"{folder}: holds no checkpoint; start a run without --resume")
    try:
        return load_checkpoint(paths[0], mmap=mmap)
    except InputError as error:
        if len(paths) == 1:
            raise
        raise InputError(f"{error}; delete it to go on from {paths[1].name}") from error


def random_state() -> dict[str, Tensor]:
    """States of torch's generators, by device."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: dict[str, Tensor]) -> None:
    """Inverse of `random_state`, as far as this machine has the devices."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def load_checkpoint(path: Path, *, mmap: bool = False) -> Checkpoint:
    """Read a checkpoint of `save_checkpoint`; nothing but tensors and plain values is unpickled.

    Raises:
        InputError: if it is missing, damaged or of another format.
    """
    try:
        _check_bits(path)
        values = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this program (format {FORMAT} expected)")
    return Checkpoint(**values)


def _check_bits(path: Path) -> None:
    """Raise InputError if a member of the file does not have its checksum; torch looks at none."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise InputError(f"{path}: the checkpoint is damaged (the checksum of {damaged} is wrong)")
