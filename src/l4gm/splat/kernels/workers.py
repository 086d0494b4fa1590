"""Run a worker kernel on several threads.

The kernels release Python's lock and take their tasks off a shared atomic counter, so plain
threads serve as workers. Unlike Numba's own parallel loops this needs no threading layer (one of
them aborts the process when two threads enter it), survives a fork, and costs nothing for one
thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import config

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def available_threads() -> int:
    """The threads this process may use: torch's number, or NUMBA_NUM_THREADS where that is lower.

    Numba's own getter is no use here: it starts Numba's thread pool, which changes torch's number.
    """
    limit = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    return max(1, min(torch.get_num_threads(), limit))


def run_workers(worker: Callable[[np.ndarray, int], Any], num_threads: int) -> None:
    """Call worker(counter, 0) here and worker(counter, n) on other threads; wait for all.

    The counter is one shared int64, from which the workers take their tasks.
    """
    counter = np.zeros(1, np.int64)
    if num_threads <= 1:
        worker(counter, 0)
        return
    pool = _threads(num_threads - 1)
    futures = [pool.submit(worker, counter, number) for number in range(1, num_threads)]
    try:
        worker(counter, 0)
    finally:
        for future in futures:
            # One that has not begun would find no task left: on a busy machine, do not wait for it.
            if not future.cancel():
                future.result()


def _threads(number: int) -> ThreadPoolExecutor:
    """A pool of at least so many threads, kept between calls."""
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < number:
            # A smaller pool is left to finish its work and ends with its last reference.
            _pool = ThreadPoolExecutor(number, thread_name_prefix="l4gm-splat")
            _pool_size = number
        return _pool


def _forget_pool() -> None:
    """In a forked child the pool's threads do not exist."""
    global _pool, _pool_size, _lock
    _lock = threading.Lock()
    _pool, _pool_size = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
