"""What a farm renders: the models, how, and the clips they are cut into."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from l4gm.data.layout import ClipFacts, clip_key
from l4gm.errors import InputError
from l4gm.geometry.cameras import FOV_Y_DEGREES, RADIUS, Cameras, orbit_cameras

MODEL_SUFFIXES = (".glb", ".gltf", ".fbx", ".blend", ".usd", ".usda", ".usdc", ".usdz")


@dataclass(frozen=True, kw_only=True)
class Model:
    """An object to render.

    Args:
        uid: names the object; clips of equal uids fall into the same split.
        path: its file, absolute.
        licence, source: kept with every clip.
    """

    uid: str
    path: str
    licence: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """How clips are rendered; with the model and the seed this fixes every byte of them.

    Args:
        renderer: software (glTF only; l4gm's own) or blender.
        size_px: width and height.
        fps, num_frames: of a clip; the paper's are one second at 24.
        fixed_views: cameras at elevation 0 with even azimuths from 0 on.
        free_views: random cameras beside them.
        elevation_degrees: range of the random cameras' elevation.
        radius, fov_y_degrees: of all cameras.
        max_clips: of an animation at most, spread evenly over it; 0 for all.
        max_triangles: objects with more are refused.
        keep_still: render clips in which nothing moves too (software).
        seed: of cameras and light.
        engine, samples, denoise: of Blender: cycles or eevee, rays a pixel.
        environment: path of an environment map for Blender; without one, the paper's four suns.
        depth: also keep the distances, where the renderer gives them.
    """

    renderer: Literal["software", "blender"] = "software"
    size_px: int = 256
    fps: float = 24.0
    num_frames: int = 24
    fixed_views: int = 16
    free_views: int = 32
    elevation_degrees: tuple[float, float] = (-5.0, 30.0)
    radius: float = RADIUS
    fov_y_degrees: float = FOV_Y_DEGREES
    max_clips: int = 0
    max_triangles: int = 2_000_000
    keep_still: bool = False
    seed: int = 0
    engine: Literal["cycles", "eevee"] = "cycles"
    samples: int = 64
    denoise: bool = True
    environment: str = ""
    depth: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it is recorded beside the clips."""
        return asdict(self) | {"elevation_degrees": list(self.elevation_degrees)}


@dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip to render: one second of one animation of one model."""

    facts: ClipFacts
    animation: int
    start_seconds: float
    cameras: Cameras
    path: Path


def find_models(folder: str | Path) -> list[Model]:
    """All model files below a folder, sorted by path; the uid is the path without its ending.

    Raises:
        InputError: there is no such folder, or no model in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one that holds models, or a .parquet")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in MODEL_SUFFIXES)
    if not paths:
        raise InputError(f"{folder}: no model in it; expected {' '.join(MODEL_SUFFIXES)}")
    names = [path.relative_to(folder) for path in paths]
    stems = [name.with_suffix("").as_posix() for name in names]
    return [
        Model(
            # Two files that differ in their ending alone keep it.
            uid=stem if stems.count(stem) == 1 else name.as_posix(),
            path=str(path.absolute()),
            source=name.as_posix(),
        )
        for path, name, stem in zip(paths, names, stems, strict=True)
    ]


def clip_starts(seconds: float, settings: RenderSettings) -> list[float]:
    """When the clips of an animation of this length begin, in seconds.

    Whole clips only: what is left at the end is dropped, and an animation that is shorter than a
    clip gives one, in which it repeats.
    """
    length = settings.num_frames / settings.fps
    count = max(1, int(seconds / length + 1e-4))
    if settings.max_clips and count > settings.max_clips:
        places = np.linspace(0, count - 1, settings.max_clips).round().astype(int)
        return [length * int(place) for place in places]
    return [length * number for number in range(count)]


def clip_jobs(
    model: Model, animations: Sequence[dict[str, Any]], settings: RenderSettings, folder: Path
) -> list[ClipJob]:
    """Every clip of a model, each with its own cameras and file.

    Args:
        model: the object.
        animations: {"name", "seconds"} of each, as the worker found them.
        settings: how to render.
        folder: that of the clip files.
    """
    jobs = []
    for number, animation in enumerate(animations):
        for start in clip_starts(animation["seconds"], settings):
            index = round(start * settings.fps / settings.num_frames)
            key = clip_key(model.uid, number, index)
            facts = ClipFacts(
                key=key,
                uid=model.uid,
                animation=animation["name"],
                clip=index,
                fps=settings.fps,
                num_frames=settings.num_frames,
                source=model.source,
                renderer=settings.renderer,
                licence=model.licence,
                details={
                    "animation_number": number,
                    "animation_seconds": animation["seconds"],
                    "start_seconds": start,
                },
            )
            jobs.append(
                ClipJob(
                    facts=facts,
                    animation=number,
                    start_seconds=start,
                    cameras=_cameras(key, settings),
                    path=clip_path(folder, key),
                )
            )
    return jobs


def clip_path(folder: Path, key: str) -> Path:
    """Where a clip lies; 256 folders, so that none holds a million files."""
    return folder / hashlib.sha256(key.encode()).hexdigest()[:2] / f"{key}.tar"


def stream(settings: RenderSettings, *names: str) -> np.random.Generator:
    """Random numbers that depend on the seed and these names alone."""
    text = "/".join([str(settings.seed), *names])
    return np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))


def _cameras(key: str, settings: RenderSettings) -> Cameras:
    """The fixed cameras, then the free ones."""
    low, high = settings.elevation_degrees
    # Drawn view by view, so that more views begin with the same ones.
    free = stream(settings, key, "cameras").random((settings.free_views, 2))
    fixed = 360.0 * np.arange(settings.fixed_views) / max(settings.fixed_views, 1)
    elevations = np.concatenate([np.zeros(len(fixed)), low + (high - low) * free[:, 1]])
    return orbit_cameras(
        torch.from_numpy(np.concatenate([fixed, 360.0 * free[:, 0]])),
        torch.from_numpy(elevations),
        settings.radius,
        settings.fov_y_degrees,
        settings.size_px,
    )
