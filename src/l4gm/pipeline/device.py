"""Where the networks run, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.pipeline.chunks import Reconstruct


def find_device(name: str | torch.device) -> torch.device:
    """The torch device of a name; "auto" is CUDA where there is one, else MPS, else the CPU.

    Raises:
        InputError: a name that torch does not know, or a device that this machine lacks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"device: {str(name)!r} cannot be used here, expected auto, cpu, cuda or mps: {reason}"
        ) from error
    return device


def device_of(network: Any) -> torch.device:
    """Where a network's first parameter lies; the CPU if it has none."""
    if isinstance(network, torch.nn.Module):
        for parameter in network.parameters():
            return parameter.device
    return torch.device("cpu")


def in_device_precision(network: Reconstruct, device: torch.device) -> Reconstruct:
    """The network, in float16 where that pays (CUDA), as the released code runs it."""

    def run(images: Tensor, cameras: Cameras, present: Tensor | None = None, /) -> Gaussians:
        context: AbstractContextManager[Any] = nullcontext()
        if device.type == "cuda":
            context = torch.autocast("cuda", torch.float16)
        with context:
            return network(images, cameras, present).to(torch.float32)

    return run
