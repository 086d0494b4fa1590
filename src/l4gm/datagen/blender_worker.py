"""Renders clips inside Blender's own Python, one object a process, as the farm asks for them.

    PYTHON-WITH-BPY blender_worker.py --reply-fd 5
    blender --background --factory-startup --python blender_worker.py -- --reply-fd 5

This module and those it imports use nothing but the standard library, NumPy, bpy, `data.layout` and
each other.
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np

if __name__ == "__main__":  # the package is found, but nothing beside it shadows Blender's own
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from l4gm.data.layout import ClipFacts, StoredCameras, StoredClip, StoredView
from l4gm.datagen.blender_gltf import (
    GLTF_SUFFIXES,
    gltf_animations,
    read_gltf,
    write_single_animation,
)
from l4gm.datagen.blender_scene import (
    BLENDER_FROM_WORLD,
    bounds,
    count_triangles,
    fbx_takes,
    frames,
    go_to,
    is_animated,
    place_camera,
    play,
    playing,
    remove_cameras_and_lights,
    set_engine,
    set_light,
)
from l4gm.datagen.farm_serve import RefusalError, serve

SUFFIXES = (*GLTF_SUFFIXES, ".fbx", ".blend", ".usd", ".usda", ".usdc", ".usdz")


class BlenderRenderer:
    """Cycles or EEVEE, on the file that was opened last.

    Args:
        scratch: folder for what Blender leaves, removed by whoever made it.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.path = Path()
        self.settings: dict[str, Any] = {}
        self.shown: int | None = None

    def open(self, path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """The animations of a file that can be read, moves, and shows something."""
        self.path, self.settings, self.shown = path, settings, None
        if path.suffix.lower() not in SUFFIXES:
            raise RefusalError(
                "unknown format", f"{path.name}; expected one of {' '.join(SUFFIXES)}"
            )
        if not path.is_file():
            raise RefusalError("missing file", str(path))
        animations = self._animations()
        if not animations:
            raise RefusalError("no animation", "the file holds no animation")
        self._show(0)
        count = count_triangles()
        if not count:
            raise RefusalError("no triangles", "the file shows no surface")
        if count > settings["max_triangles"]:
            raise RefusalError(
                "too many triangles", f"{count}, more than {settings['max_triangles']}"
            )
        for index, animation in enumerate(animations):
            if animation["seconds"] is None:
                self._show(index)
                animation["seconds"] = self._duration_seconds()
        return animations

    def render(
        self, animation: int, start_seconds: float, cameras: StoredCameras, facts: ClipFacts
    ) -> StoredClip:
        """All frames from all cameras; times wrap around at the animation's end."""
        self._show(animation)
        duration = self._duration_seconds()
        seconds = start_seconds + np.arange(facts.num_frames) / facts.fps
        seconds = seconds % duration if duration > 0 else 0 * seconds
        places = [self.first_frame + self.file_fps * float(second) for second in seconds]
        center, size = bounds(places)
        self._set_up(cameras, size)
        pictures: list[list[bytes]] = [[] for _ in cameras.world_from_camera]
        for place in places:
            go_to(place)
            for view, pose in enumerate(cameras.world_from_camera):
                place_camera(pose, center, size)
                pictures[view].append(self._picture())
        details = {
            "center": [float(value) for value in BLENDER_FROM_WORLD.T @ center],
            "size": size,
        }
        return StoredClip(
            facts=replace(facts, details=facts.details | details),
            cameras=cameras,
            views=tuple(StoredView(pictures=tuple(view), suffix="png") for view in pictures),
        )

    def _animations(self) -> list[dict[str, Any]]:
        """Names, and durations where they can be had without loading each."""
        suffix = self.path.suffix.lower()
        if suffix in GLTF_SUFFIXES:
            return gltf_animations(read_gltf(self.path).document)
        self._load(0)
        if suffix == ".fbx":
            ranges = {name: frames(actions) for name, actions in fbx_takes().items()}
            return [
                {"name": name, "seconds": (last - first) / self.file_fps}
                for name, (first, last) in ranges.items()
            ]
        # The scene as it plays; what is not animated at all is refused.
        return [{"name": "scene", "seconds": None}] if is_animated() else []

    def _show(self, animation: int) -> None:
        if self.shown != animation:
            self.shown = None
            self._load(animation)
            self.shown = animation

    def _load(self, animation: int) -> None:
        """A scene with the file's object, moving by one animation."""
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.context.preferences.filepaths.use_scripts_auto_execute = False
        bpy.context.scene.render.fps = round(self.settings["fps"])
        try:
            self._import(animation)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise RefusalError("unreadable", f"Blender cannot read it ({error})") from error
        for picture in bpy.data.images:
            lost = picture.source == "FILE" and picture.users and not picture.packed_file
            if lost and not Path(bpy.path.abspath(picture.filepath)).is_file():
                raise RefusalError("missing file", f"texture {picture.filepath}")

    def _import(self, animation: int) -> None:
        self.first_frame = 0.0
        suffix = self.path.suffix.lower()
        if suffix in GLTF_SUFFIXES:
            # The importer brings all animations but plays one: the file is cut to that one first.
            # Without the last argument an icosphere is added that spoils the bounds.
            cut = self.scratch / f"cut{suffix}"
            write_single_animation(self.path, animation, cut)
            bpy.ops.import_scene.gltf(filepath=str(cut), disable_bone_shape=True)
            cut.unlink()
        elif suffix == ".fbx":
            bpy.ops.import_scene.fbx(filepath=str(self.path), anim_offset=0.0)
            takes = list(fbx_takes().values())
            if takes:
                play(takes[animation])
                self.first_frame, _ = frames(takes[animation])
        elif suffix == ".blend":
            bpy.ops.wm.open_mainfile(filepath=str(self.path), load_ui=False, use_scripts=False)
            self.first_frame = float(bpy.context.scene.frame_start)
        else:
            bpy.ops.wm.usd_import(filepath=str(self.path))
            self.first_frame = float(bpy.context.scene.frame_start)
        render = bpy.context.scene.render
        self.file_fps = render.fps / render.fps_base

    def _duration_seconds(self) -> float:
        """Of the animation that is shown."""
        scene = bpy.context.scene
        if self.path.suffix.lower() in (*GLTF_SUFFIXES, ".fbx"):
            last = frames(playing())[1]
        else:
            last = scene.frame_end
        return max(float(last) - self.first_frame, 0.0) / self.file_fps

    def _set_up(self, cameras: StoredCameras, size: float) -> None:
        """Everything about the pictures but the camera's place."""
        remove_cameras_and_lights()  # those of the file, and ours of the clip before
        scene, settings = bpy.context.scene, self.settings
        render, view = scene.render, scene.view_settings
        render.resolution_x, render.resolution_y = cameras.width, cameras.height
        render.resolution_percentage = 100
        render.use_border = render.use_compositing = render.use_sequencer = False
        render.use_motion_blur = render.use_stamp = render.use_simplify = False
        render.film_transparent = True
        render.use_persistent_data = True  # nothing but the camera moves between the views
        render.dither_intensity = 0.0
        render.threads_mode, render.threads = "FIXED", settings["threads"]
        render.filepath = str(self.scratch / "picture.png")
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode, render.image_settings.color_depth = "RGBA", "8"
        scene.display_settings.display_device = "sRGB"
        view.view_transform, view.look = "Standard", "None"  # the default, AgX, changes colours
        view.exposure, view.gamma, view.use_curve_mapping = 0.0, 1.0, False
        set_engine(settings)
        set_light(settings)
        lens = bpy.data.cameras.new("camera")
        lens.sensor_fit = "VERTICAL"
        lens.angle = 2 * math.atan(cameras.height / (2 * float(cameras.intrinsics[0, 1, 1])))
        lens.clip_start, lens.clip_end = cameras.near * size, cameras.far * size
        scene.camera = bpy.data.objects.new("camera", lens)
        scene.collection.objects.link(scene.camera)

    def _picture(self) -> bytes:
        path = Path(bpy.context.scene.render.filepath)
        bpy.ops.render.render(write_still=True)
        picture = plain_png(path.read_bytes())
        path.unlink()
        return picture


def plain_png(data: bytes) -> bytes:
    """A PNG without what Blender adds to the pixels: the date, the time taken, the file's name."""
    kept, offset = data[:8], 8
    while offset < len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        end = offset + 12 + size
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept += data[offset:end]
        offset = end
    return kept


def main() -> None:
    """Serve with Blender."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser()
    parser.add_argument("--reply-fd", type=int, required=True)
    reply_fd = parser.parse_args(arguments).reply_fd
    with tempfile.TemporaryDirectory(prefix="blender-") as scratch:
        serve(BlenderRenderer(Path(scratch)), reply_fd)


if __name__ == "__main__":
    main()
