"""Keep the C library from giving large buffers back to the system after every layer.

Feature maps of a large network are tens of megabytes. glibc maps such a buffer afresh each time,
and the system clears every page of it when it is first touched, which can cost a quarter of a
forward pass. Kept in the heap, buffers are used again.
"""

from __future__ import annotations

import ctypes
import logging
import platform

logger = logging.getLogger(__name__)

# From malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -2, -3, -4
_KEEPING = {_M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 64 * 2**20, _M_MMAP_MAX: 0}
# What glibc's own rule arrives at once a process has freed a large buffer.
_USUAL = {
    _M_TRIM_THRESHOLD: 64 * 2**20,
    _M_TOP_PAD: 128 * 2**10,
    _M_MMAP_THRESHOLD: 32 * 2**20,
    _M_MMAP_MAX: 65536,
}


def keep_large_buffers(keep: bool = True) -> bool:
    """Change the whole process: for programs (the command line), not for libraries.

    Memory that was used once stays with the process, up to 2 GB of it at the heap's end.

    Args:
        keep: False goes back to what is usual.

    Returns:
        whether this system has such a setting (glibc).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    done = [mallopt(name, value) for name, value in (_KEEPING if keep else _USUAL).items()]
    return all(done)
