"""Clips with the truth that an occupancy network learns from: what is solid, in which colour, and
where it came from.

Every random choice of a clip comes from (seed, index) alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.carving_kernels import carve_rays
from l4gm.datagen.clips import heldout_model_names
from l4gm.datagen.gltf import GltfScene, load_gltf
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import Lighting, render_mesh, trace_mesh
from l4gm.datagen.surfaces import Surfaces
from l4gm.errors import InputError
from l4gm.geometry.cameras import Cameras, orbit_cameras

FRONT_PX, SIDE_PX = 256, 128
CARVE_PX = 256  # parts thinner than a pixel of these depth images are lost
RAYS, CELLS = 128, 128  # a frame's truth: rays along each side of the image, cells along a ray
NEAR, FAR = 0.92, 2.08  # camera z between which they lie
POINTS = 1024  # coloured surface points of a frame
_COLOR_VIEWS, _DEPTH_VIEWS = 6, 10
_TOLERANCE = 0.006
_MOTION_FRAMES, _MOTION_FPS = 16, (4.0, 8.0, 12.0)
# Purposes of a clip's random streams.
_KIND, _OBJECT, _POSE, _LIGHT, _CAMERAS, _POINTS = range(6)


@dataclass(frozen=True)
class SolidClip:
    """T moments of one object; the first is the one at which the side views were taken.

    Args:
        front: [T, 256, 256, 4] uint8, straight RGBA, from the camera at azimuth 0.
        sides: [3, 128, 128, 4] uint8, of the first moment, from azimuth 90, 180, 270.
        inside: [T, 128, 128, 128] bool (cell, row, column): what is solid along the front camera's
            rays, see `carve_rays`; False beside the silhouette.
        points: [T, M, 3] float16, points of the surface that some camera sees.
        colors: [T, M, 3] uint8, theirs as seen.
        origins: [T, M, 3] float16, where they were at the first moment.
    """

    front: NDArray[np.uint8]
    sides: NDArray[np.uint8]
    inside: NDArray[np.bool_]
    points: NDArray[np.float16]
    colors: NDArray[np.uint8]
    origins: NDArray[np.float16]


class SolidClips:
    """Clips of procedural objects and of glTF models, animated and still.

    Args:
        models: folder of animated models; held-out ones and their twins are left out.
        stills: folder of models that do not move.
        num_frames: T; with 1, every clip is a still moment.
        seed: of everything.
        shares: of procedural, animated and still objects; those that are absent count nothing.

    Raises:
        InputError: a folder without models.
    """

    def __init__(
        self,
        models: Path | None = None,
        stills: Path | None = None,
        num_frames: int = 1,
        seed: int = 0,
        shares: tuple[float, float, float] = (0.3, 0.3, 0.4),
    ) -> None:
        barred = {*heldout_model_names(), *twin_names()}
        self._paths: list[list[Path]] = [[]]
        for folder in (models, stills):
            if folder is not None and not Path(folder).is_dir():
                raise InputError(f"{folder} is not a folder; give the folder of the .glb files")
            found = [] if folder is None else sorted(Path(folder).glob("*.gl*"))
            self._paths.append([path for path in found if path.stem not in barred])
            if folder is not None and not self._paths[-1]:
                raise InputError(f"{folder}: no .glb or .gltf model to train on")
        weights = [
            share if kind == 0 or paths else 0.0
            for kind, (share, paths) in enumerate(zip(shares, self._paths, strict=True))
        ]
        if num_frames > 1:
            weights[2] = 0.0
        self._shares = np.cumsum(weights) / sum(weights)
        self.num_frames, self.seed = num_frames, seed

    def clip(self, index: int) -> SolidClip:
        """The clip of this index. An object that cannot be shown gives its place to another."""
        for attempt in range(20):
            streams = [
                np.random.default_rng([self.seed, index, attempt, purpose]) for purpose in range(6)
            ]
            try:
                mesh = self._mesh(index, streams)
            except (InputError, ValueError):
                continue
            clip = _observe(_posed(mesh, streams[_POSE]), streams)
            if clip is not None:
                return clip
        raise InputError(f"clip {index}: 20 objects in a row could not be shown")

    def _mesh(self, index: int, streams: Sequence[np.random.Generator]) -> AnimatedMesh:
        """[T] moments: the first, and later ones in random steps."""
        kind = int(np.searchsorted(self._shares, streams[_KIND].random(), side="right"))
        choice = streams[_OBJECT]
        fps = float(choice.choice(_MOTION_FPS))
        count = 1 if self.num_frames == 1 else _MOTION_FRAMES
        if kind == 0:
            mesh = procedural_object(int(choice.integers(1 << 62)), count, fps)
        else:
            paths = self._paths[kind]
            mesh = _model_mesh(
                load_gltf(paths[int(choice.integers(len(paths)))]), count, fps, choice
            )
        later = 1 + choice.permutation(count - 1)[: self.num_frames - 1]
        moments = [0, *sorted(later.tolist())]
        # Scaled over all frames, as objects are that a network is judged on.
        mesh = mesh.normalized(choice.uniform(0.0, 360.0))
        return replace(mesh, positions=np.ascontiguousarray(mesh.positions[moments]))


def twin_names() -> tuple[str, ...]:
    """File stems of models too like held-out ones to be trained on."""
    text = files("l4gm.datagen").joinpath("heldout_twins.txt").read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


def _model_mesh(
    scene: GltfScene, count: int, fps: float, choice: np.random.Generator
) -> AnimatedMesh:
    animation, start = None, 0.0
    if scene.animations:
        animation = int(choice.integers(len(scene.animations)))
        start = choice.uniform(0.0, max(scene.animations[animation].duration_seconds, 1e-6))
    mesh = scene.animated_mesh(animation, start, count, fps)
    if choice.random() < 0.6:
        gain = choice.uniform(0.7, 1.3) * choice.uniform(0.8, 1.2, 3)
        mesh = replace(mesh, colors=np.clip(mesh.colors * gain, 0, 1).astype(np.float32))
    return mesh


def _posed(mesh: AnimatedMesh, pose: np.random.Generator) -> AnimatedMesh:
    """Tilted, smaller and off centre now and then, as objects in users' clips are."""
    tilt = math.radians(pose.uniform(-8.0, 20.0)) if pose.random() < 0.3 else 0.0
    size = pose.uniform(0.7, 1.05) if pose.random() < 0.5 else 1.0
    shift = pose.normal(0.0, 0.02, 3)
    cos, sin = math.cos(tilt), math.sin(tilt)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    positions = size * mesh.positions.astype(np.float64) @ turn.T + shift
    return replace(mesh, positions=positions.astype(np.float32))


def _observe(mesh: AnimatedMesh, streams: Sequence[np.random.Generator]) -> SolidClip | None:
    """Render and carve; None if the front camera sees next to nothing."""
    lighting = Lighting.random(streams[_LIGHT])
    front_camera = orbit_cameras([0.0], size=FRONT_PX)
    front, front_depth = render_mesh(mesh, front_camera, lighting)
    if (front[:, 0, ..., 3] > 127).mean((1, 2)).min() < 0.004:
        return None
    draw = streams[_CAMERAS]
    colored = _cameras(draw, _COLOR_VIEWS, fixed=True)
    plain = _cameras(draw, _DEPTH_VIEWS, fixed=False)
    images, _ = render_mesh(mesh, colored, lighting)
    surfaces = Surfaces.trace(mesh, colored)
    everyone = _joined(colored, plain).resized(CARVE_PX)
    depths = trace_mesh(mesh, everyone)[2]
    inside, parts = [], []
    for time in range(mesh.num_frames):
        mask = front_depth[time, 0].reshape(RAYS, 2, RAYS, 2).any((1, 3))
        inside.append(
            carve_rays(
                mask,
                front_camera[0].resized(RAYS),
                NEAR,
                FAR,
                CELLS,
                depths[time],
                everyone,
                _TOLERANCE,
            )
        )
        parts.append(_surface_points(surfaces, images, time, streams[_POINTS]))
    points, colors, origins = (np.stack(part) for part in zip(*parts, strict=True))
    return SolidClip(front[:, 0], images[0, 1:4], np.stack(inside), points, colors, origins)


def _surface_points(
    surfaces: Surfaces, images: NDArray[np.uint8], time: int, draw: np.random.Generator
) -> tuple[NDArray[np.float16], NDArray[np.uint8], NDArray[np.float16]]:
    """Some of the points that the views of a moment show: here, colour, and where they were."""
    views = images.shape[1]
    here = np.stack([surfaces.points(time, view, time) for view in range(views)])
    there = np.stack([surfaces.points(time, view, 0) for view in range(views)])
    seen = np.isfinite(here[..., 0]) & (images[time, ..., 3] == 255)
    if not seen.any():
        seen = np.isfinite(here[..., 0])
    chosen = draw.choice(np.flatnonzero(seen), POINTS)
    flat = [values.reshape(-1, 3)[chosen] for values in (here, images[time, ..., :3], there)]
    return flat[0].astype(np.float16), flat[1].astype(np.uint8), flat[2].astype(np.float16)


def _cameras(draw: np.random.Generator, count: int, fixed: bool) -> Cameras:
    """The four fixed ones if wanted, then random ones all around."""
    azimuths = [*([0.0, 90.0, 180.0, 270.0] if fixed else []), *draw.uniform(0, 360, count)]
    elevations = [0.0] * (len(azimuths) - count) + list(draw.uniform(-70, 80, count))
    return orbit_cameras(azimuths, torch.tensor(elevations), size=SIDE_PX)


def _joined(first: Cameras, second: Cameras) -> Cameras:
    """[V] and [W] to [V + W]."""
    return replace(
        first,
        world_from_camera=torch.cat([first.world_from_camera, second.world_from_camera]),
        intrinsics=torch.cat([first.intrinsics, second.intrinsics]),
    )
