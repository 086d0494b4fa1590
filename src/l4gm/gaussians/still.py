"""What all writers of one set of Gaussians do first, and what their readers share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians

FIELDS = ("means", "quats", "scales", "opacities", "colors")
HARMONIC_DEGREE_0 = 0.28209479177387814  # C0 = 1 / (2 sqrt(pi)): rgb = C0 f_dc + 0.5

_IDENTITY = torch.tensor([1.0, 0.0, 0.0, 0.0])


def prepared(gaussians: Gaussians, path: str | os.PathLike[str]) -> Gaussians:
    """One set [N] as it goes into a file: float32, on the CPU, quaternions of length one.

    Args:
        gaussians: [N].
        path: where it will go, for messages.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
    """
    if gaussians.shape:
        raise ValueError(f"{path} takes one set [N], got leading dims {list(gaussians.shape)}")
    gaussians = gaussians.detach().to("cpu", torch.float32)
    for name in FIELDS:
        if not getattr(gaussians, name).isfinite().all():
            raise ValueError(f"{name} hold values that are not finite; refusing to write {path}")
    return Gaussians(
        gaussians.means,
        unit_quats(gaussians.quats),
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
    )


def unit_quats(quats: Tensor) -> Tensor:
    """Quaternions [..., 4] of length one; the identity for those of length zero."""
    lengths = quats.norm(dim=-1, keepdim=True)
    return torch.where(lengths > 0, quats / lengths.clamp(min=1e-30), _IDENTITY.to(quats))


def checked(gaussians: Gaussians, path: str | os.PathLike[str]) -> Gaussians:
    """What a reader found, unless it holds values that are not finite.

    Raises:
        InputError: it does; the message names the first of them.
    """
    for name in FIELDS:
        values = getattr(gaussians, name)
        bad = ~values.isfinite()
        bad = bad if bad.ndim == 1 else bad.any(-1)
        if bad.any():
            raise InputError(
                f"{path}: {name} are not finite for {int(bad.sum())} of "
                f"{gaussians.num_gaussians} Gaussians (first: number {int(bad.int().argmax())}); "
                "mend or remove those"
            )
    return gaussians


def existing_file(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file that is there.

    Raises:
        InputError: it is not.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {what}")
    return path


def to_bytes(values: Tensor, factor: float = 255.0, offset: float = 0.0) -> NDArray[np.uint8]:
    """round(factor value + offset), kept within 0..255."""
    return (values * factor + offset).round().clamp(0, 255).numpy().astype(np.uint8)


def split_smallest_three(quats: Tensor) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Unit quaternions without the component that is largest and can be found from the rest.

    Args:
        quats: [N, 4], components in the order of the file.

    Returns:
        the index of the largest component [N], and the three others [N, 3] in order, within
        +-1/sqrt(2), of the sign for which the largest is positive.
    """
    values = quats.double().numpy()
    largest = np.abs(values).argmax(-1)
    rows = np.arange(len(values))
    values = np.where(values[rows, largest][:, None] < 0, -values, values)
    return largest, values[_others(largest)].reshape(-1, 3)


def join_smallest_three(largest: NDArray, three: NDArray) -> Tensor:
    """The unit quaternions [N, 4], float32, of what `split_smallest_three` gave."""
    values = np.empty((len(three), 4))
    values[_others(largest)] = np.asarray(three, np.float64).reshape(-1)
    rest = np.sqrt(np.maximum(1 - np.square(three, dtype=np.float64).sum(-1), 0))
    values[np.arange(len(three)), largest] = rest
    return unit_quats(torch.from_numpy(values).float())


def _others(largest: NDArray) -> NDArray[np.bool_]:
    """[N, 4]: which components are stored."""
    return np.arange(4) != np.asarray(largest)[:, None]
