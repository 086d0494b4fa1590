"""Procedural clips as they are stored: all views, encoded, with depth and exact motion."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l4gm.data.clip import ClipRequest
from l4gm.data.layout import (
    ClipFacts,
    StoredCameras,
    StoredClip,
    StoredView,
    clip_key,
    pack_depth,
)
from l4gm.data.pictures import encode_pictures
from l4gm.datagen.clips import ProceduralClips
from l4gm.datagen.motion import EXACT, exact_motion
from l4gm.datagen.procedural import GENERATOR_VERSION
from l4gm.datagen.software_renderer import render_mesh
from l4gm.geometry.cameras import Cameras

RENDERER = "l4gm software"
LICENCE = "none: made from a seed"


@dataclass(frozen=True, kw_only=True)
class StoredRequest:
    """What a stored clip holds; the defaults are the paper's.

    Args:
        size_px: width and height.
        num_frames, fps: of a clip.
        num_fixed, num_free: views at elevation 0 with even azimuths, and random ones.
        depth: keep the distances of the fixed views.
    """

    size_px: int = 256
    num_frames: int = 24
    fps: float = 24.0
    num_fixed: int = 16
    num_free: int = 32
    depth: bool = True


def procedural_clip(source: ProceduralClips, index: int, request: StoredRequest) -> StoredClip:
    """Render and encode a clip of procedural objects."""
    asked = ClipRequest(
        size_px=request.size_px,
        num_frames=request.num_frames,
        fps=request.fps,
        num_supervision_views=request.num_free,
    )
    mesh, cameras, lighting = source.scene(index, asked, request.num_fixed)
    images, depth = render_mesh(mesh, cameras, lighting)
    facts = ClipFacts(
        key=clip_key(mesh.name),
        uid=mesh.name,
        fps=request.fps,
        num_frames=request.num_frames,
        source=f"procedural {GENERATOR_VERSION}",
        renderer=RENDERER,
        licence=LICENCE,
        motion=exact_motion(mesh, request.fps),
        motion_method=EXACT,
        details={"set_seed": source.seed, "set_split": source.split, "index": index},
    )
    return StoredClip(
        facts=facts,
        cameras=stored_cameras(cameras, request.num_fixed),
        views=encode_views(images, depth[:, : request.num_fixed] if request.depth else None),
    )


def stored_cameras(cameras: Cameras, num_fixed: int) -> StoredCameras:
    """Cameras [V], of which the first `num_fixed` are the fixed ones, for storing."""
    return StoredCameras(
        world_from_camera=cameras.world_from_camera.float().numpy(),
        intrinsics=cameras.intrinsics.float().numpy(),
        width=cameras.width,
        height=cameras.height,
        near=cameras.near,
        far=cameras.far,
        num_fixed=num_fixed,
    )


def encode_views(
    images: NDArray[np.uint8], depth: NDArray[np.float32] | None = None, threads: int = 2
) -> tuple[StoredView, ...]:
    """Encode all views of a clip.

    Args:
        images: [T, V, H, W, 4] uint8.
        depth: [T, D, H, W] of the first D views, or None.
        threads: encoding releases the interpreter's lock.
    """
    known = 0 if depth is None else depth.shape[1]

    def encode(view: int) -> StoredView:
        return StoredView(
            pictures=(encode_pictures(images[:, view]),),
            suffix="webp",
            depth=pack_depth(depth[:, view]) if depth is not None and view < known else None,
        )

    with ThreadPoolExecutor(threads) as pool:
        return tuple(pool.map(encode, range(images.shape[1])))
