"""Which frame goes where in the chunk loop, at every length, against lists made by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.chunks import (
    ChunkState,
    ClipLoop,
    reconstruct_chunk,
    reconstruct_chunks,
    reconstruct_clips,
)

LENGTHS = [
    (length, chunk)
    for chunk in (1, 2, 4, 7)
    for length in sorted({1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 3} - {0})
]
GUESS = -0.5  # the number of the first guess's pictures


def first_state() -> ChunkState:
    return ChunkState(views=torch.full((4, 3, 2, 2), GUESS / 1000))


def expected(length: int, chunk: int) -> list[tuple[float, float, float]]:
    """(frame, side picture, time step) of every frame, by walking the chunks as the paper says."""
    rows: dict[int, tuple[float, float, float]] = {}
    side = GUESS
    for number in itertools.count():
        start = number * (chunk - 1) if chunk > 1 else number
        covered = [frame for frame in range(start, start + chunk) if frame < length]
        fresh = [frame for frame in covered if frame not in rows]
        if not fresh:
            return [rows[frame] for frame in range(length)]
        for frame in fresh:
            rows[frame] = (float(frame), side, float(frame - start))
        side = covered[-1] + 0.5
    raise AssertionError


@pytest.mark.parametrize(("length", "chunk"), LENGTHS)
def test_every_frame_once_with_the_right_views(network, rig, numbered, length, chunk):
    pieces = list(reconstruct_chunks(network, rig, first_state(), numbered(length), chunk))
    rows = Gaussians.cat([piece.gaussians for piece in pieces]).means[:, 0]
    torch.testing.assert_close(rows, torch.tensor(expected(length, chunk)), atol=1e-3, rtol=0)
    frames = torch.cat([piece.frames for piece in pieces])
    torch.testing.assert_close(frames, torch.stack(numbered(length)), atol=0, rtol=0)
    assert set(network.shapes) == {(1, chunk, 4, 3, 2, 2)}


def test_reads_no_frame_before_it_is_needed(network, rig, numbered):
    taken = 0

    def frames():
        nonlocal taken
        for frame in numbered(50):
            taken += 1
            yield frame

    pieces = reconstruct_chunks(network, rig, first_state(), frames(), 5)
    assert taken == 0
    for number in range(1, 4):
        next(pieces)
        assert taken == 1 + 4 * number


def test_step_is_pure_and_resumes(network, rig, numbered):
    frames = torch.stack(numbered(8))
    state = first_state()
    before = state.views.clone()
    first, after = reconstruct_chunk(network, rig, state, frames[:4], 4)
    again, _ = reconstruct_chunk(network, rig, state, frames[:4], 4)
    assert torch.equal(first.means, again.means)
    assert torch.equal(state.views, before)
    assert not state.continues
    assert after.continues
    second, _ = reconstruct_chunk(network, rig, after, frames[3:7], 4)
    whole = list(reconstruct_chunks(network, rig, first_state(), list(frames[:7]), 4))
    assert torch.equal(whole[1].gaussians.means, second.means)


def test_present_concerns_the_first_chunk_only(network, rig, numbered):
    present = torch.tensor([True, False, False, False])
    state = ChunkState(views=first_state().views, present=present)
    list(reconstruct_chunks(network, rig, state, numbered(9), 4))
    assert network.present == [[[True, False, False, False]], None, None]


def test_short_chunk_repeats_its_last_frame(rig, numbered):
    seen = []

    def network(images, cameras, present=None):
        seen.append((images[0, :, 0].mean((-3, -2, -1)) * 1000).round().int().tolist())
        return rigless(images)

    list(reconstruct_chunks(network, rig, first_state(), numbered(6), 4))
    assert seen == [[0, 1, 2, 3], [3, 4, 5, 5]]


def test_out_of_memory_halves_the_chunks(network, rig, numbered, caplog):
    def small_device(images, cameras, present=None):
        if images.shape[1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(images, cameras, present)

    pieces = list(reconstruct_chunks(small_device, rig, first_state(), numbered(17), 8))
    rows = Gaussians.cat([piece.gaussians for piece in pieces]).means[:, 0, 0]
    assert rows.round().int().tolist() == list(range(17))
    assert [shape[1] for shape in network.shapes] == [2] * 16
    assert "out of memory" in caplog.text

    def no_device(images, cameras, present=None):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(reconstruct_chunks(no_device, rig, first_state(), numbered(17), 8))


def test_out_of_memory_takes_fewer_clips_before_shorter_chunks(network, rig, numbered, caplog):
    """First two of five clips at a time, then also T = 4."""

    def device_with(room):
        def run(images, cameras, present=None):
            if images.shape[0] * images.shape[1] > room:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return network(images, cameras, present)

        return run

    lengths = [9, 1, 7, 4, 12]
    for room, shapes in [(16, {(2, 7), (1, 7)}), (4, {(1, 4)})]:
        network.shapes.clear()
        loops = [ClipLoop(first_state(), numbered(length)) for length in lengths]
        rows: dict[int, list[int]] = {index: [] for index in range(5)}
        for index, chunk in reconstruct_clips(device_with(room), rig, loops, 7):
            rows[index] += chunk.gaussians.means[:, 0, 0].round().int().tolist()
        assert rows == {index: list(range(length)) for index, length in enumerate(lengths)}
        assert {shape[:2] for shape in network.shapes} == shapes
    assert "going on with 2 clips at a time" in caplog.text
    assert "going on with chunks of 4 frames" in caplog.text


def test_other_errors_are_no_lack_of_memory(rig, numbered):
    def broken(images, cameras, present=None):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(reconstruct_chunks(broken, rig, first_state(), numbered(9), 8))


@pytest.mark.parametrize("count", [0, 1, 6])
def test_wrong_number_of_frames_in_a_step(network, rig, count):
    state = ChunkState(views=first_state().views, continues=True)
    with pytest.raises(ValueError, match="2 to 5 pictures"):
        reconstruct_chunk(network, rig, state, torch.zeros(count, 3, 2, 2), 5)


def rigless(images):
    """Gaussians [B, T, 1] that say nothing."""
    lead = (*images.shape[:2], 1)
    return Gaussians(
        torch.zeros(*lead, 3),
        torch.ones(*lead, 4),
        torch.ones(*lead, 3),
        torch.ones(lead),
        torch.ones(*lead, 3),
    )


def test_networks_are_told_what_the_video_showed_when_kept_views_were_taken(network, rig, numbered):
    """Kept views belong to the first chunk's first frame, renewed ones to each chunk's own."""
    told = []

    def listening(images, cameras, present=None, *, first=None):
        told.append(first)
        return network(images, cameras, present)

    kept = ChunkState(views=torch.full((4, 3, 2, 2), 0.5), keep=True)
    list(reconstruct_chunks(listening, rig, kept, numbered(9), 4))
    assert len(told) == 3
    assert all(torch.equal(first, kept.views[:1]) for first in told)
    told.clear()
    list(reconstruct_chunks(listening, rig, first_state(), numbered(9), 4))
    assert told == [None] * 3
