"""Procedural animated objects: a seed is an object with its look and its motion.

Random articulated creatures, vehicles, furniture and other things, built from textured primitives
that are joined in a tree and swing, bend, twist and squash. No outside material goes in, so a set
of them is defined by its seeds alone (and by `GENERATOR_VERSION`, which any change of the
generator that alters an object must raise).
"""

from __future__ import annotations

import numpy as np

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.objects.catalogue import build_object
from l4gm.datagen.objects.looks import Looks, Material
from l4gm.datagen.objects.rig import Rig

GENERATOR_VERSION = 3


def procedural_object(
    seed: int,
    num_frames: int = 24,
    fps: float = 24.0,
    start_seconds: float = 0.0,
    kind: str | None = None,
) -> AnimatedMesh:
    """The object of a seed, in motion.

    The seed fixes shape, look and motion (a function of time); the other arguments only say at
    which moments it is seen. The same seed gives the same object on every call and platform with
    the same NumPy random streams; positions agree to rounding.

    Args:
        seed: 0 or more, any size.
        num_frames, fps: frame k shows the time `start_seconds + k / fps`.
        start_seconds: of the first frame.
        kind: a name of `objects.catalogue.PLANS` to have that kind of object instead of the seed's
            own (for pictures of the kinds; sets leave it out).

    Raises:
        ValueError: if a number is out of range.
    """
    if seed < 0 or num_frames < 1 or not fps > 0:
        raise ValueError(
            f"need seed >= 0, num_frames >= 1 and fps > 0, got {seed}, {num_frames}, {fps}"
        )
    generator = np.random.default_rng(np.random.SeedSequence(seed))
    kit, drawn = build_object(generator, kind)
    seconds = start_seconds + np.arange(num_frames) / fps
    name = f"procedural-{GENERATOR_VERSION}-{seed}-{drawn}"
    return _assemble(kit.rig, kit.looks, seconds, fps, name)


def _assemble(rig: Rig, looks: Looks, seconds: np.ndarray, fps: float, name: str) -> AnimatedMesh:
    """One mesh of all parts."""
    faces, colors, uv, textures, smoothing = [], [], [], [], []
    start = 0
    for part in rig.parts:
        shape, material = part.shape, looks.materials[part.material]
        faces.append(shape.faces + start)
        smoothing.append(shape.smoothing + start)
        colors.append(_colors(material, shape.points[:, 1:2]))
        uv.append(shape.uv * material.repeats)
        textures.append(np.full(len(shape.faces), material.texture, np.int32))
        start += len(shape.points)
    return AnimatedMesh(
        positions=np.concatenate(rig.positions(seconds), 1).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        colors=np.concatenate(colors).astype(np.float32),
        uv=np.concatenate(uv).astype(np.float32),
        face_textures=np.concatenate(textures),
        textures=tuple(looks.textures),
        smoothing=np.concatenate(smoothing).astype(np.int32),
        fps=fps,
        name=name,
    )


def _colors(material: Material, heights: np.ndarray) -> np.ndarray:
    """[P, 3] of a part whose vertices lie at these shares [P, 1] of its length."""
    share = np.clip(heights, 0.0, 1.0)
    return np.clip(material.base * (1 - share) + material.tip * share, 0.0, 1.0)
