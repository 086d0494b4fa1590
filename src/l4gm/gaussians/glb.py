"""One set of Gaussians as binary glTF 2.0 with the ratified extension KHR_gaussian_splatting.

Points with the attributes ROTATION (x y z w), SCALE and OPACITY (as they are, not logarithms), and
the degree-0 harmonic; COLOR_0 beside them, linear as glTF wants it, so that viewers without the
extension show a coloured point cloud. glTF's axes are ours: y up.
https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Khronos/KHR_gaussian_splatting
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.glb_container import BINARY_CHUNK, JSON_CHUNK, MAGIC, GlbBuilder
from l4gm.gaussians.identify import what_it_is
from l4gm.gaussians.srgb import srgb_decoded
from l4gm.gaussians.still import (
    HARMONIC_DEGREE_0,
    checked,
    existing_file,
    prepared,
    unit_quats,
)
from l4gm.gaussians.types import Gaussians
from l4gm.io.budget import BUDGET

EXTENSION = "KHR_gaussian_splatting"

_ATTRIBUTES = {
    "means": "POSITION",
    "quats": f"{EXTENSION}:ROTATION",
    "scales": f"{EXTENSION}:SCALE",
    "opacities": f"{EXTENSION}:OPACITY",
    "harmonics": f"{EXTENSION}:SH_DEGREE_0_COEF_0",
}
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
# glTF's component types: NumPy's, and what a normalised one is divided by.
_COMPONENTS = {
    5120: ("<i1", 127.0),
    5121: ("<u1", 255.0),
    5122: ("<i2", 32767.0),
    5123: ("<u2", 65535.0),
    5126: ("<f4", 1.0),
}
_MAX_JSON_BYTES = 1 << 26
_READ_COPIES = 8  # bytes in memory at the peak, for each of the file


def write_glb(path: str | os.PathLike[str], gaussians: Gaussians) -> None:
    """Write one set [N], in order, whole or not at all.

    Raises:
        ValueError: leading dimensions, or values that are not finite.
        InputError: no Gaussians at all, or the file cannot be made there.
    """
    gaussians = prepared(gaussians, path)
    if gaussians.num_gaussians == 0:
        raise InputError(f"{path}: glTF has no points without points; give a set with Gaussians")
    rgba = np.concatenate(
        [srgb_decoded(gaussians.colors.numpy()), gaussians.opacities.numpy()[:, None]], -1
    )
    columns = {
        _ATTRIBUTES["means"]: gaussians.means.numpy(),
        # In 16 bits: 8 of linear light are too few in the dark.
        "COLOR_0": np.rint(rgba.clip(0, 1) * 65535).astype(np.uint16),
        _ATTRIBUTES["quats"]: gaussians.quats[:, [1, 2, 3, 0]].numpy(),
        _ATTRIBUTES["scales"]: gaussians.scales.numpy(),
        _ATTRIBUTES["opacities"]: gaussians.opacities.clamp(0, 1)[:, None].numpy(),
        _ATTRIBUTES["harmonics"]: ((gaussians.colors - 0.5) / HARMONIC_DEGREE_0).numpy(),
    }
    builder = GlbBuilder()
    primitive = {
        "attributes": {
            name: builder.attribute(values, bounds=name == "POSITION")
            for name, values in columns.items()
        },
        "mode": 0,
        "extensions": {
            EXTENSION: {
                "kernel": "ellipse",
                "colorSpace": "srgb_rec709_display",
                "projection": "perspective",
                "sortingMethod": "cameraDistance",
            }
        },
    }
    builder.write(
        path,
        {
            "extensionsUsed": [EXTENSION],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
        },
    )


def read_glb(path: str | os.PathLike[str]) -> Gaussians:
    """Read one set [N], float32: the only primitive with the extension.

    Harmonics above degree 0 are left out.

    Raises:
        InputError: no file, not GLB, no or several such primitives, one that is moved by a node,
            attributes that are missing or of another shape, or cut off.
    """
    path = existing_file(path, "a .glb file")
    BUDGET.check(path, path.stat().st_size * _READ_COPIES)
    document, binary = _parse(path.read_bytes(), path)
    try:
        attributes = _splats(document, path)
        missing = [name for name in _ATTRIBUTES.values() if name not in attributes]
        if missing:
            raise InputError(f"{path}: the splats have no {', '.join(missing)}")
        columns = {
            name: _column(document, binary, attributes[attribute], width)
            for (name, attribute), width in zip(_ATTRIBUTES.items(), (3, 4, 3, 1, 3), strict=True)
        }
        gaussians = Gaussians(
            means=columns["means"],
            quats=unit_quats(columns["quats"][:, [3, 0, 1, 2]]),
            scales=columns["scales"],
            opacities=columns["opacities"][:, 0],
            colors=(columns["harmonics"] * HARMONIC_DEGREE_0 + 0.5).clamp(0, 1),
        )
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: bad glTF ({type(error).__name__}: {error})") from None
    return checked(gaussians, path)


def _parse(content: bytes, path: os.PathLike[str]) -> tuple[dict[str, Any], bytes]:
    """The two chunks of a GLB."""
    if len(content) < 20 or struct.unpack_from("<II", content) != (MAGIC, 2):
        raise InputError(f"{path}: not a binary glTF 2.0 file, {what_it_is(path)}")
    total, length, kind = struct.unpack_from("<III", content, 8)
    start = 20 + length
    if kind != JSON_CHUNK or length > _MAX_JSON_BYTES or total > len(content) or start + 8 > total:
        raise InputError(f"{path}: the GLB is damaged or cut off; get it anew")
    size, kind = struct.unpack_from("<II", content, start)
    if kind != BINARY_CHUNK or start + 8 + size > total:
        raise InputError(f"{path}: the GLB's data is missing or cut off; get it anew")
    try:
        document = json.loads(content[20:start])
    except (ValueError, RecursionError):
        raise InputError(f"{path}: the GLB's JSON is damaged; get it anew") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: the GLB's JSON is not an object; get it anew")
    return document, content[start + 8 : start + 8 + size]


def _splats(document: dict[str, Any], path: os.PathLike[str]) -> dict[str, int]:
    """The attributes of the one primitive with the extension."""
    found = [
        primitive
        for mesh in document.get("meshes", [])
        for primitive in mesh.get("primitives", [])
        if EXTENSION in primitive.get("extensions", {})
    ]
    if len(found) != 1:
        if not found and any("mesh" in node for node in document.get("nodes", [])):
            raise InputError(f"{path}: a model of meshes, not Gaussians (no {EXTENSION} in it)")
        raise InputError(f"{path}: expected one primitive with {EXTENSION}, found {len(found)}")
    if found[0]["extensions"][EXTENSION].get("extensions"):
        raise InputError(f"{path}: the splats are compressed; convert them to plain attributes")
    moved = {"matrix", "translation", "rotation", "scale"}
    if any(moved & set(node) for node in document.get("nodes", [])):
        raise InputError(f"{path}: nodes move or turn the splats; apply their transforms first")
    return found[0]["attributes"]


def _column(document: dict[str, Any], binary: bytes, index: int, width: int) -> Tensor:
    """An accessor [count, width] as float32."""
    accessor = document["accessors"][index]
    view = document["bufferViews"][accessor["bufferView"]]
    kind, divisor = _COMPONENTS[accessor["componentType"]]
    if accessor["type"] != _TYPES[width] or "sparse" in accessor:
        raise ValueError(f"accessor {index} must be {_TYPES[width]} and not sparse")
    item = np.dtype((kind, width)).itemsize
    count, stride = int(accessor["count"]), int(view.get("byteStride", item))
    start = int(view.get("byteOffset", 0)) + int(accessor.get("byteOffset", 0))
    if min(count, start, stride - item) < 0 or start + (count - 1) * stride + item > len(binary):
        raise ValueError(f"accessor {index} reaches beyond the data")
    values = np.ndarray((count, width), kind, binary, start, (stride, np.dtype(kind).itemsize))
    numbers = values.astype(np.float32)
    return torch.from_numpy(numbers / divisor if accessor.get("normalized") else numbers)
