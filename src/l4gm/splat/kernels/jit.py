"""The one way in which the kernels are compiled."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

# Numba's own error model, so that a division by zero gives infinity and no branch; and no lock, so
# that other threads run meanwhile.
_OPTIONS = {"error_model": "numpy", "nogil": True}

# For functions on vectors: products and sums may fuse and the sign of zero is free. Reassociation,
# and so plain "fastmath", would break the rounding tricks in `simd`.
VECTOR_MATH = {"contract", "nsz"}


def kernel(function: Callable[..., Any] | None = None, *, fastmath: Any = False) -> Any:
    """Compile a function when it is first called; the machine code is kept on disk where possible.

    Use as `@kernel` or `@kernel(fastmath=VECTOR_MATH)`.
    """
    if function is None:
        return lambda function: kernel(function, fastmath=fastmath)
    try:
        dispatcher = njit(cache=True, fastmath=fastmath, **_OPTIONS)(function)
    except RuntimeError:  # what Numba raises where no cache folder can be written
        _note_no_cache()
        return njit(fastmath=fastmath, **_OPTIONS)(function)
    _bind_cache_to_sources(dispatcher, Path(function.__code__.co_filename).parent)
    return dispatcher


def _bind_cache_to_sources(dispatcher: Any, folder: Path) -> None:
    """Make a change in any kernel file of a folder invalidate the compiled code of all.

    Numba looks only at the file of the function itself, but inlines functions of other files.
    """
    cache_file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if hasattr(cache_file, "_source_stamp"):
        cache_file._source_stamp = _hash_sources(folder)


@cache
def _hash_sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), Path(__file__).parent.parent / "constants.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def _note_no_cache() -> None:
    logging.getLogger(__name__).info(
        "no folder for compiled kernels can be written (NUMBA_CACHE_DIR names one): "
        "they are compiled anew in each process"
    )
