"""Animated glTF 2.0 models: nodes, skins, morph targets and key frames.

Not read: cameras, lights, normal and metal maps, Draco and meshopt compression, Basis textures.
Translucency is a cut at half (or the material's own cut-off); emitted colour replaces darker base
colour; both sides of every face are drawn. What is wrong in a file and other loaders take without
complaint is repaired, with a note.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.gltf_animation import normalized_quaternions, read_animations, transforms
from l4gm.datagen.gltf_file import MAX_ELEMENTS, GltfFile
from l4gm.datagen.gltf_material import Material, MaterialReader
from l4gm.datagen.gltf_scene import GltfScene, Nodes, Part, Skin, Surface
from l4gm.errors import InputError
from l4gm.gaussians.srgb import srgb_encoded

MAX_TRIANGLES = 2_000_000

logger = logging.getLogger(__name__)


def load_gltf(path: str | Path) -> GltfScene:
    """Read a .glb or .gltf file.

    Args:
        path: the file. External buffers and pictures must lie in its folder or below.

    Returns:
        the file's default scene (its first, if none is marked).

    Raises:
        InputError: in one line that names the file: missing, cut off, malformed, compressed in a
            way that is not read, without triangles, or with more than 2 million of them.
    """
    path = Path(path)
    file = GltfFile(path)
    try:
        scene = _read_scene(file)
        for note in scene.notes:
            logger.warning("%s: %s", path, note)
        return scene
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as problem:
        # The document is foreign data of any shape; whatever does not fit it is the file's fault.
        detail = f"{type(problem).__name__}: {problem}"
        raise file.error(f"is malformed glTF ({detail[:120]})") from None
    except (struct.error, RecursionError, MemoryError) as problem:
        raise file.error(f"cannot be read ({type(problem).__name__})") from None


def _read_scene(file: GltfFile) -> GltfScene:
    nodes = _read_nodes(file)
    skins = tuple(_read_skin(file, i) for i in range(len(file.document.get("skins", []))))
    parts: list[Part] = []
    pieces: list[tuple[NDArray[Any], ...]] = []
    reader = MaterialReader(file)
    num_vertices = num_triangles = 0
    for node in _visible_nodes(file):
        entry = file.entry("nodes", node)
        if "mesh" not in entry:
            continue
        instances = _read_instances(file, entry)
        for primitive in file.entry("meshes", entry["mesh"])["primitives"]:
            if primitive.get("mode", 4) not in (4, 5, 6):
                continue  # points and lines have no surface
            part, faces = _read_part(file, node, entry.get("skin"), primitive, skins)
            material = reader.read(primitive.get("material"))
            colors, uv, alpha = _read_colors(file, primitive, material, len(part.positions))
            faces = faces[alpha[faces].mean(1) * material.alpha >= material.cutoff]
            if not len(faces):
                continue
            textures = np.full(len(faces), material.texture if uv is not None else -1, np.int32)
            uv = np.zeros((len(colors), 2)) if uv is None else uv
            smoothing = _read_smoothing(file, primitive, part.positions)
            for instance in instances:
                pieces.append(
                    (faces + num_vertices, colors, uv, textures, smoothing + num_vertices)
                )
                parts.append(part if instance is None else part.moved(instance))
                num_vertices += len(part.positions)
                num_triangles += len(faces)
                if num_triangles > MAX_TRIANGLES or num_vertices > MAX_ELEMENTS // 3:
                    raise file.error(f"has more than {MAX_TRIANGLES} triangles; simplify it")
    if not pieces:
        raise file.error("has no triangles in its scene, or all are see-through")
    faces, colors, uv, textures, smoothing = (
        np.concatenate(group) for group in zip(*pieces, strict=True)
    )
    surface = Surface(
        faces.astype(np.int32),
        colors.astype(np.float32),
        uv.astype(np.float32),
        textures,
        smoothing.astype(np.int32),
        tuple(reader.pictures),
    )
    num_weights = [len(weights) for weights in nodes.weights]
    animations = read_animations(file, num_weights)
    return GltfScene(
        file.path.stem, animations, nodes, skins, tuple(parts), surface, tuple(file.notes)
    )


def _read_nodes(file: GltfFile) -> Nodes:
    entries = file.document.get("nodes", [])
    count = len(entries)
    translation, scale = np.zeros((count, 3)), np.ones((count, 3))
    rotation = np.tile([0.0, 0.0, 0.0, 1.0], (count, 1))
    parents = np.full(count, -1, np.intp)
    matrices: dict[int, NDArray[np.float64]] = {}
    weights: list[NDArray[np.float64]] = []
    for index in range(count):
        entry = file.entry("nodes", index)
        translation[index] = entry.get("translation", [0, 0, 0])
        rotation[index] = entry.get("rotation", [0, 0, 0, 1])
        scale[index] = entry.get("scale", [1, 1, 1])
        if "matrix" in entry:
            matrices[index] = np.array(entry["matrix"], np.float64).reshape(4, 4).T
        weights.append(_rest_weights(file, entry))
        for child in entry.get("children", []):
            file.entry("nodes", child)
            if parents[child] >= 0:
                raise file.error(f"has nodes[{child}] under two parents")
            parents[child] = index
    numbers = [translation, rotation, scale, *matrices.values(), *weights]
    if not all(np.isfinite(array).all() for array in numbers):
        raise file.error("has a node transform that is not finite")
    order, stack = [], [node for node in range(count) if parents[node] < 0]
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(entries[node].get("children", []))
    if len(order) != count:
        raise file.error("has nodes that are their own ancestors")
    return Nodes(
        translation, normalized_quaternions(rotation), scale, matrices, weights, parents, order
    )


def _rest_weights(file: GltfFile, node: dict[str, Any]) -> NDArray[np.float64]:
    """[M] morph weights of a node before any animation."""
    if "mesh" not in node:
        return np.zeros(0)
    mesh = file.entry("meshes", node["mesh"])
    count = max((len(p.get("targets", [])) for p in mesh["primitives"]), default=0)
    rest = node.get("weights", mesh.get("weights")) or [0.0] * count
    if len(rest) != count:
        file.repaired(f"a mesh of {count} morph targets has {len(rest)} weights")
        rest = [*rest, *[0.0] * count][:count]
    return np.array(rest, np.float64)


def _visible_nodes(file: GltfFile) -> list[int]:
    """The nodes of the default scene; of a file without scenes, all."""
    document = file.document
    if document.get("scenes"):
        stack = list(file.entry("scenes", document.get("scene", 0)).get("nodes", []))
    else:
        entries = document.get("nodes", [])
        below = {child for entry in entries for child in entry.get("children", [])}
        stack = [node for node in range(len(entries)) if node not in below]
    seen = set()
    while stack:
        node = stack.pop()
        entry = file.entry("nodes", node)
        if not entry.get("extensions", {}).get("KHR_node_visibility", {}).get("visible", True):
            continue  # nor is what lies below it
        seen.add(node)
        stack.extend(entry.get("children", []))
    return sorted(seen)


def _read_instances(file: GltfFile, node: dict[str, Any]) -> Sequence[NDArray[np.float64] | None]:
    """Where a node shows its mesh, [4, 4] each (EXT_mesh_gpu_instancing); else once, unmoved."""
    extension = node.get("extensions", {}).get("EXT_mesh_gpu_instancing")
    if extension is None:
        return [None]
    attributes = extension["attributes"]
    columns = {
        name: file.accessor(attributes[name], kind).astype(np.float64)
        for name, kind in (("TRANSLATION", "VEC3"), ("ROTATION", "VEC4"), ("SCALE", "VEC3"))
        if name in attributes
    }
    counts = {len(values) for values in columns.values()}
    if len(counts) != 1:
        raise file.error(f"has instances of {sorted(counts)} places, turns and sizes")
    (count,) = counts
    if count > MAX_TRIANGLES:
        raise file.error(f"has {count} instances of a mesh; simplify it")
    return list(
        transforms(
            columns.get("TRANSLATION", np.zeros((count, 3))),
            normalized_quaternions(columns.get("ROTATION", np.tile([0.0, 0, 0, 1], (count, 1)))),
            columns.get("SCALE", np.ones((count, 3))),
        )
    )


def _read_skin(file: GltfFile, index: int) -> Skin:
    entry = file.entry("skins", index)
    for joint in entry["joints"]:
        file.entry("nodes", joint)
    joints = np.array(entry["joints"], np.intp)
    if "inverseBindMatrices" not in entry:
        return Skin(joints, np.tile(np.eye(4), (len(joints), 1, 1)))
    numbers = file.accessor(entry["inverseBindMatrices"], "MAT4").astype(np.float64)
    if len(numbers) < len(joints):
        raise file.error(f"has {len(numbers)} bind matrices for {len(joints)} joints")
    # glTF stores matrices column by column.
    return Skin(joints, numbers[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1))


def _read_part(
    file: GltfFile, node: int, skin: int | None, primitive: dict[str, Any], skins: tuple[Skin, ...]
) -> tuple[Part, NDArray[np.int64]]:
    """A primitive's vertices and its triangles [F, 3]."""
    attributes = primitive["attributes"]
    if "KHR_draco_mesh_compression" in primitive.get("extensions", {}):
        raise file.error("needs Draco compression; export it without")
    positions = file.accessor(attributes["POSITION"], "VEC3").astype(np.float64)
    count = len(positions)
    if "indices" in primitive:
        indices = file.accessor(primitive["indices"], "SCALAR")[:, 0].astype(np.int64)
    else:
        indices = np.arange(count)
    if len(indices) and (indices.min() < 0 or indices.max() >= count):
        raise file.error(f"has a triangle of vertex {indices.max()}, of {count} vertices")
    displacements = [
        file.accessor(target["POSITION"], "VEC3") if "POSITION" in target else np.zeros((count, 3))
        for target in primitive.get("targets", [])
    ]
    if any(len(target) != count for target in displacements):
        raise file.error(f"has a morph target of another length than its {count} vertices")
    targets = np.array(displacements, np.float32).reshape(len(displacements), count, 3)
    joints, weights = np.zeros((count, 0), np.intp), np.zeros((count, 0))
    if skin is not None and "JOINTS_0" in attributes:
        file.entry("skins", skin)
        joints, weights = _read_influences(file, attributes, count, len(skins[skin].joints))
    else:
        skin = None
    return Part(node, positions, targets, skin, joints, weights), _triangles(
        file, indices, primitive.get("mode", 4)
    )


def _triangles(file: GltfFile, indices: NDArray[np.int64], mode: int) -> NDArray[np.int64]:
    """[F, 3] from a list (mode 4), strip (5) or fan (6) of vertices."""
    if mode == 4:
        if len(indices) % 3:
            file.repaired("the last vertices of a triangle list, which make no triangle, left out")
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    if len(indices) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == 6:
        middle = indices[1:]
        return np.stack([np.full(len(middle) - 1, indices[0]), middle[:-1], middle[1:]], 1)
    faces = np.stack([indices[:-2], indices[1:-1], indices[2:]], 1)
    faces[1::2] = faces[1::2, [0, 2, 1]]
    return faces


def _read_influences(
    file: GltfFile, attributes: dict[str, Any], count: int, num_joints: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """[P, K] joints and weights of all sets, weights scaled to sum to 1."""
    joints, weights = [], []
    for number in range(8):
        if f"JOINTS_{number}" not in attributes:
            break
        joints.append(file.accessor(attributes[f"JOINTS_{number}"], "VEC4").astype(np.intp))
        weight = file.accessor(attributes[f"WEIGHTS_{number}"], "VEC4", finite=False)
        weights.append(weight.astype(np.float64))
    joint, weight = np.concatenate(joints, 1), np.concatenate(weights, 1)
    if joint.shape != weight.shape or len(joint) != count:
        raise file.error(
            f"has joints {joint.shape} and weights {weight.shape} for {count} vertices"
        )
    # Exporters that divide by the sum of no weights leave NaN behind.
    weight = np.maximum(np.where(np.isfinite(weight), weight, 0.0), 0.0)
    joint = np.where(weight > 0, joint, 0)
    if joint.size and (joint.min() < 0 or joint.max() >= num_joints):
        raise file.error(f"has a vertex on joint {joint.max()}, of {num_joints} joints")
    total = weight.sum(1, keepdims=True)
    # Loose vertices without weights follow the first joint.
    weight[:, :1] = np.where(total > 0, weight[:, :1], 1.0)
    return joint, weight / np.where(total > 0, total, 1.0)


def _read_colors(
    file: GltfFile, primitive: dict[str, Any], material: Material, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64]]:
    """[P, 3] display colours, [P, 2] texture coordinates (None: no texture is used), [P] alpha."""
    attributes = primitive["attributes"]
    colors, alpha = np.tile(material.color, (count, 1)), np.ones(count)
    if "COLOR_0" in attributes:
        values = file.accessor(attributes["COLOR_0"], "VEC3", "VEC4").astype(np.float64)
        if len(values) != count:
            raise file.error(f"has {len(values)} vertex colours for {count} vertices")
        colors = colors * srgb_encoded(values[:, :3])
        alpha = values[:, 3] if values.shape[1] == 4 else alpha
    name = f"TEXCOORD_{material.uv_set}"
    if material.texture < 0 or name not in attributes:
        return colors, None, alpha
    uv = file.accessor(attributes[name], "VEC2")
    if len(uv) != count:
        raise file.error(f"has {len(uv)} texture coordinates for {count} vertices")
    return colors, material.texture_coordinates(uv), alpha


def _read_smoothing(
    file: GltfFile, primitive: dict[str, Any], positions: NDArray[np.float64]
) -> NDArray[np.int64]:
    """[P] numbers of the vertices that share a normal: equal position and equal stored normal."""
    if "NORMAL" not in primitive["attributes"]:
        return np.arange(len(positions))
    normals = file.accessor(primitive["attributes"]["NORMAL"], "VEC3")
    if len(normals) != len(positions):
        raise file.error(f"has {len(normals)} normals for {len(positions)} vertices")
    keys = np.concatenate([positions, np.round(normals.astype(np.float64), 3)], 1) + 0.0
    rows = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.itemsize * 6)))[:, 0]
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    return first[group]
