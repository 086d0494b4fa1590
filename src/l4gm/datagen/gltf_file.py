"""The container of a glTF 2.0 file: JSON, buffers, accessors, pictures, all checked before use."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from l4gm.errors import InputError

COMPONENT_TYPES: dict[int, type] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
MAX_ELEMENTS = 20_000_000
"""Numbers in one accessor; one without a buffer costs nothing in the file, so it needs a bound."""
MAX_FILE_BYTES = 2 << 30
MAX_PICTURE_PIXELS = 64_000_000
SUPPORTED = frozenset(
    {
        "EXT_mesh_gpu_instancing",
        "EXT_texture_webp",
        "KHR_materials_emissive_strength",
        "KHR_materials_pbrSpecularGlossiness",
        "KHR_materials_transmission",
        "KHR_materials_unlit",
        "KHR_mesh_quantization",
        "KHR_node_visibility",
        "KHR_texture_transform",
        # What these add, evenly lit base colours do not show.
        "KHR_lights_punctual",
        "KHR_materials_anisotropy",
        "KHR_materials_clearcoat",
        "KHR_materials_diffuse_transmission",
        "KHR_materials_dispersion",
        "KHR_materials_ior",
        "KHR_materials_iridescence",
        "KHR_materials_sheen",
        "KHR_materials_specular",
        "KHR_materials_variants",
        "KHR_materials_volume",
        "KHR_xmp_json_ld",
    }
)
"""Extensions with which a file may be required to be read."""
UNSUPPORTED = {
    "KHR_draco_mesh_compression": "Draco compression",
    "EXT_meshopt_compression": "meshopt compression",
    "KHR_meshopt_compression": "meshopt compression",
    "KHR_texture_basisu": "Basis textures",
}


class GltfFile:
    """A parsed file: its document and checked access to the binary data it refers to.

    Args:
        path: .glb, or .gltf with data: or external buffers, which must lie in the file's folder.

    Attributes:
        notes: what was repaired on reading.

    Raises:
        InputError: in one line that names the file, from every method.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        data = self._read(path)
        self.binary: bytes | None = None
        if data[:4] == b"glTF":
            data = self._split_glb(data)
        if data.endswith(b"\0"):
            data = data.rstrip(b"\0")
            self.repaired("zeros behind its JSON were left out")
        try:
            self.document: dict[str, Any] = json.loads(data)
        except (ValueError, RecursionError):
            raise self.error("is not glTF: its JSON cannot be read") from None
        if not isinstance(self.document, dict) or not isinstance(self.document.get("asset"), dict):
            raise self.error("is not glTF: it has no asset entry")
        version = str(self.document["asset"].get("version", ""))
        if not version.startswith("2."):
            raise self.error(f"is glTF version {version or 'unknown'}; convert it to version 2.0")
        required = self.document.get("extensionsRequired", [])
        for extension in map(str, required if isinstance(required, list) else [required]):
            if extension not in SUPPORTED:
                what = UNSUPPORTED.get(extension, f"the extension {extension[:60]}")
                raise self.error(f"needs {what}; export it without")
        self._buffers: dict[int, bytes] = {}
        self._accessors: dict[tuple[int, bool], NDArray[Any]] = {}

    def error(self, what: str) -> InputError:
        """An error in one line about this file."""
        return InputError(f"{self.path} {' '.join(what.split())}")

    def repaired(self, what: str) -> None:
        """Note, once, what was wrong in the file and taken in the way that other loaders do."""
        if what not in self.notes:
            self.notes.append(what)

    def _read(self, path: Path) -> bytes:
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise self.error(f"refers to {path.name} of {size} bytes; at most {MAX_FILE_BYTES}")
            return path.read_bytes()
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            what = "cannot be read" if path == self.path else f"refers to {path.name}: unreadable"
            raise self.error(f"{what} ({reason})") from None

    def _split_glb(self, data: bytes) -> bytes:
        if len(data) < 20:
            raise self.error("is cut off: no complete GLB header")
        _, version, length, json_length, json_type = struct.unpack("<5I", data[:20])
        if version != 2:
            raise self.error(f"is GLB version {version}; convert it to version 2")
        if length > len(data):
            raise self.error(f"is cut off: {len(data)} of {length} bytes")
        if json_type != 0x4E4F534A or 20 + json_length > len(data):
            raise self.error("is damaged: its first chunk is not complete JSON")
        start = 20 + json_length
        if start + 8 <= len(data):
            size, kind = struct.unpack("<2I", data[start : start + 8])
            if kind == 0x004E4942:
                if start + 8 + size > len(data):
                    raise self.error("is cut off within its binary chunk")
                self.binary = data[start + 8 : start + 8 + size]
        return data[20:start]

    def entry(self, kind: str, index: Any) -> dict[str, Any]:
        """The item `index` of the document's list `kind`."""
        items = self.document.get(kind, [])
        if not isinstance(items, list) or type(index) is not int or not 0 <= index < len(items):
            raise self.error(f"refers to {kind}[{index}], which it does not have")
        if not isinstance(items[index], dict):
            raise self.error(f"has a malformed {kind}[{index}]")
        return items[index]

    def _count(self, value: Any, what: str) -> int:
        if type(value) is not int or not 0 <= value < 1 << 48:
            raise self.error(f"has {what} {value!r}; expected a whole number from 0")
        return value

    def buffer(self, index: int) -> bytes:
        """The bytes of one buffer, at least as many as it declares."""
        if index not in self._buffers:
            entry = self.entry("buffers", index)
            if "uri" in entry:
                data = self.resource(str(entry["uri"]))
            elif index == 0 and self.binary is not None:
                data = self.binary
            else:
                raise self.error(f"lacks the data of buffers[{index}]")
            declared = self._count(entry.get("byteLength"), f"buffers[{index}].byteLength")
            if len(data) < declared:
                raise self.error(
                    f"is cut off: buffers[{index}] has {len(data)} of {declared} bytes"
                )
            self._buffers[index] = data
        return self._buffers[index]

    def resource(self, uri: str) -> bytes:
        """What a uri holds: data: (base64 or percent-encoded), or a file in the folder or below."""
        if uri[:5].lower() == "data:":
            head, comma, body = uri.partition(",")
            if not comma:
                raise self.error("has a malformed data: uri")
            try:
                if head.lower().endswith(";base64"):
                    return base64.b64decode(unquote(body), validate=True)
                return unquote(body, encoding="latin-1").encode("latin-1")
            except (binascii.Error, ValueError):
                raise self.error("has a data: uri that is not base64") from None
        name = unquote(uri)
        folder = self.path.parent.resolve()
        if "\\" in name:
            name = name.replace("\\", "/")
            self.repaired("backslashes in its paths were taken for slashes")
        is_local = not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/", name) and "\0" not in name
        if not is_local or not (folder / name).resolve().is_relative_to(folder):
            raise self.error(f"refers to {name[:80]!r}, which is outside its folder")
        return self._read(folder / name)

    def view(self, index: Any) -> tuple[bytes, int, int, int]:
        """A buffer view: (buffer, offset, length, stride or 0)."""
        entry = self.entry("bufferViews", index)
        where = f"bufferViews[{index}]"
        for extension in ("EXT_meshopt_compression", "KHR_meshopt_compression"):
            if extension in entry.get("extensions", {}):
                raise self.error(f"needs {UNSUPPORTED[extension]}; export it without")
        data = self.buffer(self._count(entry.get("buffer"), f"{where}.buffer"))
        offset = self._count(entry.get("byteOffset", 0), f"{where}.byteOffset")
        length = self._count(entry.get("byteLength"), f"{where}.byteLength")
        if offset + length > len(data):
            raise self.error(f"is damaged: {where} ends at {offset + length} of {len(data)} bytes")
        return data, offset, length, self._count(entry.get("byteStride", 0), f"{where}.byteStride")

    def _elements(
        self, where: str, view: Any, start: Any, dtype: np.dtype[Any], width: int, count: int
    ) -> NDArray[Any]:
        """[count, width] numbers out of a buffer view, copied."""
        data, offset, length, stride = self.view(view)
        start = self._count(start, f"{where}.byteOffset")
        size = dtype.itemsize * width
        stride = stride or size
        end = start + stride * (count - 1) + size if count else start
        if stride < size or end > length:
            raise self.error(f"is damaged: {where} needs {end} of {length} bytes")
        return np.ndarray(
            (count, width), dtype, data, offset + start, (stride, dtype.itemsize)
        ).copy()

    def accessor(self, index: Any, *types: str, finite: bool = True) -> NDArray[Any]:
        """[count, components] numbers; normalised integers come as float32.

        Args:
            index: of the accessor.
            types: those that are acceptable here, such as "VEC3".
            finite: whether infinite numbers and NaN are refused.
        """
        entry = self.entry("accessors", index)
        where = f"accessors[{index}]"
        kind = entry.get("type")
        if kind not in COMPONENTS or (types and kind not in types):
            raise self.error(f"has {where} of type {kind!r}; expected {' or '.join(types)}")
        if (index, finite) in self._accessors:
            return self._accessors[index, finite]
        if entry.get("componentType") not in COMPONENT_TYPES:
            raise self.error(f"has {where} of component type {entry.get('componentType')!r}")
        entry_type: Any = COMPONENT_TYPES[entry["componentType"]]
        dtype = np.dtype(entry_type)
        width, count = COMPONENTS[kind], self._count(entry.get("count"), f"{where}.count")
        if count * width > MAX_ELEMENTS:
            raise self.error(f"has {where} of {count} elements; at most {MAX_ELEMENTS // width}")
        if "bufferView" in entry:
            start = entry.get("byteOffset", 0)
            values = self._elements(where, entry["bufferView"], start, dtype, width, count)
        else:
            values = np.zeros((count, width), dtype)
        if "sparse" in entry:
            self._overwrite(values, entry["sparse"], where)
        if dtype == np.float32:
            if finite and not np.isfinite(values).all():
                raise self.error(f"has numbers that are not finite in {where}")
        elif entry.get("normalized"):
            largest = float(np.iinfo(entry_type).max)
            values = np.maximum(values.astype(np.float32) / largest, -1.0)
        self._accessors[index, finite] = values
        return values

    def _overwrite(self, values: NDArray[Any], sparse: dict[str, Any], where: str) -> None:
        """Apply an accessor's sparse substitutions."""
        where = f"{where}.sparse"
        count = self._count(sparse.get("count"), f"{where}.count")
        if count > len(values):
            raise self.error(f"is damaged: {where} replaces {count} of {len(values)} elements")
        at, new = sparse["indices"], sparse["values"]
        kind = np.dtype(COMPONENT_TYPES[at["componentType"]])
        start = at.get("byteOffset", 0)
        index = self._elements(where, at["bufferView"], start, kind, 1, count)[:, 0]
        if count and int(index.max()) >= len(values):
            raise self.error(f"is damaged: {where} replaces element {int(index.max())}")
        values[index] = self._elements(
            where, new["bufferView"], new.get("byteOffset", 0), values.dtype, values.shape[1], count
        )

    def picture(self, index: Any, max_side_px: int) -> NDArray[np.uint8]:
        """[h, w, 4] RGBA of one image, reduced to at most `max_side_px` a side."""
        from PIL import Image, UnidentifiedImageError

        entry = self.entry("images", index)
        if "bufferView" in entry:
            data, offset, length, _ = self.view(entry["bufferView"])
            data = data[offset : offset + length]
        else:
            data = self.resource(str(entry.get("uri", "")))
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                if image.width * image.height > MAX_PICTURE_PIXELS:
                    raise self.error(f"has images[{index}] of {image.width} x {image.height} px")
                full = image.convert("RGBA")
        except InputError:
            raise
        except (
            OSError,
            ValueError,
            SyntaxError,
            UnidentifiedImageError,
            Image.DecompressionBombError,
        ):
            raise self.error(f"has a damaged or unknown picture in images[{index}]") from None
        share = max_side_px / max(full.size)
        if share < 1:
            size = (max(round(full.width * share), 1), max(round(full.height * share), 1))
            full = full.resize(size, Image.Resampling.BOX)
        return np.asarray(full, np.uint8)
