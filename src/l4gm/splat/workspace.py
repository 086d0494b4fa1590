"""Buffers that are reused from call to call.

Fresh memory of this size comes from the system page by page, which costs more than some kernels.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

_ALIGNMENT = 64
_GROWTH = 1.125
_KEPT_BYTES = 1 << 30

# A deque, because its append and pop are atomic: a lease can end inside a garbage collection, on
# any thread, where waiting for a lock could wait for itself.
_idle: deque[Workspace] = deque()


class Workspace:
    """Named arrays that keep their memory. Contents are undefined when an array is asked for."""

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An uninitialised array, aligned to a cache line; the last one of this name is invalid."""
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < num_bytes:
            self._buffers.pop(name, None)
            raw = np.empty(int(num_bytes * _GROWTH) + 2 * _ALIGNMENT, np.uint8)
            buffer = raw[-raw.ctypes.data % _ALIGNMENT :]
            self._buffers[name] = buffer
        return buffer[:num_bytes].view(dtype).reshape(shape)

    @property
    def num_bytes(self) -> int:
        return sum(len(buffer) for buffer in self._buffers.values())


class Lease:
    """A workspace for as long as this object lives; then it goes back for others to use."""

    def __init__(self) -> None:
        try:
            self.workspace = _idle.pop()
        except IndexError:
            self.workspace = Workspace()

    def __del__(self) -> None:
        kept = sum(workspace.num_bytes for workspace in list(_idle))
        if kept + self.workspace.num_bytes <= _KEPT_BYTES:
            _idle.append(self.workspace)


def free_workspaces() -> None:
    """Give all memory that is kept for reuse back to the system."""
    _idle.clear()
