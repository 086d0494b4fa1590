from __future__ import annotations

import threading
import time
from itertools import islice

import pytest

from l4gm.data.clip import ClipRequest
from l4gm.data.loader import stream_clips
from l4gm.errors import InputError

REQUEST = ClipRequest()


class Indices:
    """A source whose clips are their indices, some of them slow; remembers what was asked for."""

    def __init__(self, slow=(), bad=()):
        self.slow, self.bad, self.asked, self.lock = slow, bad, [], threading.Lock()

    def clip(self, index, request):
        assert request is REQUEST
        with self.lock:
            self.asked.append(index)
        if index in self.slow:
            time.sleep(0.05)
        if index in self.bad:
            raise InputError(f"clip {index}")
        return index


def take(count, **options):
    return list(islice(stream_clips(Indices(slow=(0, 3, 4, 10)), REQUEST, **options), count))


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_order_does_not_depend_on_threads(num_threads):
    assert take(12, num_threads=num_threads) == list(range(12))


def test_processes_share_the_clips_without_overlap():
    parts = [take(5, rank=rank, num_ranks=3) for rank in range(3)]
    assert parts[1] == [1, 4, 7, 10, 13]
    assert sorted(index for part in parts for index in part) == list(range(15))


@pytest.mark.parametrize("done", [0, 1, 4, 7])
def test_going_on_at_a_step_gives_the_rest(done):
    whole = take(10, rank=1, num_ranks=2)
    assert take(10 - done, start=done, rank=1, num_ranks=2) == whole[done:]


def test_no_more_is_made_ahead_than_said():
    source = Indices()
    stream = stream_clips(source, REQUEST, num_threads=3)
    for taken in range(1, 30):
        next(stream)
        assert max(source.asked) <= taken + 3
    stream.close()
    before = len(source.asked)
    time.sleep(0.02)
    assert len(source.asked) == before


def test_skipped_clips_are_not_read():
    source = Indices()
    next(stream_clips(source, REQUEST, start=1000))
    assert min(source.asked) == 1000


def test_an_error_comes_in_its_place():
    stream = stream_clips(Indices(bad=(2,)), REQUEST)
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(InputError, match="clip 2"):
        next(stream)


@pytest.mark.parametrize(
    "options", [{"start": -1}, {"rank": 2, "num_ranks": 2}, {"rank": -1}, {"num_threads": 0}]
)
def test_wrong_numbers_are_refused(options):
    with pytest.raises(ValueError, match="need start"):
        stream_clips(Indices(), REQUEST, **options)
