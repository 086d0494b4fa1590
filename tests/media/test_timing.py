"""Resampling of timestamps to a constant frame rate."""

from __future__ import annotations

import pytest
import torch

from l4gm.errors import InputError
from l4gm.media.timing import FrameRateResampler, FrameTimes


def resample(times: list[float | None], fps: float) -> list[int]:
    resampler = FrameRateResampler(fps)
    out: list[int] = []
    for index, time in enumerate(times):
        out += [int(frame) for frame in resampler.push(torch.tensor(index), time)]
    return out


@pytest.mark.parametrize("fps", [7.5, 12.0, 24.0, 30000 / 1001, 60.0])
@pytest.mark.parametrize("start", [0.0, 1.48, -0.3])
def test_even_streams_pass_unchanged_whatever_the_rounding(fps: float, start: float) -> None:
    for decimals in (2, 3, 6):
        if 10**-decimals > 0.5 / fps:
            continue
        times: list[float | None] = [round(start + index / fps, decimals) for index in range(500)]
        assert resample(times, fps) == list(range(500))


def test_frames_without_timestamps_pass() -> None:
    assert resample([None] * 5, 25) == list(range(5))


def test_a_long_pause_repeats_the_last_frame() -> None:
    assert resample([0.0, 0.1, 0.5, 0.6], 10) == [0, 1, 1, 1, 1, 2, 3]


def test_a_burst_is_thinned() -> None:
    times: list[float | None] = [index * 0.025 for index in range(40)]  # 40 fps on a lattice of 10
    out = resample(times, 10)
    assert len(out) == pytest.approx(10, abs=1)
    assert out == sorted(set(out))


@pytest.mark.parametrize("seed", range(5))
def test_uneven_streams_keep_time(seed: int) -> None:
    """Output k shows a frame whose timestamp is less than 1.75 intervals from k / fps."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.empty(200, dtype=torch.float64).uniform_(0.005, 0.08, generator=generator)
    times = torch.cumsum(steps, 0) - steps[0]
    fps = float(200 / times[-1])
    out = resample(times.tolist(), fps)
    assert len(out) == pytest.approx(200, abs=3)
    assert out == sorted(out)
    for place, index in enumerate(out):
        shown_until = float(times[index + 1]) if index < 199 else float("inf")
        assert float(times[index]) - 1.75 / fps <= place / fps <= shown_until + 1.75 / fps


def test_a_jump_of_the_clock_does_not_freeze_the_picture() -> None:
    assert resample([0.0, 0.1, 10_000.0, 10_000.1], 10) == [0, 1, 2, 3]


def test_timestamps_that_claim_billions_of_frames_are_refused() -> None:
    """Pauses of just under half a minute among frames a few microseconds apart."""
    seconds = [float(time) for pause in range(1000) for time in (29 * pause, 29 * pause + 2e-6)]
    times = FrameTimes(seconds=seconds)
    fps = times.fps()
    assert fps <= 1000
    with pytest.raises(InputError, match=r"a\.mp4: more than 1000000 frames"):
        times.num_frames(fps, "a.mp4")
    assert FrameTimes(seconds=[0.0], last_seconds=1e-9).fps() <= 1000
    assert FrameTimes(seconds=[0.0, 0.1, 0.2], last_seconds=0.1).num_frames(10.0, "b.mp4") == 3
