"""Muon: steps of one size in all directions of a matrix, AdamW's for the rest."""

from __future__ import annotations

import pytest
import torch

from l4gm.train.muon import STEP_SIZE, Muon, orthogonalized


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_singular_values_become_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_a_step_has_the_size_that_the_rate_says() -> None:
    torch.manual_seed(0)
    weights = torch.nn.Parameter(torch.zeros(32, 64))
    optimizer = Muon([{"params": [weights]}], betas=(0.9, 0.95), weight_decay=0.0, lr=0.01)
    weights.grad = torch.randn(32, 64)
    optimizer.step()
    size = weights.detach().square().mean().sqrt()
    assert 0.7 < size / (0.01 * STEP_SIZE) < 1.3


def test_weights_without_a_gradient_stay_and_are_in_the_state() -> None:
    matrix, vector = (torch.nn.Parameter(torch.ones(shape)) for shape in ((4, 4), (4,)))
    groups = [{"params": [matrix]}, {"params": [vector], "orthogonal": False}]
    optimizer = Muon(groups, betas=(0.9, 0.95), weight_decay=0.5, lr=0.1)
    optimizer.step()
    assert torch.equal(matrix, torch.ones(4, 4))
    assert torch.equal(vector, torch.ones(4))
    assert len(optimizer.state_dict()["state"]) == 2


def test_vectors_take_the_steps_of_adam() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    muon = Muon(
        [{"params": [ours], "orthogonal": False}], betas=(0.9, 0.95), weight_decay=0.0, lr=0.01
    )
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.95))
    for step in range(5):
        ours.grad = theirs.grad = torch.linspace(1, 2 + step, 5)
        muon.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-6)
