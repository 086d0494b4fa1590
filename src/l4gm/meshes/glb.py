"""Meshes of an animation as one binary glTF file that needs no extension to play.

glTF has no meshes that change their triangles. Every frame is therefore a node of its own, and an
animation of steps gives one of them its size at a time and the others none: what viewers, Blender
among them, have always known.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np

from l4gm.errors import InputError
from l4gm.gaussians.glb_container import GlbBuilder
from l4gm.gaussians.srgb import srgb_decoded
from l4gm.meshes.mesh import Mesh, vertex_normals


def write_mesh_glb(path: str | os.PathLike[str], meshes: Iterable[Mesh | None], fps: float) -> None:
    """Write the meshes of all frames, whole or not at all; y is up.

    Where no animation is played, the first frame shows.

    Args:
        path: the file to write; replaced if it exists.
        meshes: of each frame in order; None where there is nothing to see.
        fps: frames per second.

    Raises:
        InputError: there is nothing to see in any frame, or the file cannot be made there.
    """
    builder = GlbBuilder()
    gltf_meshes: list[dict[str, Any]] = []
    frames: list[int] = []  # of each mesh
    count = 0
    for mesh in meshes:
        if mesh is not None:
            gltf_meshes.append(
                {"name": f"frame_{count:04d}", "primitives": [_primitive(builder, mesh)]}
            )
            frames.append(count)
        count += 1
    if not gltf_meshes:
        raise InputError(f"{path}: nothing solid is to be seen in any frame, so there is no mesh")
    nodes: list[dict[str, Any]] = [
        {"name": "object", "children": list(range(1, len(gltf_meshes) + 1))}
    ]
    for index, mesh_entry in enumerate(gltf_meshes):
        node = {"name": mesh_entry["name"], "mesh": index}
        nodes.append(node if index == 0 else {**node, "scale": [0.0, 0.0, 0.0]})
    document: dict[str, Any] = {
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": gltf_meshes,
        "materials": [
            {
                "name": "surface",
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0},
            }
        ],
    }
    if count > 1:
        document["animations"] = [_steps(builder, frames, count, fps)]
    builder.write(path, document)


def _primitive(builder: GlbBuilder, mesh: Mesh) -> dict[str, Any]:
    # Linear light, as glTF wants it, in 16 bits: 8 are too few in the dark.
    rgba = np.full((len(mesh.colors), 4), 65535, np.uint16)
    rgba[:, :3] = np.rint(srgb_decoded(mesh.colors) * 65535)
    return {
        "attributes": {
            "POSITION": builder.attribute(mesh.positions, bounds=True),
            "NORMAL": builder.attribute(vertex_normals(mesh.positions, mesh.faces)),
            "COLOR_0": builder.attribute(rgba),
        },
        "indices": builder.indices(mesh.faces),
        "material": 0,
    }


def _steps(builder: GlbBuilder, frames: list[int], count: int, fps: float) -> dict[str, Any]:
    """The animation that shows node 1 + i from frame `frames[i]` until the next."""
    outputs: dict[tuple[float, ...], int] = {}
    samplers, channels = [], []
    for index, frame in enumerate(frames):
        keys = [(0.0, 0.0), (frame / fps, 1.0), ((frame + 1) / fps, 0.0)]
        if frame == 0:
            keys = keys[1:]
        if frame == count - 1:
            keys[-1] = (keys[-1][0], 1.0)  # the last holds for its own time too
        times = np.array([[time] for time, _ in keys], np.float32)
        sizes = tuple(size for _, size in keys)
        if sizes not in outputs:
            values = np.repeat(np.array(sizes, np.float32)[:, None], 3, 1)
            outputs[sizes] = builder.keys(values)
        samplers.append(
            {"input": builder.keys(times), "output": outputs[sizes], "interpolation": "STEP"}
        )
        channels.append({"sampler": index, "target": {"node": index + 1, "path": "scale"}})
    return {"name": "frames", "samplers": samplers, "channels": channels}
