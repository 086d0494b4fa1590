"""Clips one after the other, decoded ahead by several threads, shared out to several processes.

The order is the source's, which for `PackedClips` is mixed anew for every round. Process `rank` of
`num_ranks` gets the clips `rank`, `rank + num_ranks`, ...: no clip goes to two of them, and a
run that goes on with `start` at the step it stopped at gets what it would have got.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

from l4gm.data.clip import Clip, ClipRequest, ClipSource


def stream_clips(
    source: ClipSource,
    request: ClipRequest,
    *,
    start: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
    num_threads: int = 2,
) -> Iterator[Clip]:
    """An endless stream of clips, in an order that depends neither on threads nor on timing.

    At most `num_threads + 1` clips are in memory or in the making. Threads suffice: reading,
    decoding and resizing release the interpreter's lock.

    Args:
        source: of the clips.
        request: what to decode of each.
        start: clips of this process to skip, without reading them.
        rank, num_ranks: which process this is, of how many.
        num_threads: that decode.

    Raises:
        ValueError: numbers out of range.
        InputError: from the source, in the place of the clip that it concerns.
    """
    if start < 0 or not 0 <= rank < num_ranks or num_threads < 1:
        raise ValueError(
            f"need start >= 0, 0 <= rank < num_ranks and num_threads >= 1, got {start}, {rank}, "
            f"{num_ranks}, {num_threads}"
        )
    return _stream(source, request, count(start * num_ranks + rank, num_ranks), num_threads)


def _stream(
    source: ClipSource, request: ClipRequest, indices: Iterator[int], num_threads: int
) -> Iterator[Clip]:
    with ThreadPoolExecutor(num_threads) as pool:
        pending: deque[Future[Clip]] = deque()
        try:
            while True:
                while len(pending) <= num_threads:
                    pending.append(pool.submit(source.clip, next(indices), request))
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
