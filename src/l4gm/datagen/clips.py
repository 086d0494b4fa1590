"""Clips for training, rendered on demand: from procedural objects, from glTF models, or mixed.

Every random choice of a clip comes from its own stream of (seed, split, index, purpose), so that
the number of views, of frames or of pixels asked for never changes the object, its motion or its
light.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.gltf import GltfScene, load_gltf
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import Lighting, render_mesh, trace_mesh
from l4gm.datagen.surfaces import Surfaces
from l4gm.errors import InputError
from l4gm.geometry.cameras import Cameras, orbit_cameras

logger = logging.getLogger(__name__)

Split = Literal["train", "heldout"]
SPLITS = {"train": 1, "heldout": 2}
INPUT_AZIMUTHS = (0.0, 90.0, 180.0, 270.0)
# Streams of a clip.
OBJECT, MOTION, YAW, CAMERAS, LIGHT, COLOR = range(6)


def _stream(seed: int, split: Split, index: int, purpose: int) -> np.random.Generator:
    key = (SPLITS[split], index, purpose)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def clip_cameras(
    generator: np.random.Generator, request: ClipRequest, num_fixed: int = len(INPUT_AZIMUTHS)
) -> Cameras:
    """The fixed cameras at even azimuths, then the random ones: any azimuth, elevation uniform in
    its range."""
    low, high = request.elevation_degrees
    # Drawn view by view, so that more views begin with the same ones.
    free = generator.random((request.num_supervision_views, 2))
    azimuths = [*np.arange(num_fixed) * (360.0 / num_fixed), *(360.0 * free[:, 0])]
    elevations = [0.0] * num_fixed + list(low + (high - low) * free[:, 1])
    return orbit_cameras(azimuths, torch.tensor(elevations), size=request.size_px)


def _scene(
    mesh: AnimatedMesh,
    request: ClipRequest,
    seed: int,
    split: Split,
    index: int,
    num_fixed: int = len(INPUT_AZIMUTHS),
) -> tuple[AnimatedMesh, Cameras, Lighting]:
    """A mesh turned and scaled, with the clip's own cameras and light."""
    yaw = _stream(seed, split, index, YAW).uniform(0.0, 360.0)
    lighting = Lighting.random(_stream(seed, split, index, LIGHT))
    cameras = clip_cameras(_stream(seed, split, index, CAMERAS), request, num_fixed)
    return mesh.normalized(yaw), cameras, lighting


def _render(mesh: AnimatedMesh, request: ClipRequest, seed: int, split: Split, index: int) -> Clip:
    normalized, cameras, lighting = _scene(mesh, request, seed, split, index)
    images, depth = render_mesh(normalized, cameras, lighting)
    return Clip(
        images=images,
        cameras=cameras,
        fps=request.fps,
        num_input_views=len(INPUT_AZIMUTHS),
        depth=depth,
        tracks=_tracks(normalized, cameras[: len(INPUT_AZIMUTHS)]) if request.tracks else None,
        name=mesh.name,
    )


def _tracks(mesh: AnimatedMesh, cameras: Cameras) -> NDArray[np.float16]:
    """`Clip.tracks` of the views of some cameras [V]."""
    first = replace(mesh, positions=mesh.positions[:1])
    surfaces = Surfaces(mesh, cameras, *trace_mesh(first, cameras))
    return np.stack(
        [
            np.stack([surfaces.points(0, view, time) for view in range(cameras.shape[0])])
            for time in range(mesh.num_frames)
        ]
    ).astype(np.float16)


class ProceduralClips:
    """Clips of procedural objects: index k of a seed and split is always the same object.

    Args:
        seed: of the whole set.
        split: "train" or "heldout"; their objects come from different branches of the seed, so that
            none of one is among those of the other.
    """

    def __init__(self, seed: int = 0, split: Split = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {list(SPLITS)}, got {split!r}")
        self.seed = seed
        self.split = split

    def object_seed(self, index: int) -> int:
        """The seed that `procedural_object` gets for a clip."""
        low, high = _stream(self.seed, self.split, index, OBJECT).integers(0, 1 << 32, 2)
        return int(low) | int(high) << 32

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """The clip of this index, from time 0 of its object's motion."""
        mesh = procedural_object(self.object_seed(index), request.num_frames, request.fps)
        return _render(mesh, request, self.seed, self.split, index)

    def scene(
        self, index: int, request: ClipRequest, num_fixed: int
    ) -> tuple[AnimatedMesh, Cameras, Lighting]:
        """What `clip` renders, for who renders it otherwise: with `num_fixed` fixed cameras."""
        mesh = procedural_object(self.object_seed(index), request.num_frames, request.fps)
        return _scene(mesh, request, self.seed, self.split, index, num_fixed)


def heldout_model_names() -> tuple[str, ...]:
    """File stems of the models that are never trained on, from `heldout_models.txt`."""
    text = files("l4gm.datagen").joinpath("heldout_models.txt").read_text("utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return tuple(line for line in lines if line)


class ModelClips:
    """Clips of animated glTF models: random model, animation, start, turn, light and tint.

    Clip k shows model `order[k mod n]` of a seeded order that is drawn anew for every round through
    the n models of the split. Files are loaded when first shown. One that cannot be read, does
    not move, or has no triangles is logged once with its reason and left out from then on: its
    clips show the next model of the round that can be shown, with the clip's own random choices.
    What an index shows thus depends on the files alone, never on what was asked for before.

    Args:
        folder_or_paths: a folder (its .glb and .gltf files, sorted) or the files themselves.
        seed: of all choices.
        split: "train" leaves out the held-out names, "heldout" shows only them, "all" shows both.
        exclude_names: file stems to leave out besides.
        cache_size: models kept in memory.

    Raises:
        InputError: if there is no such folder or no file is left to show.
    """

    def __init__(
        self,
        folder_or_paths: str | Path | Iterable[str | Path],
        seed: int = 0,
        split: Literal["train", "heldout", "all"] = "train",
        exclude_names: Sequence[str] = (),
        cache_size: int = 256,
    ) -> None:
        if split not in (*SPLITS, "all"):
            raise ValueError(f"split must be train, heldout or all, got {split!r}")
        paths = _model_paths(folder_or_paths)
        heldout = set(heldout_model_names())
        if split != "all":
            paths = [path for path in paths if (path.stem in heldout) == (split == "heldout")]
        self.paths = [path for path in paths if path.stem not in set(exclude_names)]
        if not self.paths:
            raise InputError(f"{folder_or_paths}: no .glb or .gltf model of the {split} split")
        self.seed = seed
        self._stream_split: Split = "heldout" if split == "heldout" else "train"
        self.cache_size = cache_size
        self.refused: dict[Path, str] = {}
        self._scenes: OrderedDict[Path, GltfScene] = OrderedDict()

    def _scene(self, path: Path) -> GltfScene | None:
        """The loaded model; None if it is refused."""
        if path in self.refused:
            return None
        if path in self._scenes:
            self._scenes.move_to_end(path)
            return self._scenes[path]
        try:
            scene = load_gltf(path)
            if not scene.animations:
                raise InputError(f"{path} has no animation")
        except InputError as problem:
            self.refused[path] = str(problem)
            logger.warning("left out: %s", problem)
            return None
        self._scenes[path] = scene
        if len(self._scenes) > self.cache_size:
            self._scenes.popitem(last=False)
        return scene

    def _shown(self, index: int) -> GltfScene:
        round_index, place = divmod(index, len(self.paths))
        key = (SPLITS[self._stream_split], round_index)
        order = np.random.default_rng(
            np.random.SeedSequence([self.seed, len(self.paths)], spawn_key=key)
        ).permutation(len(self.paths))
        for offset in range(len(self.paths)):
            scene = self._scene(self.paths[order[(place + offset) % len(order)]])
            if scene is not None:
                return scene
        first = next(iter(self.refused.values()))
        raise InputError(f"none of {len(self.paths)} models can be shown; the first: {first}")

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """The clip of this index; time runs by `request.fps` and wraps at the animation's end."""
        scene = self._shown(index)
        motion = _stream(self.seed, self._stream_split, index, MOTION)
        choice = int(motion.integers(len(scene.animations)))
        start = motion.uniform(0.0, max(scene.animations[choice].duration_seconds, 1e-6))
        mesh = scene.animated_mesh(choice, start, request.num_frames, request.fps)
        color = _stream(self.seed, self._stream_split, index, COLOR)
        if color.random() < 0.5:
            gain = color.uniform(0.75, 1.25) * color.uniform(0.88, 1.12, 3)
            mesh = replace(mesh, colors=np.clip(mesh.colors * gain, 0, 1).astype(np.float32))
        return _render(mesh, request, self.seed, self._stream_split, index)


def _model_paths(folder_or_paths: str | Path | Iterable[str | Path]) -> list[Path]:
    if not isinstance(folder_or_paths, str | Path):
        return [Path(path) for path in folder_or_paths]
    folder = Path(folder_or_paths)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder that holds the .glb files")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".glb", ".gltf"))


class MixedClips:
    """Clips of several sources, each index from one of them at random in the given proportions.

    Args:
        sources: where clips come from.
        weights: their shares, any positive numbers.
        seed: of the choice.
    """

    def __init__(
        self, sources: Sequence[ClipSource], weights: Sequence[float], seed: int = 0
    ) -> None:
        shares = np.asarray(weights, np.float64)
        if len(sources) != len(shares) or not len(shares) or not (shares > 0).all():
            raise ValueError(f"need one positive weight per source, got {list(weights)}")
        self.sources = list(sources)
        self.bounds = np.cumsum(shares / shares.sum())
        self.seed = seed

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """The clip of this index, from the source that its own random number falls to."""
        draw = np.random.default_rng([self.seed, index]).random()
        which = min(int(np.searchsorted(self.bounds, draw, side="right")), len(self.sources) - 1)
        return self.sources[which].clip(index, request)
