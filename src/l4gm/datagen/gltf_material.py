"""Colours of glTF materials, base and emitted: what an image of an evenly lit surface shows.

Colour spaces: base colour factors and vertex colours are linear, textures are sRGB-encoded. Meshes
here carry display values, so the first two are sRGB-encoded on loading; the product of encoded
values stands for the product of linear ones (exact for a pure power curve).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.gltf_file import GltfFile
from l4gm.errors import InputError
from l4gm.gaussians.srgb import srgb_encoded

MAX_TEXTURE_PX = 512
MIRRORED, CLAMPED = 33648, 33071
_BLACK = 0.2  # display values of base colours up to this do not show beside emitted light


@dataclass(frozen=True)
class Material:
    """How to colour the faces of one primitive.

    Args:
        color: [3] display values that multiply vertex colours and texels.
        texture: index into the reader's pictures, -1 for none.
        uv_set: which TEXCOORD attribute the texture uses.
        uv_transform: [2, 3] applied to (u, v, 1).
        clamped: per axis, whether the texture ends at its border instead of repeating.
        alpha: multiplies the vertices' alpha; that of texels is in the texture.
        cutoff: where the product is below this there is no surface.
    """

    color: NDArray[np.float64]
    texture: int = -1
    uv_set: int = 0
    uv_transform: NDArray[np.float64] = field(default_factory=lambda: np.eye(2, 3))
    clamped: tuple[bool, bool] = (False, False)
    alpha: float = 1.0
    cutoff: float = 0.0

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


@dataclass(frozen=True)
class _Layer:
    """One texture as a material uses it.

    Args:
        texels: [h, w, 4] uint8.
        wraps: glTF's codes of both axes, or None.
        uv_set, matrix: as in `Material`.
    """

    texels: NDArray[np.uint8]
    wraps: tuple[Any, Any]
    uv_set: int
    matrix: NDArray[np.float64]

    def lies_like(self, other: _Layer) -> bool:
        """Whether both are placed on the surface in the same way."""
        same_place = self.uv_set == other.uv_set and np.array_equal(self.matrix, other.matrix)
        return same_place and self.wraps == other.wraps


class MaterialReader:
    """Reads materials and collects the pictures that they use."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file
        self.pictures: list[NDArray[np.uint8]] = []
        self._materials: dict[int, Material] = {}
        self._texels: dict[Any, NDArray[np.uint8]] = {}
        self._numbers_of: dict[tuple[Any, ...], int] = {}  # of the pictures

    def read(self, index: int | None) -> Material:
        """The material of this index; None is the standard's white default.

        A texture that is missing or damaged is left out, with a note.

        Raises:
            InputError: if the material is malformed.
        """
        if index is None:
            return Material(np.ones(3))
        if index not in self._materials:
            self._materials[index] = self._read(index)
        return self._materials[index]

    def _read(self, index: int) -> Material:
        entry = self.file.entry("materials", index)
        extensions = entry.get("extensions", {})
        base = entry.get("pbrMetallicRoughness", {})
        factor, texture = base.get("baseColorFactor", [1, 1, 1, 1]), base.get("baseColorTexture")
        old = extensions.get("KHR_materials_pbrSpecularGlossiness")
        if old is not None:
            factor, texture = old.get("diffuseFactor", [1, 1, 1, 1]), old.get("diffuseTexture")
        strength = extensions.get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1)
        rgba = self._numbers([*factor, 1.0][:4], index)
        emitted = self._numbers(entry.get("emissiveFactor", [0, 0, 0]), index) * float(strength)
        color, light = srgb_encoded(rgba[:3]), srgb_encoded(emitted[:3])
        clear = float(extensions.get("KHR_materials_transmission", {}).get("transmissionFactor", 0))
        mode = str(entry.get("alphaMode", "OPAQUE"))
        cutoff = {"MASK": float(entry.get("alphaCutoff", 0.5)), "BLEND": 0.5}.get(mode, 0.0)
        alpha = float(rgba[3]) if cutoff else 1.0
        if clear > 0.5:  # clear glass is as good as not there
            cutoff, alpha = cutoff or 0.5, alpha * (1 - clear)
        base_layer = self._layer(texture)
        glow = self._layer(entry.get("emissiveTexture")) if light.any() else None
        if base_layer is None and glow is None:
            return Material(np.maximum(color, light), alpha=alpha, cutoff=cutoff)
        if base_layer is not None and not light.any():
            return self._textured(color, base_layer, alpha, cutoff)
        return self._textured(np.ones(3), _glowing(color, base_layer, light, glow), alpha, cutoff)

    def _numbers(self, values: Any, index: int) -> NDArray[np.float64]:
        numbers = np.array([float(value) for value in values])
        if numbers.shape not in ((3,), (4,)) or not np.isfinite(numbers).all():
            raise self.file.error(f"has a malformed colour in materials[{index}]")
        return numbers

    def _layer(self, reference: dict[str, Any] | None) -> _Layer | None:
        """A texture; None where there is none, or none that can be read."""
        if reference is None:
            return None
        texture = self.file.entry("textures", reference.get("index"))
        webp = texture.get("extensions", {}).get("EXT_texture_webp", {})
        source = webp.get("source", texture.get("source"))
        sampler: dict[str, Any] = {}
        if "sampler" in texture:
            sampler = self.file.entry("samplers", texture["sampler"])
        if source is None and "KHR_texture_basisu" in texture.get("extensions", {}):
            raise self.file.error("needs Basis textures; export it without")
        try:
            if source is None:
                raise self.file.error(f"has textures[{reference.get('index')}] without a picture")
            if source not in self._texels:
                self._texels[source] = self.file.picture(source, MAX_TEXTURE_PX)
        except InputError as problem:
            what = str(problem).removeprefix(f"{self.file.path} ")
            self.file.repaired(f"{what}; that texture was left out")
            return None
        matrix, uv_set = _uv_transform(reference)
        return _Layer(
            self._texels[source], (sampler.get("wrapS"), sampler.get("wrapT")), uv_set, matrix
        )

    def _textured(
        self, color: NDArray[np.float64], layer: _Layer, alpha: float, cutoff: float
    ) -> Material:
        mirrored = tuple(wrap == MIRRORED for wrap in layer.wraps)
        matrix = layer.matrix.copy()
        for axis in (0, 1):
            if mirrored[axis]:
                matrix[axis] /= 2.0
        return Material(
            color,
            self._picture(layer.texels, mirrored, cutoff / max(alpha, 1e-6)),
            layer.uv_set,
            matrix,
            (layer.wraps[0] == CLAMPED, layer.wraps[1] == CLAMPED),
            alpha,
            cutoff,
        )

    def _picture(self, texels: NDArray[np.uint8], mirrored: tuple[bool, ...], cutoff: float) -> int:
        """The number of the picture of these texels, with holes where alpha is below the cutoff."""
        key = (id(texels), mirrored, cutoff)
        if key not in self._numbers_of:
            picture = texels.copy()
            picture[..., 3] = np.where(picture[..., 3] >= 255 * cutoff, 255, 0)
            if mirrored[0]:
                picture = np.concatenate([picture, picture[:, ::-1]], 1)
            if mirrored[1]:
                picture = np.concatenate([picture, picture[::-1]], 0)
            self._numbers_of[key] = len(self.pictures)
            self.pictures.append(np.ascontiguousarray(picture))
            self._texels[key] = texels  # kept, so that no other array gets its id
        return self._numbers_of[key]


def _glowing(
    color: NDArray[np.float64],
    base: _Layer | None,
    light: NDArray[np.float64],
    glow: _Layer | None,
) -> _Layer:
    """One texture of the brighter of base and emitted colour, channel by channel.

    Where both have a texture and these lie differently on the surface, what is emitted counts on a
    black base, and the base alone on any other.
    """
    if base is not None and glow is not None and not base.lies_like(glow):
        if color.max() > _BLACK:
            light, glow = np.zeros(3), None
        else:
            base = None
    if base is not None and glow is not None:
        size = np.maximum(base.texels.shape[:2], glow.texels.shape[:2])
        base = replace(base, texels=_resized(base.texels, size))
        glow = replace(glow, texels=_resized(glow.texels, size))
    parts = [
        factor * (255.0 if layer is None else layer.texels[..., :3].astype(np.float64))
        for factor, layer in ((color, base), (light, glow))
    ]
    shown = base if base is not None else glow
    assert shown is not None
    texels = shown.texels.copy()
    texels[..., :3] = np.rint(np.maximum(*parts).clip(0, 255))
    if base is None:
        texels[..., 3] = 255  # the alpha of emitted light means nothing
    return replace(shown, texels=texels)


def _resized(texels: NDArray[np.uint8], size: NDArray[Any]) -> NDArray[np.uint8]:
    """The nearest texels, [h, w, 4] of another size."""
    rows, columns = (np.arange(size[k]) * texels.shape[k] // size[k] for k in (0, 1))
    return texels[rows[:, None], columns]


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
