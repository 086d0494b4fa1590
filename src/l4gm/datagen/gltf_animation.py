"""Key frames of glTF animations: interpolation, and the node transforms they give.

Quaternions here are glTF's: x, y, z, w.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.gltf_file import GltfFile

Array = NDArray[np.float64]
PATHS = {"translation": 3, "rotation": 4, "scale": 3}


@dataclass(frozen=True)
class Channel:
    """One animated quantity.

    Args:
        node: index of the node it belongs to.
        path: translation, rotation, scale or weights.
        interpolation: LINEAR, STEP or CUBICSPLINE.
        times: [K] seconds, increasing.
        values: [K, C], or [K, 3, C] (in-tangent, value, out-tangent) for CUBICSPLINE.
    """

    node: int
    path: str
    interpolation: str
    times: Array
    values: Array


@dataclass(frozen=True)
class Animation:
    """A named motion from its first key, which is time 0 here, to its last."""

    name: str
    duration_seconds: float
    channels: tuple[Channel, ...]


def read_animations(file: GltfFile, num_weights: list[int]) -> tuple[Animation, ...]:
    """All animations of a file.

    Args:
        file: the file.
        num_weights: number of morph targets of every node's mesh.

    Raises:
        InputError: if one is malformed.
    """
    animations = []
    for index, entry in enumerate(file.document.get("animations", [])):
        channels = []
        for item in entry.get("channels", []):
            channel = _read_channel(file, entry, item, num_weights)
            if channel is not None:
                channels.append(channel)
        first = min((float(c.times[0]) for c in channels), default=0.0)
        last = max((float(c.times[-1]) for c in channels), default=0.0)
        name = str(entry.get("name") or f"animation {index}")
        moved = tuple(replace(channel, times=channel.times - first) for channel in channels)
        animations.append(Animation(name, last - first, moved))
    return tuple(animations)


def _read_channel(
    file: GltfFile, animation: dict[str, Any], item: dict[str, Any], num_weights: list[int]
) -> Channel | None:
    """One channel; None where glTF says to ignore it (no node, or a path of an extension)."""
    node, path = item["target"].get("node"), item["target"].get("path")
    if node is None or path not in (*PATHS, "weights"):
        return None
    if path == "weights" and not num_weights[node]:
        file.repaired("an animation of morph weights without morph targets was left out")
        return None
    where = f"animation of node {node}'s {path}"
    if "matrix" in file.entry("nodes", node):
        raise file.error(f"has an {where}, which has a matrix; it must have separate parts")
    index = item["sampler"]
    if type(index) is not int or not 0 <= index < len(animation["samplers"]):
        raise file.error(f"has an {where} without a sampler")
    sampler = animation["samplers"][index]
    interpolation = sampler.get("interpolation", "LINEAR")
    if interpolation not in ("LINEAR", "STEP", "CUBICSPLINE"):
        raise file.error(f"has an {where} with interpolation {interpolation!r}")
    times = file.accessor(sampler["input"], "SCALAR").astype(np.float64)[:, 0]
    values = file.accessor(sampler["output"], "SCALAR", "VEC3", "VEC4").astype(np.float64)
    width = PATHS.get(path) or num_weights[node]
    per_key = width * (3 if interpolation == "CUBICSPLINE" else 1)
    if not len(times) or (np.diff(times) < 0).any():
        raise file.error(f"has an {where} without increasing times")
    if values.size != len(times) * per_key or not width:
        raise file.error(f"has an {where} with {values.size} numbers for {len(times)} keys")
    if interpolation == "CUBICSPLINE":
        return Channel(node, path, interpolation, times, values.reshape(len(times), 3, width))
    return Channel(node, path, interpolation, times, values.reshape(len(times), width))


def sample(channel: Channel, times: Array) -> Array:
    """[T, C] the channel's value at each time (before the first and after the last key: theirs).

    LINEAR is spherical for rotations; CUBICSPLINE is the Hermite spline of the specification
    (appendix C). Rotations come normalised.
    """
    keys = channel.times
    left = np.clip(np.searchsorted(keys, times, side="right") - 1, 0, len(keys) - 1)
    right = np.minimum(left + 1, len(keys) - 1)
    span = keys[right] - keys[left]
    share = np.clip((times - keys[left]) / np.where(span > 0, span, 1.0), 0.0, 1.0)[:, None]
    share = np.where(span[:, None] > 0, share, 0.0)
    values = channel.values
    if channel.interpolation == "CUBICSPLINE":
        out = _hermite(values, left, right, share, span[:, None])
    elif channel.interpolation == "STEP":
        out = np.where(share < 1.0, values[left], values[right])
    elif channel.path == "rotation":
        return slerp(values[left], values[right], share)
    else:
        out = values[left] * (1.0 - share) + values[right] * share
    return normalized_quaternions(out) if channel.path == "rotation" else out


def _hermite(
    values: Array, left: NDArray[np.intp], right: NDArray[np.intp], share: Array, span: Array
) -> Array:
    square, cube = share**2, share**3
    return (
        (2 * cube - 3 * square + 1) * values[left, 1]
        + span * (cube - 2 * square + share) * values[left, 2]
        + (3 * square - 2 * cube) * values[right, 1]
        + span * (cube - square) * values[right, 0]
    )


def normalized_quaternions(quaternions: Array) -> Array:
    """Of length 1; those of no length become the identity."""
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    identity = np.array([0.0, 0.0, 0.0, 1.0])
    return np.where(length > 1e-12, quaternions / np.maximum(length, 1e-12), identity)


def slerp(first: Array, second: Array, share: Array) -> Array:
    """Spherical interpolation [..., 4] along the shorter arc (share [..., 1] in 0..1)."""
    first, second = normalized_quaternions(first), normalized_quaternions(second)
    cosine = (first * second).sum(-1, keepdims=True)
    second = np.where(cosine < 0, -second, second)
    angle = np.arccos(np.clip(np.abs(cosine), 0.0, 1.0))
    sine = np.sin(angle)
    # Below this angle the arc is straight to rounding, and the sines' ratio is not defined.
    small = sine < 1e-5
    divisor = np.where(small, 1.0, sine)
    before = np.where(small, 1.0 - share, np.sin((1.0 - share) * angle) / divisor)
    after = np.where(small, share, np.sin(share * angle) / divisor)
    return normalized_quaternions(before * first + after * second)


def transforms(translation: Array, rotation: Array, scale: Array) -> Array:
    """[..., 4, 4] matrices that scale, then rotate, then translate; all arguments [..., 3 or 4]."""
    x, y, z, w = np.moveaxis(rotation, -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    out = np.zeros((*rotation.shape[:-1], 4, 4))
    out[..., :3, :3] = np.stack(rows, -1).reshape(*rotation.shape[:-1], 3, 3) * scale[..., None, :]
    out[..., :3, 3] = translation
    out[..., 3, 3] = 1.0
    return out
