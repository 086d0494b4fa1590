"""The container of a binary glTF 2.0 file that is written: accessors, their data, the JSON."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.gaussians.atomic import atomic_file

MAGIC, JSON_CHUNK, BINARY_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942

_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
_COMPONENT_TYPES = {
    np.dtype(np.uint8): 5121,
    np.dtype(np.uint16): 5123,
    np.dtype(np.uint32): 5125,
    np.dtype(np.float32): 5126,
}


class GlbBuilder:
    """Collects numbers as accessors, then writes them with a document that refers to them."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def attribute(self, values: NDArray[Any], *, bounds: bool = False) -> int:
        """The accessor of a vertex attribute [count, 1, 3 or 4]; integers are taken as normalised.

        Args:
            values: float32, or uint8 or uint16 whose rows are multiples of 4 bytes.
            bounds: state the least and largest values, as positions must.
        """
        assert values[:1].nbytes % 4 == 0, "glTF wants vertex attributes aligned to 4 bytes"
        index = self._add(values, _ARRAY_BUFFER)
        if values.dtype != np.float32:
            self._accessors[index]["normalized"] = True
        if bounds:
            self._state_bounds(index, values)
        return index

    def indices(self, values: NDArray[Any]) -> int:
        """The accessor of triangles [F, 3], in the smallest type that holds them."""
        # 65535 restarts a primitive in some interfaces, and must not be an index.
        kind = np.uint16 if values.size == 0 or values.max() < 65535 else np.uint32
        return self._add(values.astype(kind).reshape(-1, 1), _ELEMENT_ARRAY_BUFFER)

    def keys(self, values: NDArray[np.float32]) -> int:
        """The accessor of an animation's numbers [count, 1, 3 or 4], with its bounds."""
        index = self._add(values, None)
        self._state_bounds(index, values)
        return index

    def write(self, path: str | os.PathLike[str], document: dict[str, Any]) -> None:
        """Write the file, whole or not at all.

        Args:
            path: replaced if it exists.
            document: the JSON but for asset, buffers, bufferViews and accessors.

        Raises:
            InputError: the file cannot be made there.
        """
        whole = {
            "asset": {"version": "2.0", "generator": "l4gm"},
            **document,
            "buffers": [{"byteLength": len(self._binary)}],
            "bufferViews": self._views,
            "accessors": self._accessors,
        }
        text = json.dumps(whole, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + 8 + len(self._binary)
        with atomic_file(path) as partial, partial.open("wb") as stream:
            stream.write(struct.pack("<III", MAGIC, 2, total))
            stream.write(struct.pack("<II", len(text), JSON_CHUNK) + text)
            stream.write(struct.pack("<II", len(self._binary), BINARY_CHUNK) + self._binary)

    def _add(self, values: NDArray[Any], target: int | None) -> int:
        content = np.ascontiguousarray(values).tobytes()
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content)}
        self._views.append(view if target is None else {**view, "target": target})
        self._accessors.append(
            {
                "bufferView": len(self._views) - 1,
                "componentType": _COMPONENT_TYPES[values.dtype],
                "count": len(values),
                "type": _TYPES[values.shape[1]],
            }
        )
        self._binary += content + bytes(-len(content) % 4)
        return len(self._accessors) - 1

    def _state_bounds(self, index: int, values: NDArray[Any]) -> None:
        accessor = self._accessors[index]
        accessor["min"] = [float(value) for value in values.min(0)]
        accessor["max"] = [float(value) for value in values.max(0)]
