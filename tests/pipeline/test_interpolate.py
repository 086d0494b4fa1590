"""Which frames meet in the interpolation network, and the joins between pieces."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.model.motion import Motion
from l4gm.pipeline.chunks import ChunkState, reconstruct_chunks
from l4gm.pipeline.interpolate import (
    GaussianBlender,
    Interpolator,
    blend_gaussians,
    interpolated_length,
    pair_inputs,
)
from l4gm.pipeline.rig import InputRig

LENGTHS = [
    (length, chunk)
    for chunk in (1, 2, 4, 7)
    for length in sorted({1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 3} - {0})
]


def interpolate_all(interpolator, chunks):
    pieces = [interpolator.push(chunk.frames, chunk.gaussians) for chunk in chunks]
    return Gaussians.cat([piece for piece in [*pieces, interpolator.finish()] if piece is not None])


def base_chunks(network, rig, frames, chunk):
    state = ChunkState(views=torch.zeros(4, 3, 2, 2))
    return list(reconstruct_chunks(network, rig, state, frames, chunk))


@pytest.mark.parametrize(("length", "chunk"), LENGTHS)
@pytest.mark.parametrize("pairs_per_batch", [1, 3])
def test_joins_at_every_length(network, rig, numbered, length, chunk, pairs_per_batch):
    chunks = base_chunks(network, rig, numbered(length), chunk)
    network.shapes.clear()
    interpolator = Interpolator(network, rig, pairs_per_batch)
    means = interpolate_all(interpolator, chunks).means[:, 0]
    assert len(means) == interpolated_length(length) == 3 * (length - 1) + 1
    thirds = torch.arange(len(means)) / 3
    torch.testing.assert_close(means[:, 0], thirds, atol=1e-3, rtol=0)  # blends of the frames
    if length == 1:
        assert network.shapes == []
        return
    torch.testing.assert_close(means[:, 1], thirds + 0.5, atol=1e-3, rtol=0)  # and of the drawings
    steps = [0] + [1, 2, 3] * (length - 1)
    assert means[:, 2].int().tolist() == steps
    assert sum(shape[0] for shape in network.shapes) == length - 1  # each pair once
    assert max(shape[0] for shape in network.shapes) <= pairs_per_batch
    assert {shape[1:3] for shape in network.shapes} == {(4, 4)}


def test_blends_are_linear_and_ends_exact():
    pictures = torch.rand(3, 4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    inputs = pair_inputs(pictures)
    assert inputs.shape == (2, 4, 4, 3, 5, 5)
    assert torch.equal(inputs[:, 0], pictures[:-1])
    assert torch.equal(inputs[:, 3], pictures[1:])
    torch.testing.assert_close(inputs[1, 1], pictures[1] * (2 / 3) + pictures[2] / 3)
    torch.testing.assert_close(inputs[0, 2], pictures[0] / 3 + pictures[1] * (2 / 3))


def test_out_of_memory_takes_fewer_pairs(network, rig, numbered, caplog):
    chunks = base_chunks(network, rig, numbered(9), 9)
    network.shapes.clear()

    def small_device(images, cameras, present=None):
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(images, cameras, present)

    means = interpolate_all(Interpolator(small_device, rig, 8), chunks).means
    torch.testing.assert_close(means[:, 0, 0], torch.arange(25) / 3, atol=1e-3, rtol=0)
    assert [shape[0] for shape in network.shapes] == [2, 2, 2, 2]
    assert "out of memory" in caplog.text


def gaussians_at(means, quats):
    ones = torch.ones(*means.shape[:-1])
    return Gaussians(means, quats, 0.1 * torch.ones_like(means), ones, torch.ones_like(means))


def test_blended_gaussians_meet_both_ends_and_turn_the_short_way():
    quats = torch.tensor([[1.0, 0, 0, 0]])
    first = gaussians_at(torch.zeros(1, 3), quats)
    second = gaussians_at(torch.ones(1, 3), -quats)  # the same rotation
    for share in (0.0, 1 / 3, 1.0):
        blended = blend_gaussians(first, second, share)
        assert blended.means.tolist() == [pytest.approx([share] * 3)]
        torch.testing.assert_close(blended.quats, quats)


@pytest.mark.parametrize(("length", "chunk"), LENGTHS)
def test_blended_joins_at_every_length(network, rig, numbered, length, chunk):
    """Base frames stay as they are, frames between lie between, pieces leave no trace."""
    chunks = base_chunks(network, rig, numbered(length), chunk)
    base = Gaussians.cat([chunk.gaussians for chunk in chunks])
    result = interpolate_all(GaussianBlender(), chunks)
    assert len(result.means) == interpolated_length(length)
    for name, values in vars(result).items():
        torch.testing.assert_close(values[::3], getattr(base, name), msg=name)
    for step in (1, 2):
        middle = torch.lerp(base.means[:-1], base.means[1:], step / 3)
        torch.testing.assert_close(result.means[step::3], middle)


def test_a_blender_goes_on_where_another_stopped(network, rig, numbered):
    chunks = base_chunks(network, rig, numbered(7), 4)
    assert len(chunks) == 2
    undisturbed = interpolate_all(GaussianBlender(), chunks)
    before = GaussianBlender()
    pieces = [before.push(chunks[0].frames, chunks[0].gaussians)]
    after = GaussianBlender(last=before.last)
    pieces.append(after.push(chunks[1].frames, chunks[1].gaussians))
    for name, values in vars(Gaussians.cat(pieces)).items():
        assert torch.equal(values, getattr(undisturbed, name)), name


def pixel_aligned(numbers, size=2):
    """[k, 4 * size^2] Gaussians whose x is the frame's number, and y which splat it is."""
    splats = torch.arange(4.0 * size * size).expand(len(numbers), -1)
    x = torch.tensor(numbers)[:, None].expand_as(splats)
    means = torch.stack([x, splats, torch.zeros_like(x)], -1)
    gaussians = gaussians_at(means, torch.tensor([1.0, 0, 0, 0]).expand(*means.shape[:2], 4))
    return dataclasses.replace(gaussians, colors=means / 10)


class RecordingMotion:
    """Moves (number of here, number of there, 1): right, down and forward."""

    def __init__(self, size=2):
        self.size = size
        self.calls = []

    def __call__(self, here, there):
        assert here.shape == there.shape
        assert here.shape[1] == 4  # alpha too
        self.calls.append(len(here))
        numbers = [(1000 * picture[:, 0, 0, 0]).round() for picture in (here, there)]
        moves = torch.stack([*numbers, torch.ones(len(here))], 1)
        moves = moves[:, :, None, None].expand(-1, -1, self.size, self.size)
        return Motion(moves, moves[:, :2])


def blend_with_motion(motion, pieces, rig, pairs_per_batch=4):
    """Through a new blender for each piece, each going on where the one before stopped."""
    last, made = None, []
    for numbers in pieces:
        frames = torch.stack([torch.full((3, 4, 4), number / 1000) for number in numbers])
        blender = GaussianBlender(motion, rig, pairs_per_batch, last)
        made.append(blender.push(frames, pixel_aligned(numbers)))
        last = blender.last
    return Gaussians.cat(made)


@pytest.mark.parametrize("pieces", [[[5.0, 7, 4, 8]], [[5.0, 7], [4.0, 8]], [[5.0], [7, 4, 8.0]]])
def test_the_front_is_the_nearer_ends_moved_towards_the_other(pieces):
    motion = RecordingMotion()
    result = blend_with_motion(motion, pieces, InputRig(device=torch.device("cpu")))
    plain = blend_with_motion(None, pieces, None)
    assert len(result.means) == 10
    front = slice(0, 4)
    for name, values in vars(result).items():
        assert torch.equal(values[::3], getattr(plain, name)[::3]), name  # the video's frames
        assert torch.equal(values[:, 4:], getattr(plain, name)[:, 4:]), name  # the other views
    ends = [5.0, 7, 4, 8]
    for index, (near, far) in enumerate(
        pair
        for first, second in itertools.pairwise(ends)
        for pair in ((first, second), (second, first))
    ):
        step = 3 * (index // 2) + 1 + index % 2
        still = pixel_aligned([near])
        # Camera 0 looks along -z, with y down: (right, down, forward) are (x, -y, -z).
        expected = still.means[0, front] + torch.tensor([near, -far, -1.0])
        torch.testing.assert_close(result.means[step, front], expected)
        assert torch.equal(result.colors[step, front], still.colors[0, front])


def test_motion_goes_with_an_elevated_camera_and_coarser_motion_is_spread():
    rig = InputRig(elevation=30.0)
    result = blend_with_motion(RecordingMotion(size=1), [[0.0, 0.0]], rig)
    moved = result.means[1, :4] - pixel_aligned([0.0]).means[0, :4]
    forward = rig.cameras()[0].world_from_camera[:3, 2]
    torch.testing.assert_close(moved, forward.expand(4, 3))


def test_pairs_are_looked_at_a_few_at_a_time():
    motion = RecordingMotion()
    rig = InputRig()
    whole = blend_with_motion(motion, [[float(n) for n in range(8)]], rig, pairs_per_batch=3)
    assert motion.calls == [3, 3, 1] * 2
    assert torch.equal(whole.means, blend_with_motion(motion, [[*map(float, range(8))]], rig).means)


def test_motion_wants_the_rig():
    with pytest.raises(ValueError, match="rig"):
        GaussianBlender(RecordingMotion())
