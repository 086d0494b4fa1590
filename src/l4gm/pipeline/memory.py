"""Whether an error says that memory ran out, on any device."""

from __future__ import annotations

import torch

OUT_OF_MEMORY = (RuntimeError, MemoryError)
"""What to catch; `is_out_of_memory` says whether it is."""

# What torch's CPU and MPS allocators say, in plain RuntimeErrors.
_SAYINGS = ("can't allocate memory", "out of memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether fewer pictures at a time may help."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _SAYINGS)
    )
