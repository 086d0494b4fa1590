"""A loaded animated model, and its vertices at any time of any of its animations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.gltf_animation import Animation, sample, transforms
from l4gm.errors import InputError

_FAR = 100.0  # object sizes from the origin


@dataclass(frozen=True)
class Skin:
    """joints [J] node indices and their inverse bind matrices [J, 4, 4]."""

    joints: NDArray[np.intp]
    inverse_bind: NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """One primitive of one node: what is needed to place its vertices.

    Args:
        node: the node that shows it.
        positions: [P, 3] at rest.
        targets: [M, P, 3] morph displacements.
        skin: index into the scene's skins, or None.
        joints, weights: [P, K] influences, weights summing to 1.
    """

    node: int
    positions: NDArray[np.float64]
    targets: NDArray[np.float32]
    skin: int | None
    joints: NDArray[np.intp]
    weights: NDArray[np.float64]

    def moved(self, matrix: NDArray[np.float64]) -> Part:
        """The same part under another transform [4, 4], within its node."""
        linear = matrix[:3, :3].T
        return replace(
            self,
            positions=self.positions @ linear + matrix[:3, 3],
            targets=(self.targets @ linear).astype(np.float32),
        )


@dataclass(frozen=True)
class Surface:
    """What does not move, of all parts one after the other; the fields are AnimatedMesh's."""

    faces: NDArray[np.int32]
    colors: NDArray[np.float32]
    uv: NDArray[np.float32]
    face_textures: NDArray[np.int32]
    smoothing: NDArray[np.int32]
    textures: tuple[NDArray[np.uint8], ...]


@dataclass(frozen=True)
class Nodes:
    """The node tree at rest: local transforms, parents, and an order with parents first."""

    translation: NDArray[np.float64]
    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    matrices: dict[int, NDArray[np.float64]]
    weights: list[NDArray[np.float64]]
    parents: NDArray[np.intp]
    order: list[int]


@dataclass(frozen=True)
class GltfScene:
    """A loaded model, ready to be posed at any time of any of its animations.

    Args:
        name: file name without its ending.
        animations: in the file's order; each has a `name` and `duration_seconds`.
        notes: what was repaired on reading, in words.
    """

    name: str
    animations: tuple[Animation, ...]
    nodes: Nodes
    skins: tuple[Skin, ...]
    parts: tuple[Part, ...]
    surface: Surface
    notes: tuple[str, ...] = ()

    @property
    def num_triangles(self) -> int:
        return len(self.surface.faces)

    def animated_mesh(
        self,
        animation_index: int | None,
        start_seconds: float = 0.0,
        num_frames: int = 24,
        fps: float = 24.0,
    ) -> AnimatedMesh:
        """The model in motion: frame k shows time `start_seconds + k / fps`.

        Times wrap around at the animation's duration. A model so far off that float32 would not
        hold its shape is moved, as a whole, to the origin.

        Args:
            animation_index: into `animations`; None shows the rest pose, still.
            start_seconds: of the first frame, from the animation's beginning.
            num_frames, fps: of the mesh.

        Raises:
            ValueError: if there is no such animation, or a number is not positive.
            InputError: if the pose is not finite.
        """
        if num_frames < 1 or not fps > 0:
            raise ValueError(f"need num_frames >= 1 and fps > 0, got {num_frames} and {fps}")
        times = start_seconds + np.arange(num_frames) / fps
        label = self.name
        animation = None
        if animation_index is not None:
            if not 0 <= animation_index < len(self.animations):
                raise ValueError(f"{self.name} has no animation {animation_index}")
            animation = self.animations[animation_index]
            label = f"{self.name}/{animation.name}"
            duration = animation.duration_seconds
            times = times % duration if duration > 0 else np.zeros(num_frames)
        surface = self.surface
        with np.errstate(over="ignore", invalid="ignore"):
            positions = self._positions(animation, times)
        if not np.isfinite(positions).all():
            raise InputError(f"{label} moves vertices to positions that are not finite")
        return AnimatedMesh(
            positions=positions,
            faces=surface.faces,
            colors=surface.colors,
            uv=surface.uv,
            face_textures=surface.face_textures,
            textures=surface.textures,
            smoothing=surface.smoothing,
            fps=fps,
            name=label,
        )

    def _positions(
        self, animation: Animation | None, times: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """[T, P, 3] of all vertices."""
        world, weights = self._pose(animation, times)
        out = np.empty((len(times), len(self.surface.colors), 3), np.float32)
        offset = np.zeros(3)
        for t in range(len(times)):
            exact = np.concatenate([self._placed(part, world, weights, t) for part in self.parts])
            if t == 0:
                used = exact[np.unique(self.surface.faces)]
                low, high = used.min(0), used.max(0)
                if np.abs(low + high).max() / 2 > _FAR * (high - low).max():
                    offset = (low + high) / 2
            out[t] = exact - offset
        return out

    def _placed(
        self,
        part: Part,
        world: NDArray[np.float64],
        weights: list[NDArray[np.float64]],
        t: int,
    ) -> NDArray[np.float64]:
        """[P, 3] of one part at the pose's time `t`."""
        points = part.positions
        if len(part.targets):
            # Only in broken files do a mesh's primitives differ in their number of targets.
            active = weights[part.node][t][: len(part.targets)]
            points = points + np.tensordot(active, part.targets[: len(active)], 1)
        if part.skin is None:
            matrix = world[t, part.node]
            return points @ matrix[:3, :3].T + matrix[:3, 3]
        skin = self.skins[part.skin]
        bones = world[t, skin.joints] @ skin.inverse_bind  # [J, 4, 4]
        return _skinned(points, part, bones)

    def _pose(
        self, animation: Animation | None, times: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """World matrices [T, nodes, 4, 4] and the morph weights [T, M] of every node."""
        nodes, count = self.nodes, len(times)
        local = {
            "translation": np.repeat(nodes.translation[None], count, 0),
            "rotation": np.repeat(nodes.rotation[None], count, 0),
            "scale": np.repeat(nodes.scale[None], count, 0),
        }
        weights = [np.repeat(rest[None], count, 0) for rest in nodes.weights]
        for channel in animation.channels if animation else ():
            values = sample(channel, times)
            if channel.path == "weights":
                weights[channel.node] = values
            else:
                local[channel.path][:, channel.node] = values
        world = transforms(local["translation"], local["rotation"], local["scale"])
        for node, matrix in nodes.matrices.items():
            world[:, node] = matrix
        for node in nodes.order:
            parent = nodes.parents[node]
            if parent >= 0:
                world[:, node] = world[:, parent] @ world[:, node]
        return world, weights


def _skinned(
    points: NDArray[np.float64], part: Part, bones: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[P, 3] linear blend skinning: a vertex moves by the weighted mean of its bones' matrices."""
    flat = bones[:, :3].reshape(len(bones), 12)
    blended = np.zeros((len(points), 12))
    for k in range(part.joints.shape[1]):
        blended += part.weights[:, k, None] * flat[part.joints[:, k]]
    matrices = blended.reshape(-1, 3, 4)
    return np.einsum("pij,pj->pi", matrices[:, :, :3], points) + matrices[:, :, 3]
