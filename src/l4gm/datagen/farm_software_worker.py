"""A worker that renders glTF models with this package's own renderer.

python -m l4gm.datagen.farm_software_worker --reply-fd 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from l4gm.data.layout import ClipFacts, StoredCameras, StoredClip, StoredView, pack_depth
from l4gm.data.pictures import encode_pictures
from l4gm.datagen.farm_serve import RefusalError, serve
from l4gm.datagen.gltf import load_gltf
from l4gm.datagen.gltf_scene import GltfScene
from l4gm.datagen.motion import EXACT, exact_motion
from l4gm.datagen.software_renderer import Lighting, render_mesh
from l4gm.errors import InputError
from l4gm.geometry.cameras import Cameras

STILL = 1e-4  # of the object's size; what moves less does not move
# What a refusal says, and what it is counted under.
KINDS = {
    "no triangles": "no triangles",
    "more than": "too many triangles",
    "compression": "compressed",
    "Basis": "compressed",
    "needs the extension": "unknown extension",
    "not finite": "not finite",
    "no such file": "missing file",
}


class SoftwareRenderer:
    """l4gm's renderer, on the file that was opened last."""

    def __init__(self) -> None:
        self.scene: GltfScene | None = None
        self.settings: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()

    def open(self, path: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
        """Read a glTF file."""
        self.scene, self.settings, self.notes = None, settings, ()
        if path.suffix.lower() not in (".glb", ".gltf"):
            raise RefusalError("unknown format", f"{path.name}; other than glTF needs Blender")
        try:
            scene = load_gltf(path)
        except InputError as error:
            raise _refusal(error) from error
        if not scene.animations:
            raise RefusalError("no animation", "the file holds no animation")
        count, most = scene.num_triangles, settings["max_triangles"]
        if count > most:
            raise RefusalError("too many triangles", f"{count}, more than {most}")
        self.scene, self.notes = scene, scene.notes
        return [
            {"name": animation.name, "seconds": animation.duration_seconds}
            for animation in scene.animations
        ]

    def render(
        self, animation: int, start_seconds: float, cameras: StoredCameras, facts: ClipFacts
    ) -> StoredClip:
        """A clip of one light, drawn from the object's seed."""
        assert self.scene is not None
        try:
            mesh = self.scene.animated_mesh(animation, start_seconds, facts.num_frames, facts.fps)
            mesh = mesh.normalized()
        except ValueError as error:
            raise _refusal(error) from error
        if not self.settings["keep_still"] and mesh.num_frames > 1:
            moved = np.abs(mesh.used_positions - mesh.used_positions[:1]).max()
            if moved < STILL:
                raise RefusalError("still", "nothing moves in this clip; --keep-still renders it")
        lighting = Lighting.random(np.random.default_rng(self.settings["light_seed"]))
        images, depth = render_mesh(mesh, _cameras(cameras), lighting)
        if not images[..., 3].any():
            raise RefusalError("nothing to see", "every picture is empty")
        views = tuple(
            StoredView(
                pictures=(encode_pictures(images[:, view]),),
                suffix="webp",
                depth=pack_depth(depth[:, view]) if self.settings["depth"] else None,
            )
            for view in range(images.shape[1])
        )
        facts = replace(facts, motion=exact_motion(mesh, facts.fps), motion_method=EXACT)
        return StoredClip(facts=facts, cameras=cameras, views=views)


def _cameras(stored: StoredCameras) -> Cameras:
    return Cameras(
        torch.from_numpy(stored.world_from_camera),
        torch.from_numpy(stored.intrinsics),
        stored.width,
        stored.height,
        stored.near,
        stored.far,
    )


def _refusal(error: Exception) -> RefusalError:
    text = str(error)
    kind = next((kind for word, kind in KINDS.items() if word in text), "unreadable")
    return RefusalError(kind, text)


def main() -> None:
    """Serve with the software renderer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reply-fd", type=int, required=True)
    torch.set_num_threads(1)
    serve(SoftwareRenderer(), parser.parse_args().reply_fd)


if __name__ == "__main__":
    main()
