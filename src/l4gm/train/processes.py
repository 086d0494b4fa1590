"""One process, or several that train one network together: on several devices or machines.

Alone, nothing but torch is needed. Several are started by `accelerate launch` (or torchrun), whose
settings choose DDP or FSDP; every process then works on its share of each batch, and their
gradients are averaged. Processes draw the same random numbers and keep the same averaged weights;
the first one writes.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from l4gm.errors import InputError

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)


class Processes(Protocol):
    """What the training loop needs of the processes that run it.

    Attributes:
        device: of this process.
        rank: number of this process; 0 writes.
        count: of the processes.
        shards: each process keeps a piece of every weight (FSDP), which takes contiguous ones.
    """

    device: torch.device
    rank: int
    count: int
    shards: bool

    def prepare(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The network to call and the optimizer to step, with gradients averaged in `backward`."""
        ...

    def without_averaging(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Gradients of a backward pass inside are added up here and averaged later."""
        ...

    def clip_gradients(self, model: nn.Module, max_norm: float) -> float:
        """Scale the gradients down to a norm; returns the norm before."""
        ...

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        ...

    def wait(self) -> None:
        """Until all processes are here."""
        ...


class Alone:
    """A single process."""

    rank = 0
    count = 1
    shards = False

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        return model, optimizer

    def without_averaging(self, model: nn.Module) -> AbstractContextManager[Any]:
        return nullcontext()

    def clip_gradients(self, model: nn.Module, max_norm: float) -> float:
        return float(nn.utils.clip_grad_norm_(model.parameters(), max_norm))

    def mean(self, values: Tensor) -> Tensor:
        return values

    def wait(self) -> None:
        return


class Together:
    """One of several processes, by accelerate.

    Args:
        on_cpu: leave GPUs alone (processes talk by gloo).

    Raises:
        InputError: accelerate is not installed.
    """

    def __init__(self, *, on_cpu: bool) -> None:
        try:
            from accelerate import Accelerator, DistributedType
        except ImportError:
            raise InputError(
                "training in several processes needs accelerate: pip install 'l4gm[train]'"
            ) from None
        self._accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
        self.device = self._accelerator.device
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        self.shards = self._accelerator.distributed_type == DistributedType.FSDP

    def prepare(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        wrapped, prepared = self._accelerator.prepare(model, optimizer)
        return wrapped, prepared.optimizer

    def without_averaging(self, model: nn.Module) -> AbstractContextManager[Any]:
        return self._accelerator.no_sync(model)

    def clip_gradients(self, model: nn.Module, max_norm: float) -> float:
        norm = self._accelerator.clip_grad_norm_(model.parameters(), max_norm)
        assert norm is not None
        return float(whole(norm))

    def mean(self, values: Tensor) -> Tensor:
        return self._accelerator.reduce(values, "mean")

    def wait(self) -> None:
        self._accelerator.wait_for_everyone()


def find_processes(device: str | torch.device) -> Processes:
    """Together with others if this process was launched as one of several, else alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Together(on_cpu=torch.device(device).type == "cpu")
    return Alone(device)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that FSDP keeps in pieces; others as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def model_state(model: nn.Module) -> dict[str, Any]:
    """Whole weights by their plain names; to be called by all processes."""
    return get_model_state_dict(model, options=_WHOLE)


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's whole state by the weights' names; to be called by all processes."""
    return get_optimizer_state_dict(model, optimizer, options=_WHOLE)


def load_optimizer_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Inverse of `optimizer_state`."""
    set_optimizer_state_dict(model, optimizer, state, options=_WHOLE)
