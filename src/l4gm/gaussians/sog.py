"""One set of Gaussians as a SOG file, version 2: PlayCanvas's zip of WebP pictures.

A Gaussian is a pixel, in reading order, of five lossless pictures: low and high bytes of the means
(of sign(x) log(1 + |x|), 16 bits), scales and colours as indices of a list of 256 values each,
opacity, and the quaternion's smallest three in bytes. Harmonics, where there are any, are left out.
https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog/
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.archive import Archive
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.still import (
    HARMONIC_DEGREE_0,
    checked,
    join_smallest_three,
    prepared,
    split_smallest_three,
    to_bytes,
)
from l4gm.gaussians.types import Gaussians
from l4gm.io.budget import BUDGET, READ_BYTES_PER_GAUSSIAN

_MIN_SCALE = 1e-8
_SQRT2 = 2**0.5
_FIRST_TAG = 252  # alpha of a quaternion's pixel: 252 plus the index of its largest component
_MAX_PIXELS = 60_000_000
_MAX_META_BYTES = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same Gaussians give the same bytes


def write_sog(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one set [N], in order, whole or not at all.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
        InputError: no Gaussians at all, or the file cannot be made there.
    """
    gaussians = prepared(gaussians, path)
    count = gaussians.num_gaussians
    if count == 0:
        raise InputError(f"{path}: a SOG file cannot hold a set without Gaussians")
    low, high, ends = _pack_means(gaussians.means)
    scales, scale_values = _indexed(gaussians.scales.clamp(min=_MIN_SCALE).log())
    colors, color_values = _indexed((gaussians.colors - 0.5) / HARMONIC_DEGREE_0)
    largest, three = split_smallest_three(gaussians.quats)
    quats = np.column_stack(
        [np.rint((three * _SQRT2 * 0.5 + 0.5) * 255), largest + _FIRST_TAG]
    ).astype(np.uint8)
    pictures = {
        "means_l.webp": low,
        "means_u.webp": high,
        "scales.webp": scales,
        "quats.webp": quats,
        "sh0.webp": np.column_stack([colors, to_bytes(gaussians.opacities)]),
    }
    meta = {
        "version": 2,
        "asset": {"generator": "l4gm"},
        "count": count,
        "means": {**ends, "files": ["means_l.webp", "means_u.webp"]},
        "scales": {"codebook": scale_values, "files": ["scales.webp"]},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"codebook": color_values, "files": ["sh0.webp"]},
    }
    with atomic_file(path) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.writestr(zipfile.ZipInfo("meta.json", _EPOCH), json.dumps(meta))
        for name, table in pictures.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), _picture(table))


def read_sog(path: str | os.PathLike[str]) -> Gaussians:
    """Read one set [N], float32, from a bundled SOG file of version 2.

    Raises:
        InputError: no file, not a zip, of another version, members that are missing, too large or
            damaged.
    """
    with Archive(path, "a SOG file") as archive:
        meta = _parse_meta(archive)
        try:
            return checked(_decode(archive, meta), path)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{path}: bad meta.json ({type(error).__name__}: {error}); get it anew"
            ) from None


def _parse_meta(archive: Archive) -> dict[str, Any]:
    try:
        meta = json.loads(archive.read("meta.json", _MAX_META_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{archive.path}: meta.json is not JSON; get it anew") from None
    version = meta.get("version", 1) if isinstance(meta, dict) else None
    if version != 2:
        raise InputError(
            f"{archive.path}: SOG version {str(version)[:20]}, but only 2 can be read; "
            "convert it with splat-transform"
        )
    return meta


def _decode(archive: Archive, meta: dict[str, Any]) -> Gaussians:
    count = meta["count"]
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MAX_PIXELS:
        raise InputError(f"{archive.path}: count must be 0 to {_MAX_PIXELS}, got {count!r:.40}")
    BUDGET.check(archive.path, count * READ_BYTES_PER_GAUSSIAN)

    def pixels(part: str, index: int = 0) -> NDArray[np.uint8]:
        return _pixels(archive, str(meta[part]["files"][index]), count)

    steps = pixels("means")[:, :3].astype(np.float64) + 256.0 * pixels("means", 1)[:, :3]
    lower, upper = _numbers(meta["means"]["mins"], 3), _numbers(meta["means"]["maxs"], 3)
    logs = np.clip(lower + (upper - lower) * steps / 65535, -80, 80)
    quats = pixels("quats")
    largest = np.clip(quats[:, 3].astype(np.int64) - _FIRST_TAG, 0, 3)
    three = (quats[:, :3] / 255.0 - 0.5) * _SQRT2
    scale_values = _numbers(meta["scales"]["codebook"], 256)
    color_values = _numbers(meta["sh0"]["codebook"], 256)
    rgba = pixels("sh0")
    return Gaussians(
        means=_tensor(np.sign(logs) * np.expm1(np.abs(logs))),
        quats=join_smallest_three(largest, three),
        scales=_tensor(np.exp(np.clip(scale_values[pixels("scales")[:, :3]], -80, 80))),
        opacities=_tensor(rgba[:, 3] / 255.0),
        colors=_tensor(np.clip(color_values[rgba[:, :3]] * HARMONIC_DEGREE_0 + 0.5, 0, 1)),
    )


def _tensor(values: NDArray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _pack_means(means: Tensor) -> tuple[NDArray, NDArray, dict[str, list[float]]]:
    """Low and high bytes [N, 3], and the ends that 0 and 65535 stand for."""
    values = means.double().numpy()
    logs = np.sign(values) * np.log1p(np.abs(values))
    lower, upper = logs.min(0), logs.max(0)
    # Readers divide by the extent and take 1 for 0; so must the writer.
    extent = np.where(upper > lower, upper - lower, 1)
    steps = np.rint((logs - lower) / extent * 65535).astype(np.uint16)
    ends = {"mins": lower.tolist(), "maxs": upper.tolist()}
    return (steps & 255).astype(np.uint8), (steps >> 8).astype(np.uint8), ends


def _indexed(values: Tensor) -> tuple[NDArray[np.uint8], list[float]]:
    """Indices [N, 3] into 256 evenly spaced values, and those."""
    table = values.double().numpy()
    lower, upper = float(table.min()), float(table.max())
    extent = max(upper - lower, 1e-9)
    indices = np.rint((table - lower) / extent * 255).astype(np.uint8)
    return indices, (lower + extent * np.arange(256) / 255).tolist()


def _picture(table: NDArray[np.uint8]) -> bytes:
    """Rows [N, 3 or 4] as the pixels of a lossless picture with sides that are multiples of 4."""
    count, channels = table.shape
    width = 4 * math.ceil(math.sqrt(count) / 4)
    height = 4 * math.ceil(count / width / 4)
    padded = np.full((width * height, 4), 255, np.uint8)
    padded[:count, :channels] = table
    stream = io.BytesIO()
    image = Image.fromarray(padded.reshape(height, width, 4))
    image.save(stream, "WEBP", lossless=True, exact=True, quality=50, method=4)
    return stream.getvalue()


def _pixels(archive: Archive, name: str, count: int) -> NDArray[np.uint8]:
    """The first `count` pixels [count, 4] of a member; sizes are checked before unpacking."""
    content = archive.read(name, 8 * count + (1 << 20))
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP", "PNG")) as image:
            width, height = image.size
            if not count <= width * height <= 2 * count + (1 << 16):
                raise InputError(
                    f"{archive.path}: {name[:80]!r} is {width} x {height} pixels for "
                    f"{count} Gaussians; get it anew"
                )
            return np.asarray(image.convert("RGBA")).reshape(-1, 4)[:count]
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError):
        raise InputError(f"{archive.path}: {name[:80]!r} is not a whole picture") from None


def _numbers(values: Any, count: int) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    if numbers.shape != (count,):
        raise ValueError(f"expected {count} numbers, got shape {list(numbers.shape)}")
    return numbers
