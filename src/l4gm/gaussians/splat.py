"""One set of Gaussians as a `.splat` file: 32 bytes a Gaussian, and nothing else.

The format of antimatter15's web viewer: mean and scale as float32, colour and opacity in a byte
each, then the quaternion w x y z in bytes, 128 + 128 times the component.
"""

from __future__ import annotations

import os

import numpy as np
import torch

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.identify import what_it_is
from l4gm.gaussians.still import checked, existing_file, prepared, to_bytes, unit_quats
from l4gm.gaussians.types import Gaussians
from l4gm.io.budget import BUDGET, READ_BYTES_PER_GAUSSIAN

_RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def write_splat(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one set [N], in order, whole or not at all.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
        InputError: the file cannot be made there.
    """
    gaussians = prepared(gaussians, path)
    records = np.zeros(gaussians.num_gaussians, _RECORD)
    records["mean"], records["scale"] = gaussians.means.numpy(), gaussians.scales.numpy()
    rgba = torch.cat([gaussians.colors, gaussians.opacities[:, None]], -1)
    records["rgba"] = to_bytes(rgba)
    records["quat"] = to_bytes(gaussians.quats, 128.0, 128.0)
    with atomic_file(path) as partial:
        partial.write_bytes(records.tobytes())


def read_splat(path: str | os.PathLike[str]) -> Gaussians:
    """Read one set [N], float32.

    Raises:
        InputError: no file, a size that is not a multiple of 32 bytes, or values that are not
            finite.
    """
    path = existing_file(path, "a .splat file")
    BUDGET.check(path, path.stat().st_size // _RECORD.itemsize * READ_BYTES_PER_GAUSSIAN)
    content = path.read_bytes()
    if len(content) % _RECORD.itemsize:
        raise InputError(
            f"{path}: {len(content)} bytes are no multiple of {_RECORD.itemsize}, so it is cut off "
            f"or no .splat file ({what_it_is(path)}); get it anew"
        )
    records = np.frombuffer(content, _RECORD)
    rgba = torch.from_numpy(records["rgba"].astype(np.float32) / 255)
    quats = torch.from_numpy((records["quat"].astype(np.float32) - 128) / 128)
    return checked(
        Gaussians(
            means=torch.from_numpy(records["mean"].copy()),
            quats=unit_quats(quats),
            scales=torch.from_numpy(records["scale"].copy()),
            opacities=rgba[:, 3].clone(),
            colors=rgba[:, :3].clone(),
        ),
        path,
    )
