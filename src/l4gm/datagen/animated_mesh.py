"""A textured triangle mesh that moves: what every source of 3D animation is turned into."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class AnimatedMesh:
    """A mesh of fixed topology whose vertices move.

    Colours and textures are display values (sRGB-encoded, what a picture file holds). A surface's
    colour is its interpolated vertex colour times its texel, channel by channel.

    Args:
        positions: [T, P, 3] float32, world axes (right-handed, y up), one set per frame.
        faces: [F, 3] int32 vertex indices; counter-clockwise seen from outside, where it matters.
        colors: [P, 3] float32 in [0, 1].
        uv: [P, 2] float32 texture coordinates, glTF's: (0, 0) is the corner of the picture's first
            pixel, v grows downwards; they repeat outside [0, 1].
        face_textures: [F] int32 index into `textures`, -1 for none.
        textures: uint8 [h, w, 4] RGBA pictures; where a texel's alpha is below 128 there is no
            surface.
        smoothing: [P] int32, vertices with equal numbers share one normal (vertices that are
            separate only for their texture coordinates); None: every vertex has its own.
        fps: frames per second.
        name: where it came from.

    Raises:
        ValueError: if shapes or types do not agree, an index is out of range, or a position is not
            finite.
    """

    positions: NDArray[np.float32]
    faces: NDArray[np.int32]
    colors: NDArray[np.float32]
    uv: NDArray[np.float32]
    face_textures: NDArray[np.int32]
    textures: tuple[NDArray[np.uint8], ...] = ()
    smoothing: NDArray[np.int32] | None = None
    fps: float = 24.0
    name: str = ""

    def __post_init__(self) -> None:
        if self.positions.ndim != 3 or self.positions.shape[-1] != 3:
            raise ValueError(f"positions must be [T, P, 3], got {list(self.positions.shape)}")
        num_vertices, num_faces = self.positions.shape[1], len(self.faces)
        expected = {
            "positions": (self.positions.shape, np.float32),
            "faces": ((num_faces, 3), np.int32),
            "colors": ((num_vertices, 3), np.float32),
            "uv": ((num_vertices, 2), np.float32),
            "face_textures": ((num_faces,), np.int32),
        }
        if self.smoothing is not None:
            expected["smoothing"] = ((num_vertices,), np.int32)
        for field, (shape, dtype) in expected.items():
            array = getattr(self, field)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{field} must be {np.dtype(dtype)} {list(shape)}, "
                    f"got {array.dtype} {list(array.shape)}"
                )
        if not num_faces or not len(self.positions):
            raise ValueError("a mesh needs at least one frame and one face")
        if self.faces.min() < 0 or self.faces.max() >= num_vertices:
            raise ValueError(f"faces must index {num_vertices} vertices, got {self.faces.max()}")
        if self.smoothing is not None and not (
            self.smoothing.min() >= 0 and self.smoothing.max() < num_vertices
        ):
            raise ValueError(f"smoothing must lie in 0..{num_vertices - 1}")
        if self.face_textures.min() < -1 or self.face_textures.max() >= len(self.textures):
            raise ValueError(f"face_textures must index {len(self.textures)} textures or be -1")
        for texture in self.textures:
            if texture.ndim != 3 or texture.shape[2] != 4 or texture.dtype != np.uint8:
                raise ValueError(f"textures must be uint8 [h, w, 4], got {list(texture.shape)}")
        for field in ("positions", "colors", "uv"):
            if not np.isfinite(getattr(self, field)).all():
                raise ValueError(f"{field} holds numbers that are not finite")

    @property
    def num_frames(self) -> int:
        return len(self.positions)

    @property
    def used_positions(self) -> NDArray[np.float32]:
        """[T, U, 3] positions of the vertices that belong to a face (files may hold others)."""
        return self.positions[:, np.unique(self.faces)]

    def normalized(self, yaw_degrees: float = 0.0) -> AnimatedMesh:
        """Turned about the y axis, then centred and scaled into [-0.5, 0.5]^3 over all frames.

        The box around the surface in all frames has its longest side 1 and its centre at the
        origin, as the paper scales its objects.

        Args:
            yaw_degrees: turn about +y; 90 brings what faced +z to face +x.

        Raises:
            ValueError: if all vertices coincide, so that there is no size to scale.
        """
        angle = math.radians(yaw_degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        turned = self.positions.astype(np.float64) @ turn.T
        used = turned[:, np.unique(self.faces)].reshape(-1, 3)
        low, high = used.min(0), used.max(0)
        size = float((high - low).max())
        if not size > 1e-30:
            raise ValueError("the mesh has no extent, so it cannot be scaled")
        return replace(self, positions=((turned - (low + high) / 2) / size).astype(np.float32))
