"""Frames that pass are kept, once each, in 8 bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from l4gm.cli.frame_tape import FrameTape
from l4gm.pipeline.frames import knows_alpha


class Ramp:
    """Three frames of grey levels."""

    fps = 12.0
    num_frames = 3

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        for index in range(start, 3):
            yield torch.full((3, 4, 4), index / 2)


def test_replay_is_what_passed(tmp_path: Path) -> None:
    with FrameTape(Ramp(), tmp_path / "tape", 4) as tape:
        assert (tape.fps, tape.num_frames) == (12.0, 3)
        passed = list(tape.frames())
        replayed = list(tape.replay())
    assert [frame.shape for frame in replayed] == [(4, 4, 3)] * 3
    for before, after in zip(passed, replayed, strict=True):
        assert torch.equal((before * 255).round().byte().permute(1, 2, 0), after)


def test_a_second_pass_goes_on_from_where_it_starts(tmp_path: Path) -> None:
    with FrameTape(Ramp(), tmp_path / "tape", 4) as tape:
        next(tape.frames())
        assert len(list(tape.replay())) == 1
        assert len(list(tape.frames())) == 3
        assert len(list(tape.replay())) == 3
        assert len(list(tape.replay())) == 3
        assert len(list(tape.frames(2))) == 1
        assert [int(frame[0, 0, 0]) for frame in tape.replay()] == [0, 128, 255]


def test_another_run_finds_what_was_recorded(tmp_path: Path) -> None:
    with FrameTape(Ramp(), tmp_path / "tape", 4) as tape:
        frames = tape.frames()
        next(frames)
        next(frames)
    with FrameTape(Ramp(), tmp_path / "tape", 4) as tape:
        with pytest.raises(ValueError, match="2 frames were recorded"):
            next(tape.frames(3))
        list(tape.frames(1))
        assert [int(frame[0, 0, 0]) for frame in tape.replay()] == [0, 128, 255]


class Cutouts(Ramp):
    """Black, half covering."""

    has_alpha = True

    def cutouts(self, start: int = 0) -> Iterator[Tensor]:
        for _ in range(start, 3):
            yield torch.cat([torch.zeros(3, 4, 4), torch.full((1, 4, 4), 0.5)])


def test_alpha_passes_and_the_picture_on_white_is_kept(tmp_path: Path) -> None:
    with FrameTape(Cutouts(), tmp_path / "tape", 4) as tape:
        assert knows_alpha(tape)
        passed = list(tape.cutouts())
        assert [frame.shape for frame in passed] == [(4, 4, 4)] * 3
        assert all((frame == 128).all() for frame in tape.replay())
    with FrameTape(Ramp(), tmp_path / "plain", 4) as tape:
        assert not knows_alpha(tape)
