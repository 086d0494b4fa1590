"""Frames that pass are kept, once each, in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from l4gm.cli.frame_tape import FrameTape


class Ramp:
    """Three frames of grey levels."""

    fps = 12.0
    num_frames = 3

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        for index in range(start, 3):
            yield torch.full((3, 4, 4), index / 2)


def test_replay_is_what_passed() -> None:
    with FrameTape(Ramp()) as tape:
        assert (tape.fps, tape.num_frames) == (12.0, 3)
        passed = list(tape.frames())
        replayed = list(tape.replay())
    assert [frame.shape for frame in replayed] == [(4, 4, 3)] * 3
    for before, after in zip(passed, replayed, strict=True):
        assert torch.equal((before * 255).round().byte().permute(1, 2, 0), after)


def test_a_second_pass_starts_anew() -> None:
    with FrameTape(Ramp()) as tape:
        next(tape.frames())
        assert len(list(tape.replay())) == 1
        assert len(list(tape.frames())) == 3
        assert len(list(tape.replay())) == 3
        assert len(list(tape.replay())) == 3
        assert len(list(tape.frames(2))) == 1
        assert len(list(tape.replay())) == 1
