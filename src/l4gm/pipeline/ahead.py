"""Work that goes on beside the consumer: the next frames are decoded while the network computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1


def ahead(items: Iterable[T], count: int) -> Generator[T, None, None]:
    """The same items in the same order, made in a thread of their own up to `count` ahead.

    An error of `items` is raised here, after the items before it. When the consumer stops early
    (the generator is closed or forgotten), the thread ends after the item it is at. It closes
    `items` where that can be closed.

    Args:
        items: made by one thread; the thread that consumes them is another one.
        count: how many finished items may wait, at least 1: bounds the memory.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    waiting: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(count)
    stop = threading.Event()

    def put(kind: str, value: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                waiting.put((kind, value), timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
        except BaseException as error:  # handed over to the consumer, whatever it is
            put("error", error)
        else:
            put("end", None)
        finally:
            # Here and not in the consumer, which an interrupt may send on while an item is made.
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, name="l4gm-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(value, BaseException)
                raise value
            yield value  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
