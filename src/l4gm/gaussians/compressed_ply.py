"""One set of Gaussians as a compressed PLY, PlayCanvas's format: 16 bytes a Gaussian and a little.

Chunks of 256 Gaussians, each with the lower and upper ends of its means, logarithmic scales and
colours, within which they are stored in 11, 10 and 11 bits; opacities in 8; quaternions w x y z as
their smallest three in 10 bits each. Such a file ends in `.compressed.ply` and is told from a plain
PLY by its properties; `l4gm.gaussians.ply.read_ply` reads both.
"""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.still import (
    checked,
    join_smallest_three,
    prepared,
    split_smallest_three,
)
from l4gm.gaussians.types import Gaussians

CHUNK = 256

_MIN_SCALE = 1e-8
_BITS = (11, 10, 11)
_SQRT2 = 2**0.5
_AXES = ("x", "y", "z")
_RANGES = (
    *(f"{end}_{axis}" for end in ("min", "max") for axis in _AXES),
    *(f"{end}_scale_{axis}" for end in ("min", "max") for axis in _AXES),
    *(f"{end}_{channel}" for end in ("min", "max") for channel in "rgb"),
)
_PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def write_compressed_ply(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one set [N], in order, whole or not at all.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
        InputError: the file cannot be made there.
    """
    gaussians = prepared(gaussians, path)
    count = gaussians.num_gaussians
    chunks = -(-count // CHUNK)
    means, mean_ends = _normalised(gaussians.means, chunks)
    scales, scale_ends = _normalised(gaussians.scales.clamp(min=_MIN_SCALE).log(), chunks)
    colors, color_ends = _normalised(gaussians.colors, chunks)
    rgba = np.concatenate([colors, gaussians.opacities.double().numpy()[:, None]], -1)
    largest, three = split_smallest_three(gaussians.quats)
    vertex = np.stack(
        [
            _pack(means, _BITS),
            (largest.astype(np.uint32) << 30) | _pack(three / _SQRT2 + 0.5, (10, 10, 10)),
            _pack(scales, _BITS),
            _pack(rgba, (8, 8, 8, 8)),
        ],
        -1,
    )
    ends = np.concatenate([mean_ends, scale_ends, color_ends], -1)
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"element chunk {chunks}",
        *(f"property float {name}" for name in _RANGES),
        f"element vertex {count}",
        *(f"property uint {name}" for name in _PACKED),
        "end_header\n",
    ]
    with atomic_file(path) as partial, partial.open("wb") as stream:
        stream.write("\n".join(lines).encode())
        stream.write(ends.astype("<f4").tobytes())
        stream.write(vertex.astype("<u4").tobytes())


def is_compressed(vertex: NDArray[np.void]) -> bool:
    """Whether a PLY's `vertex` element is of this format."""
    return "packed_position" in (vertex.dtype.names or ())


def unpack(chunk: NDArray[np.void], vertex: NDArray[np.void], path: os.PathLike[str]) -> Gaussians:
    """The Gaussians [N] of a compressed PLY's elements, which another program may have written.

    Raises:
        InputError: properties that are missing, too few chunks, or values that are not finite.
    """
    has_colors = "min_r" in (chunk.dtype.names or ())
    missing = [name for name in _PACKED if name not in (vertex.dtype.names or ())]
    expected = _RANGES if has_colors else _RANGES[:12]
    missing += [name for name in expected if name not in (chunk.dtype.names or ())]
    if missing:
        raise InputError(f"{path}: a compressed PLY needs the properties {', '.join(missing)}")
    if len(chunk) * CHUNK < len(vertex):
        raise InputError(
            f"{path}: {len(chunk)} chunks of {CHUNK} are too few for {len(vertex)} Gaussians; "
            "get it anew"
        )
    packed = {name: vertex[name].astype(np.uint32) for name in _PACKED}
    rgba = _unpack(packed["packed_color"], (8, 8, 8, 8))
    colors = _between(rgba[:, :3], chunk, _RANGES[12:]) if has_colors else rgba[:, :3]
    rotation = packed["packed_rotation"]
    three = (_unpack(rotation & ((1 << 30) - 1), (10, 10, 10)) - 0.5) * _SQRT2
    scales = _between(_unpack(packed["packed_scale"], _BITS), chunk, _RANGES[6:12])
    return checked(
        Gaussians(
            means=_tensor(_between(_unpack(packed["packed_position"], _BITS), chunk, _RANGES[:6])),
            quats=join_smallest_three((rotation >> 30).astype(np.int64), three),
            scales=_tensor(scales).exp(),
            opacities=_tensor(rgba[:, 3]),
            colors=_tensor(colors).clamp(0, 1),
        ),
        path,
    )


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _normalised(values: Tensor, chunks: int) -> tuple[NDArray, NDArray]:
    """Values [N, 3] within their chunk's ends, 0 to 1, and the ends [chunks, 6]."""
    table = values.double().numpy()
    padding = ((0, chunks * CHUNK - len(table)), (0, 0))
    rows = np.pad(table, padding, mode="edge") if len(table) else table
    rows = rows.reshape(chunks, CHUNK, 3)
    lower, upper = rows.min(1, initial=np.inf), rows.max(1, initial=-np.inf)
    # The ends are stored as float32, and the values must be counted from the ends as stored.
    lower, upper = lower.astype(np.float32), upper.astype(np.float32)
    extent = np.maximum((upper - lower).astype(np.float64), 1e-12)
    share = (rows - lower[:, None]) / extent[:, None]
    return share.reshape(-1, 3)[: len(table)], np.concatenate([lower, upper], -1)


def _between(share: NDArray, chunk: NDArray[np.void], names: tuple[str, ...]) -> NDArray:
    """Values [N, 3] of shares of their chunk's ends."""
    index = np.arange(len(share)) // CHUNK
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged files; `checked` names those
        lower, upper = (
            np.stack([chunk[name].astype(np.float64) for name in part], -1)[index]
            for part in (names[:3], names[3:])
        )
        return lower * (1 - share) + upper * share


def _pack(share: NDArray, bits: tuple[int, ...]) -> NDArray[np.uint32]:
    """Shares [N, k] of 1 as fields of one word, the first the highest."""
    word = np.zeros(len(share), np.uint32)
    for column, width in zip(share.T, bits, strict=True):
        steps = (1 << width) - 1
        word = (word << width) | np.rint(np.clip(column, 0, 1) * steps).astype(np.uint32)
    return word


def _unpack(word: NDArray, bits: tuple[int, ...]) -> NDArray[np.float64]:
    """[N, k] of what `_pack` made."""
    columns = []
    for width in reversed(bits):
        steps = (1 << width) - 1
        columns.append((word & steps) / steps)
        word = word >> width
    return np.stack(columns[::-1], -1)
