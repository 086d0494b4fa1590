"""Frames are made beside the consumer, in order, in bounded memory, and never left behind."""

from __future__ import annotations

import threading
import time

import pytest

from l4gm.pipeline.ahead import ahead


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "l4gm-ahead"]


@pytest.mark.parametrize("count", [1, 3, 100])
@pytest.mark.parametrize("length", [0, 1, 7])
def test_same_items_in_order(count, length):
    assert list(ahead(iter(range(length)), count)) == list(range(length))
    assert not threads()


def test_made_beside_the_consumer_and_no_further_than_told():
    made = []

    def items():
        for index in range(10):
            made.append(index)
            yield index

    coming = ahead(items(), 2)
    assert next(coming) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    # One taken, two waiting, one that has no place yet.
    assert made == [0, 1, 2, 3]
    coming.close()
    assert not threads()


def test_errors_come_after_the_items_before_them():
    def items():
        yield 1
        raise KeyError("broken frame")

    coming = ahead(items(), 5)
    assert next(coming) == 1
    with pytest.raises(KeyError, match="broken frame"):
        next(coming)
    assert not threads()


def test_a_consumer_that_stops_early_closes_the_source():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    coming = ahead(items(), 1)
    next(coming)
    coming.close()
    assert closed == [True]
    assert not threads()


def test_at_least_one_may_wait():
    with pytest.raises(ValueError, match="count"):
        next(ahead([1], 0))
