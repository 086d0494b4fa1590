"""Base colours of glTF materials: what a picture of an evenly lit surface shows.

Colour spaces: base colour factors and vertex colours are linear, textures are sRGB-encoded. Meshes
here carry display values, so the first two are sRGB-encoded on loading; the product of encoded
values stands for the product of linear ones (exact for a pure power curve).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.gltf_file import GltfFile
from l4gm.gaussians.srgb import srgb_encoded

MAX_TEXTURE_PX = 512
MIRRORED, CLAMPED = 33648, 33071


@dataclass(frozen=True)
class Material:
    """How to colour the faces of one primitive.

    Args:
        color: [3] display values that multiply vertex colours and texels.
        texture: index into the reader's pictures, -1 for none.
        uv_set: which TEXCOORD attribute the texture uses.
        uv_transform: [2, 3] applied to (u, v, 1).
        clamped: per axis, whether the texture ends at its border instead of repeating.
    """

    color: NDArray[np.float64]
    texture: int = -1
    uv_set: int = 0
    uv_transform: NDArray[np.float64] = field(default_factory=lambda: np.eye(2, 3))
    clamped: tuple[bool, bool] = (False, False)

    def texture_coordinates(self, uv: NDArray[Any]) -> NDArray[np.float64]:
        """[P, 2] where the file's coordinates lie in the repeating picture."""
        out = uv.astype(np.float64) @ self.uv_transform[:, :2].T + self.uv_transform[:, 2]
        # A texture that ends is kept from repeating at the vertices, so that only a face that
        # reaches over the border is drawn differently from the standard.
        inside = 0.5 / MAX_TEXTURE_PX
        for axis in (0, 1):
            if self.clamped[axis]:
                out[:, axis] = np.clip(out[:, axis], inside, 1.0 - inside)
        return out


class MaterialReader:
    """Reads materials and collects the pictures that they use."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        self.pictures: list[NDArray[np.uint8]] = []
        self._picture_index: dict[tuple[Any, ...], int] = {}

    def read(self, index: int | None) -> Material:
        """The material of this index; None is the standard's white default.

        Raises:
            InputError: if it, or a picture it uses, is damaged.
        """
        if index is None:
            return Material(np.ones(3))
        entry = self.file.entry("materials", index)
        base = entry.get("pbrMetallicRoughness", {})
        factor, texture = base.get("baseColorFactor", [1, 1, 1, 1]), base.get("baseColorTexture")
        old = entry.get("extensions", {}).get("KHR_materials_pbrSpecularGlossiness")
        if old is not None:
            factor, texture = old.get("diffuseFactor", [1, 1, 1, 1]), old.get("diffuseTexture")
        color = np.array([float(value) for value in factor[:3]])
        if "emissiveTexture" not in entry:
            emitted = np.array([float(value) for value in entry.get("emissiveFactor", [0, 0, 0])])
            color = np.maximum(color, emitted)
        if color.shape != (3,) or not np.isfinite(color).all():
            raise self.file.error(f"has a malformed colour in materials[{index}]")
        cutoff = {"MASK": float(entry.get("alphaCutoff", 0.5)), "BLEND": 0.5}.get(
            str(entry.get("alphaMode", "OPAQUE")), 0.0
        )
        color = srgb_encoded(color)
        return Material(color) if texture is None else self._textured(color, texture, cutoff)

    def _textured(
        self, color: NDArray[np.float64], reference: dict[str, Any], cutoff: float
    ) -> Material:
        texture = self.file.entry("textures", reference.get("index"))
        source = texture.get("source")
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        source = webp.get("source", source)
        if source is None:
            raise self.file.error(f"has textures[{reference.get('index')}] without a picture")
        sampler: dict[str, Any] = {}
        if "sampler" in texture:
            sampler = self.file.entry("samplers", texture["sampler"])
        wraps = (sampler.get("wrapS"), sampler.get("wrapT"))
        mirrored = (wraps[0] == MIRRORED, wraps[1] == MIRRORED)
        matrix, uv_set = _uv_transform(reference)
        for axis in (0, 1):
            if mirrored[axis]:
                matrix[axis] /= 2.0
        return Material(
            color,
            self._picture(source, mirrored, cutoff),
            uv_set,
            matrix,
            (wraps[0] == CLAMPED, wraps[1] == CLAMPED),
        )

    def _picture(self, source: int, mirrored: tuple[bool, bool], cutoff: float) -> int:
        key = (source, mirrored, cutoff)
        if key not in self._picture_index:
            picture = self.file.picture(source, MAX_TEXTURE_PX).copy()
            picture[..., 3] = np.where(picture[..., 3] >= 255 * cutoff, 255, 0)
            if mirrored[0]:
                picture = np.concatenate([picture, picture[:, ::-1]], 1)
            if mirrored[1]:
                picture = np.concatenate([picture, picture[::-1]], 0)
            self._picture_index[key] = len(self.pictures)
            self.pictures.append(np.ascontiguousarray(picture))
        return self._picture_index[key]


def _uv_transform(reference: dict[str, Any]) -> tuple[NDArray[np.float64], int]:
    """[2, 3] matrix of KHR_texture_transform (identity without it), and the TEXCOORD set."""
    extension = reference.get("extensions", {}).get("KHR_texture_transform", {})
    uv_set = int(extension.get("texCoord", reference.get("texCoord", 0)))
    offset = [float(value) for value in extension.get("offset", [0, 0])]
    scale = [float(value) for value in extension.get("scale", [1, 1])]
    angle = float(extension.get("rotation", 0.0))
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array(
        [
            [cos * scale[0], sin * scale[1], offset[0]],
            [-sin * scale[0], cos * scale[1], offset[1]],
        ]
    )
    return matrix, uv_set
