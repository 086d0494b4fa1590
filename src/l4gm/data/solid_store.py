"""Solid clips on disk: chunks of plain arrays that training maps into memory.

A chunk is a folder of `.npy` files, written beside its place and renamed, so that it is whole or
not there. Clip k of a set is clip k % 64 of chunk k // 64.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLIPS_PER_CHUNK = 64
FIELDS = ("front", "sides", "inside", "points", "colors", "origins")


def chunk_path(folder: Path, chunk: int) -> Path:
    """Where a chunk of a set is."""
    return folder / f"chunk-{chunk:05d}"


def write_chunk(folder: Path, chunk: int, clip: Callable[[int], Any]) -> None:
    """Make the 64 clips of a chunk and write them, unless it is there.

    Args:
        clip: index of the clip in the set to something with the attributes `FIELDS`.
    """
    path = chunk_path(folder, chunk)
    if path.exists():
        return
    clips = [clip(chunk * CLIPS_PER_CHUNK + k) for k in range(CLIPS_PER_CHUNK)]
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        for name in FIELDS:
            values = np.stack([getattr(each, name) for each in clips])
            if name == "inside":
                values = np.packbits(values, axis=-1)
            np.save(partial / f"{name}.npy", values)
        os.replace(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class SolidStore:
    """Read access to the finished chunks of a set.

    Args:
        folder: of the set.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: dict[int, dict[str, NDArray[Any]]] = {}

    def read(self, index: int) -> dict[str, NDArray[Any]]:
        """Arrays of a clip by the names of `FIELDS`; `inside` unpacked.

        Raises:
            FileNotFoundError: its chunk is not there.
        """
        chunk, place = divmod(index, CLIPS_PER_CHUNK)
        if chunk not in self._open:
            path = chunk_path(self.folder, chunk)
            self._open[chunk] = {
                name: np.load(path / f"{name}.npy", mmap_mode="r") for name in FIELDS
            }
        arrays = {name: values[place] for name, values in self._open[chunk].items()}
        arrays["inside"] = np.unpackbits(arrays["inside"], axis=-1)
        return arrays
