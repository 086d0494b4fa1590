"""Seconds and memory of competing functions, taken in turns."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

SAMPLE_SECONDS = 0.005
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What was measured of one function.

    Args:
        seconds: wall clock, the median of the runs after the warm-up.
        least_seconds: of the fastest run.
        processor_seconds: processor time of the whole process in the run that took least of it;
            on a busy machine the steadier figure.
        peak_bytes: the most memory that was in use above what was in use before; None where the
            system does not tell.
    """

    seconds: float
    least_seconds: float
    processor_seconds: float
    peak_bytes: int | None


@dataclass
class _Runs:
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak: list[int] = field(default_factory=list)


def take_turns(
    competitors: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    repeats: int,
    warm_up: int = 1,
) -> dict[str, Timing]:
    """Run each function `warm_up` + `repeats` times, one after the other in every round.

    Whatever else a machine is doing then slows all of them alike, so that ratios hold.

    Raises:
        ValueError: if `repeats` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    runs = {name: _Runs() for name in competitors}
    for turn in range(warm_up + repeats):
        for name, function in competitors.items():
            with watched_memory(device) as memory:
                wall, processor = time.perf_counter(), time.process_time()
                result = function()
                wait(device)
                wall, processor = time.perf_counter() - wall, time.process_time() - processor
            del result
            if turn >= warm_up:
                runs[name].wall.append(wall)
                runs[name].processor.append(processor)
                runs[name].peak += memory.above
    return {
        name: Timing(
            seconds=statistics.median(found.wall),
            least_seconds=min(found.wall),
            processor_seconds=min(found.processor),
            peak_bytes=max(found.peak, default=None),
        )
        for name, found in runs.items()
    }


def wait(device: torch.device) -> None:
    """Until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass
class Memory:
    """Filled by `watched_memory`: the peak above the start, as one number, or none."""

    above: list[int] = field(default_factory=list)


@contextmanager
def watched_memory(device: torch.device) -> Iterator[Memory]:
    """The most memory that is in use while the block runs, above what was in use before it.

    On CUDA the allocator's own peak; on the CPU resident memory, sampled every few milliseconds.
    """
    memory = Memory()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield memory
        memory.above.append(torch.cuda.max_memory_allocated(device) - before)
        return
    if not _STATM.exists():
        yield memory
        return
    before = resident_bytes()
    most, done = before, threading.Event()

    def sample() -> None:
        nonlocal most
        while not done.wait(SAMPLE_SECONDS):
            most = max(most, resident_bytes())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
    memory.above.append(max(most, resident_bytes()) - before)


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product: what the device reaches in practice."""
    size = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size).to(device, dtype) for _ in range(2))
    timing = take_turns({"product": lambda: left @ right}, device, repeats=5, warm_up=2)
    return 2 * size**3 / timing["product"].least_seconds
