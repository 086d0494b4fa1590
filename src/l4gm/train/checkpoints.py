"""Checkpoints of everything a run needs to go on as if it had not stopped.

Written beside and renamed, so that a killed run leaves the previous one whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l4gm.errors import InputError

FORMAT = 1


@dataclass
class Checkpoint:
    """State of a run after `step` optimizer steps.

    The data needs no position: every batch is a function of (seed, stage, step).
    """

    step: int
    config: dict[str, Any]
    weights: dict[str, Tensor]
    ema: dict[str, Tensor]
    optimizer: dict[str, Any]
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


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of `save_checkpoint`; nothing but tensors and plain values is unpickled.

    Raises:
        InputError: if it is missing, damaged or of another format.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint; start a run without --resume") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(f"{path}: not a readable checkpoint ({type(error).__name__})") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this program (format {FORMAT} expected)")
    return Checkpoint(**values)
