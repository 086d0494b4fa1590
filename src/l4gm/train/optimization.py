"""Learning rates, the optimizer, averaged weights, and steps that had better not be taken."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from l4gm.model.attention import GridAttention
from l4gm.model.unet import ResidualBlock
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.processes import whole

# What is computed again in the backward pass, to save memory.
_CHECKPOINTED = (ResidualBlock, GridAttention)

# A step is skipped if its gradient is not finite, or its loss exceeds this many times the median of
# the last losses; so many skipped in a row stop the run.
SPIKE_FACTOR = 8.0
SPIKE_MEMORY = 100
MAX_SKIPPED_IN_A_ROW = 20


def learning_rate_factor(stage: Stage, step: int) -> float:
    """What a stage's peak learning rate is multiplied with at one of its steps.

    "cosine": linear warm-up, over a cosine from 1 to 0.02 along the stage. "one cycle": torch's
    OneCycleLR (Smith and Topin, 2017), as the paper: a cosine from 1/25 up over the warm-up, then
    one down to 1/250,000.
    """
    if stage.schedule == "cosine":
        warm = min(1.0, (step + 1) / max(stage.warmup_steps, 1))
        return warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / stage.steps)))
    peak = stage.warmup_steps - 1
    if step <= peak:
        return _cosine(1 / 25, 1.0, step / max(peak, 1))
    return _cosine(1.0, 1 / 25e4, (step - peak) / max(stage.steps - 1 - peak, 1))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms) are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1.0, betas=config.betas, foreach=True)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average with a short memory at the start."""
    decay = min(decay, (1 + step) / (10 + step))
    current = [whole(p.detach()) for p in model.parameters()]
    torch._foreach_lerp_(list(average.parameters()), current, 1 - decay)


def checkpoint_activations(model: nn.Module) -> None:
    """Keep only the inputs of residual and attention blocks, and compute the rest again in the
    backward pass: a third more time for a fraction of the memory."""
    for block in model.modules():
        if isinstance(block, _CHECKPOINTED):
            block.forward = _checkpointed(block)  # type: ignore[method-assign]


def _checkpointed(block: nn.Module):  # type: ignore[no-untyped-def]
    forward = block.forward

    def run(*args: object) -> object:
        if not torch.is_grad_enabled():
            return forward(*args)
        return checkpoint(forward, *args, use_reentrant=False)

    return run


class StepJudge:
    """Decides which steps are skipped, and when a run had better stop.

    Args:
        losses: of the last steps that were taken, from a checkpoint.
    """

    def __init__(self, losses: Iterable[float] = ()) -> None:
        self.losses = deque(losses, SPIKE_MEMORY)
        self.skipped_in_a_row = 0
        self.skipped = 0

    def fault(self, loss: float, gradient_norm: float) -> str | None:
        """Why a step is to be skipped, or None; remembers it.

        Raises:
            FloatingPointError: too many in a row.
        """
        reason = self._reason(loss, gradient_norm)
        if reason is None:
            self.losses.append(loss)
            self.skipped_in_a_row = 0
            return None
        self.skipped += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"{MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, the last because {reason}; "
                "lower the learning rate, or resume from an earlier checkpoint"
            )
        return reason

    def _reason(self, loss: float, gradient_norm: float) -> str | None:
        if not math.isfinite(loss):
            return "its loss is not finite"
        if not math.isfinite(gradient_norm):
            return "its gradient is not finite"
        if len(self.losses) == SPIKE_MEMORY and loss > SPIKE_FACTOR * median(self.losses):
            return (
                f"its loss {loss:.3g} is above {SPIKE_FACTOR:g} times the median of the last "
                f"{SPIKE_MEMORY}, {median(self.losses):.3g}"
            )
        return None
