"""Muon: what its steps look like, and that runs with it can be resumed."""

import dataclasses

import pytest
import torch
from torch import nn

from l4gm.errors import InputError
from l4gm.model.l4gm import L4GM
from l4gm.train.muon import STEP_SIZE, Muon, orthogonalized
from l4gm.train.optimization import make_optimizer
from l4gm.train.presets import debug_preset
from l4gm.train.processes import Alone


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_orthogonalized_keeps_directions_and_evens_out_their_sizes(shape):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    sizes = torch.logspace(0, -2, min(shape))
    out = orthogonalized(left @ torch.diag(sizes) @ right)
    inner = left.T @ out @ right.T
    assert inner.diagonal().min() > 0.6
    assert inner.diagonal().max() < 1.3
    assert (inner - inner.diagonal().diag()).abs().max() < 1e-4


def test_orthogonalized_nothing_is_nothing():
    assert (orthogonalized(torch.zeros(3, 5)) == 0).all()


def test_vectors_take_the_steps_of_adamw():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    muon = Muon([], [ours], betas=(0.9, 0.95), weight_decay=0.3, lr=0.1)
    adam = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(4):
        ours.grad = torch.randn(5)
        theirs.grad = ours.grad.clone()
        muon.step()
        adam.step()
    torch.testing.assert_close(ours, theirs)


def test_a_step_of_a_matrix_has_the_size_of_adamws():
    weights = nn.Parameter(torch.zeros(16, 4, 3, 3))
    muon = Muon([weights], [], betas=(0.9, 0.95), weight_decay=0.0, lr=0.01)
    torch.manual_seed(0)
    weights.grad = 1e-4 * torch.randn(weights.shape)
    muon.step()
    size = weights.square().mean().sqrt().item()
    assert size == pytest.approx(0.01 * STEP_SIZE, rel=0.2)


def test_matrices_are_decayed_and_what_has_no_gradient_stays():
    decayed, still = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    muon = Muon([decayed, still], [], betas=(0.9, 0.95), weight_decay=0.5, lr=0.1)
    decayed.grad = torch.zeros(2, 2)
    muon.step()
    torch.testing.assert_close(decayed.detach(), torch.full((2, 2), 0.95))
    assert (still == 1).all()


def test_every_weight_is_trained_the_inner_matrices_by_muon():
    config = dataclasses.replace(debug_preset(), optimizer="muon")
    model = L4GM(config.model)
    matrices, others = (group["params"] for group in make_optimizer(model, config).param_groups)
    assert len(matrices) + len(others) == len(list(model.parameters()))
    names = {id(weights): name for name, weights in model.named_parameters()}
    assert all(weights.ndim >= 2 for weights in matrices)
    outer = [names[id(weights)] for weights in others if weights.ndim >= 2]
    assert {name.split(".")[-2] for name in outer} == {"conv_in", "conv_out", "conv", "code"}


def test_a_resumed_run_with_muon_ends_bit_for_bit_as_one_that_was_not_stopped(start, tmp_path):
    config = dataclasses.replace(debug_preset(), optimizer="muon")
    whole = start(tmp_path / "whole", config=config)
    whole.run()
    first = start(tmp_path / "parts", config=config, max_minutes=0.0)
    first.run()
    assert 0 < first.step < config.total_steps
    second = start(tmp_path / "parts", config=config, resume=True)
    second.run()
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, second.model.state_dict()[name]), name


def test_sharded_training_refuses_muon(start, tmp_path):
    class Sharded(Alone):
        shards = True

    config = dataclasses.replace(debug_preset(), optimizer="muon")
    with pytest.raises(InputError, match="whole weight matrices"):
        start(tmp_path, config=config, processes=Sharded())
