"""Where the networks run, and in which precision."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch

from l4gm.errors import InputError

Precision = Literal["auto", "float32", "float16", "bfloat16"]


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


def find_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The number format for a network's weights and arithmetic.

    Args:
        name: "auto" is float16 on CUDA, as the released code runs, and float32 elsewhere.
            Processors with bfloat16 matrix units (AMX) are several times faster in "bfloat16".
        device: where the network runs.

    Raises:
        InputError: a name that is none of these.
    """
    if name not in get_args(Precision):
        raise InputError(
            f"precision: {name!r} is not known, expected one of {', '.join(get_args(Precision))}"
        )
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype
