"""Blender's scene: what moves, where it is, how it is lit and seen.

The object stays where its file puts it, and the cameras are moved and scaled to it, so that rigs,
constraints and simulations are left alone. Our world (y up) is Blender's (z up) turned by
`BLENDER_FROM_WORLD`; glTF's front, +z, is then Blender's -y.

Runs inside Blender's Python: only the standard library, NumPy and bpy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import bpy
import mathutils
import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.farm_serve import RefusalError

BLENDER_FROM_WORLD = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64)
# Euler angles in degrees, and the strengths to draw from, of the paper's four suns: those of the
# rendering script of Objaverse-XL. A sun that is not turned shines straight down.
SUNS = {
    "key": ((45, 0, -45), (3, 4, 5)),
    "fill": ((45, 0, 135), (2, 3, 4)),
    "rim": ((-45, 0, -225), (3, 4, 5)),
    "bottom": ((180, 0, 0), (1, 2, 3)),
}


def fbx_takes() -> dict[str, list[Any]]:
    """The actions of each take of an imported FBX file, named OBJECT|...|TAKE by the importer."""
    takes: dict[str, list[Any]] = {}
    for action in bpy.data.actions:
        takes.setdefault(action.name.split("|")[-1], []).append(action)
    return takes


def frames(actions: list[Any]) -> tuple[float, float]:
    """First and last key frame of some actions; zeros of none."""
    ranges = [action.frame_range for action in actions] or [(0.0, 0.0)]
    return float(min(first for first, _ in ranges)), float(max(last for _, last in ranges))


def play(actions: list[Any]) -> None:
    """Give the objects of a take its actions."""
    for action in actions:
        name = action.name.split("|")[0]
        for owner in (*bpy.data.objects, *bpy.data.shape_keys):
            if owner.name != name or owner.animation_data is None:
                continue
            owner.animation_data.action = action
            if action.slots:
                owner.animation_data.action_slot = action.slots[0]


def playing() -> list[Any]:
    """The actions that move something."""
    blocks = [*bpy.data.objects, *bpy.data.shape_keys, *bpy.data.materials, *bpy.data.node_groups]
    found = [block.animation_data for block in blocks]
    return [data.action for data in found if data is not None and data.action is not None]


def is_animated() -> bool:
    if playing() or len(bpy.data.cache_files):
        return True
    data = [thing.animation_data for thing in bpy.data.objects if thing.animation_data is not None]
    return any(len(entry.nla_tracks) or len(entry.drivers) for entry in data)


def go_to(frame: float) -> None:
    whole = math.floor(frame)
    bpy.context.scene.frame_set(whole, subframe=frame - whole)


def _surfaces() -> Iterator[tuple[Any, NDArray[np.float64]]]:
    """(mesh, world matrix [4, 4]) of everything that a rendering of this frame shows."""
    graph = bpy.context.evaluated_depsgraph_get()
    for instance in graph.object_instances:
        thing = instance.object
        if thing.type not in ("MESH", "CURVE", "SURFACE", "FONT", "META"):
            continue
        if thing.original.hide_render or not instance.show_self:
            continue
        mesh = thing.to_mesh()
        if mesh is None:
            continue
        yield mesh, np.array(instance.matrix_world, np.float64)
        thing.to_mesh_clear()


def count_triangles() -> int:
    return sum(len(mesh.loops) - 2 * len(mesh.polygons) for mesh, _ in _surfaces())


def bounds(places: list[float]) -> tuple[NDArray[np.float64], float]:
    """Centre and longest side of the box around the surface at these places in time (frames).

    In Blender's axes and the file's units; loose vertices do not count.
    """
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for place in places:
        go_to(place)
        for mesh, matrix in _surfaces():
            points = np.empty(3 * len(mesh.vertices), np.float32)
            mesh.vertices.foreach_get("co", points)
            corners = np.empty(len(mesh.loops), np.int32)
            mesh.loops.foreach_get("vertex_index", corners)
            used = np.zeros(len(mesh.vertices), bool)
            used[corners] = True
            if not used.any():
                continue
            points_now = points.reshape(-1, 3)[used] @ matrix[:3, :3].T + matrix[:3, 3]
            if not np.isfinite(points_now).all():
                raise RefusalError("not finite", "a vertex is at no finite place")
            low, high = np.minimum(low, points_now.min(0)), np.maximum(high, points_now.max(0))
    size = float((high - low).max())
    if not 1e-30 < size < 1e30:
        raise RefusalError("no extent", "nothing with a size is visible")
    return (low + high) / 2, size


def remove_cameras_and_lights() -> None:
    """All of them, whoever made them."""
    for thing in list(bpy.data.objects):
        if thing.type in ("CAMERA", "LIGHT", "LIGHT_PROBE", "SPEAKER"):
            bpy.data.objects.remove(thing)


def place_camera(pose: NDArray[np.float32], center: NDArray[np.float64], size: float) -> None:
    """Where a camera of the unit cube's world stands around the object as it is in the file."""
    matrix = np.eye(4)
    # Columns: OpenCV's x right, y down, z forward; Blender's x right, y up, z backward.
    matrix[:3, :3] = BLENDER_FROM_WORLD @ pose[:3, :3] @ np.diag([1.0, -1.0, -1.0])
    matrix[:3, 3] = center + size * (BLENDER_FROM_WORLD @ pose[:3, 3])
    bpy.context.scene.camera.matrix_world = mathutils.Matrix(matrix.tolist())


def set_engine(settings: dict[str, Any]) -> None:
    scene = bpy.context.scene
    if settings["engine"] == "eevee":
        scene.render.engine = "BLENDER_EEVEE"
        scene.eevee.taa_render_samples = settings["samples"]
        return
    scene.render.engine = "CYCLES"
    cycles = scene.cycles
    cycles.samples, cycles.seed = settings["samples"], 0
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = settings["denoise"]
    cycles.denoiser = "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "NONE"  # a quarter of the time of the default, ACCURATE
    cycles.device = "GPU" if settings["device"] == "gpu" else "CPU"
    if settings["device"] == "gpu":
        _use_gpu()


def _use_gpu() -> None:
    preferences = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI"):
        try:
            preferences.compute_device_type = kind
        except TypeError:  # not among the choices of this build
            continue
        preferences.refresh_devices()
        cards = [device for device in preferences.devices if device.type == kind]
        for device in preferences.devices:
            device.use = device.type == kind
        if cards:
            return
    raise RuntimeError("Cycles finds no graphics card; leave out the GPU option")


def set_light(settings: dict[str, Any]) -> None:
    """The paper's four suns with strengths drawn from the object's seed, or an environment map."""
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    nodes, links = scene.world.node_tree.nodes, scene.world.node_tree.links
    nodes.clear()
    background = nodes.new("ShaderNodeBackground")
    links.new(nodes.new("ShaderNodeOutputWorld").inputs["Surface"], background.outputs[0])
    if settings["environment"]:
        picture = nodes.new("ShaderNodeTexEnvironment")
        picture.image = bpy.data.images.load(settings["environment"])
        links.new(background.inputs["Color"], picture.outputs["Color"])
        return
    background.inputs["Color"].default_value = (0.0, 0.0, 0.0, 1.0)
    generator = np.random.default_rng(settings["light_seed"])
    for name, (degrees, strengths) in SUNS.items():
        sun = bpy.data.lights.new(name, "SUN")
        sun.energy = float(strengths[generator.integers(len(strengths))])
        lamp = bpy.data.objects.new(name, sun)
        lamp.rotation_euler = [math.radians(angle) for angle in degrees]
        scene.collection.objects.link(lamp)
