"""Small meshes and hand-made glTF files for the tests of data generation."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from l4gm.datagen.animated_mesh import AnimatedMesh


def make_mesh(
    positions: Any,
    faces: Any,
    colors: Any = None,
    uv: Any = None,
    textures: tuple[np.ndarray, ...] = (),
    smoothing: Any = None,
) -> AnimatedMesh:
    """A mesh of one or more frames, white and untextured unless told otherwise."""
    positions = np.asarray(positions, np.float32)
    if positions.ndim == 2:
        positions = positions[None]
    count, faces = positions.shape[1], np.asarray(faces, np.int32)
    return AnimatedMesh(
        positions=positions,
        faces=faces,
        colors=np.ones((count, 3), np.float32) if colors is None else np.float32(colors),
        uv=np.zeros((count, 2), np.float32) if uv is None else np.float32(uv),
        face_textures=np.full(len(faces), 0 if textures else -1, np.int32),
        textures=textures,
        smoothing=None if smoothing is None else np.int32(smoothing),
    )


class GltfBuilder:
    """Collects the pieces of a glTF 2.0 document and writes it as .glb or .gltf."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
        }
        self.binary = b""

    def append(self, kind: str, entry: dict[str, Any]) -> int:
        """Add to a list of the document; returns the index."""
        self.document.setdefault(kind, []).append(entry)
        return len(self.document[kind]) - 1

    def view(self, data: bytes, **more: Any) -> int:
        """A buffer view that holds these bytes."""
        self.binary += b"\0" * (-len(self.binary) % 4)
        start = len(self.binary)
        self.binary += data
        return self.append(
            "bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data), **more}
        )

    def accessor(self, values: Any, dtype: Any = np.float32, **more: Any) -> int:
        """An accessor of these numbers: [count] scalars, [count, 2..4], or [count, 16] matrices."""
        values = np.asarray(values, dtype)
        types = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
        codes = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125}
        width = 1 if values.ndim == 1 else values.shape[1]
        entry = {
            "bufferView": self.view(values.tobytes()),
            "componentType": codes.get(values.dtype.name, 5126),
            "count": len(values),
            "type": types[width],
        }
        return self.append("accessors", entry | more)

    def triangle(self, points: Any = ((0, 0, 0), (1, 0, 0), (0, 1, 0)), **more: Any) -> int:
        """A mesh of one primitive; more attributes or primitive entries as keywords."""
        attributes = {"POSITION": self.accessor(points), **more.pop("attributes", {})}
        return self.append("meshes", {"primitives": [{"attributes": attributes, **more}]})

    def animate(
        self, node: int, path: str, times: Any, values: Any, interpolation: str = "LINEAR"
    ) -> None:
        """One animation with one channel."""
        sampler = {
            "input": self.accessor(times),
            "output": self.accessor(values),
            "interpolation": interpolation,
        }
        self.append(
            "animations",
            {
                "name": path,
                "samplers": [sampler],
                "channels": [{"sampler": 0, "target": {"node": node, "path": path}}],
            },
        )

    def glb(self) -> bytes:
        """The whole as one binary file."""
        self.document["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.document).encode()
        text += b" " * (-len(text) % 4)
        binary = self.binary + b"\0" * (-len(self.binary) % 4)
        body = struct.pack("<2I", len(text), 0x4E4F534A) + text
        body += struct.pack("<2I", len(binary), 0x004E4942) + binary
        return struct.pack("<3I", 0x46546C67, 2, 12 + len(body)) + body

    def write(self, folder: Path, name: str = "model.glb") -> Path:
        """Write the binary file; returns its path."""
        path = folder / name
        path.write_bytes(self.glb())
        return path


@pytest.fixture
def builder() -> GltfBuilder:
    return GltfBuilder()


@pytest.fixture
def new_builder() -> type[GltfBuilder]:
    """For tests that need several files."""
    return GltfBuilder


@pytest.fixture
def mesh_of() -> Any:
    """The function `make_mesh`."""
    return make_mesh
