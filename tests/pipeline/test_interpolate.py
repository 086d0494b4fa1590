"""Which frames meet in the interpolation network, and the joins between pieces."""

from __future__ import annotations

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.chunks import ChunkState, reconstruct_chunks
from l4gm.pipeline.interpolate import Interpolator, interpolated_length, pair_inputs

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
