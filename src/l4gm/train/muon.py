"""Muon: momentum whose steps are made orthogonal, for matrices; AdamW for all other weights.

Jordan et al., 2024 (https://kellerjordan.github.io/posts/muon), with the step's size matched to
AdamW's as in Liu et al., 2025 (arXiv 2502.16982), so that both take the same learning rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
# The root of the mean square of AdamW's steps, in learning rates.
STEP_SIZE = 0.2
# A quintic whose repeated use drives singular values to within 0.7 to 1.2, from 1e-3 up.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5


def orthogonalized(matrix: Tensor) -> Tensor:
    """About U V^T of a matrix U S V^T [m, n], by Newton-Schulz iteration."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = (wide / (wide.norm() + 1e-7)).bfloat16()  # precise enough, and twice as fast
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.to(matrix.dtype)
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Steps of one size in all directions of a matrix, where AdamW's are led by a few of them.

    Args:
        groups: "params", and as far as they differ from the defaults "orthogonal" (True for
            weights of two or more dimensions, further ones taken as columns; False for AdamW:
            vectors, and layers that meet the data or the output), "weight_decay", and anything else
            that whoever sets the rate wants to find there.
        betas: of AdamW.
        weight_decay: by default.
        lr: for all.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        betas: tuple[float, float],
        weight_decay: float,
        lr: float = 1.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": 1e-8, "orthogonal": True}
        super().__init__(groups, defaults | {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step; weights without a gradient stay."""
        for group in self.param_groups:
            update = self._muon_step if group["orthogonal"] else self._adam_step
            for weights in group["params"]:
                self._remember(weights, group)
                if weights.grad is None:
                    continue
                change = update(weights, weights.grad, group)
                weights.mul_(1 - group["lr"] * group["weight_decay"])
                weights.add_(change, alpha=-group["lr"])

    def _remember(self, weights: Tensor, group: dict[str, Any]) -> None:
        """Begin a weight's state, also of one that has had no gradient: checkpoints want all."""
        state = self.state[weights]
        if state:
            return
        if group["orthogonal"]:
            state["momentum"] = torch.zeros_like(weights)
        else:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(weights)
            state["square"] = torch.zeros_like(weights)

    def _muon_step(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        momentum = self.state[weights]["momentum"]
        momentum.lerp_(gradient, 1 - MOMENTUM)
        matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)
        return (orthogonalized(matrix) * STEP_SIZE * max(matrix.shape) ** 0.5).view_as(weights)

    def _adam_step(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[weights]
        first, second = group["betas"]
        state["step"] += 1
        count = state["step"].item()
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        spread = (state["square"] / (1 - second**count)).sqrt_().add_(group["eps"])
        return state["mean"] / (1 - first**count) / spread
