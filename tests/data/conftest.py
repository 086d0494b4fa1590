"""Small stored clips with pictures that are known, made without a renderer."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from l4gm.data.layout import ClipFacts, StoredCameras, StoredClip, StoredView, clip_key, pack_depth
from l4gm.data.pictures import encode_pictures
from l4gm.geometry.cameras import orbit_cameras

SIZE_PX = 16


def random_pictures(seed: int, num_frames: int, size_px: int = SIZE_PX) -> np.ndarray:
    """[T, H, W, 4] random RGBA, white where alpha is 0."""
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (num_frames, size_px, size_px, 4)).astype(np.uint8)
    frames[..., 3] = generator.choice([0, 128, 255], frames.shape[:3])
    frames[frames[..., 3] == 0] = (255, 255, 255, 0)
    return frames


@pytest.fixture
def pictures():
    """pictures(seed, num_frames, size_px) -> what the views of `make_clip` show."""
    return random_pictures


@pytest.fixture
def png():
    """png(frame [H, W, 4]) -> bytes."""

    def encode(frame):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "PNG")
        return buffer.getvalue()

    return encode


@pytest.fixture
def make_clip():
    """make_clip(seed, ...) -> a clip whose view v shows `random_pictures(100 * seed + v, T)`."""

    def make(seed=0, num_frames=3, fixed=4, free=2, depth=False, uid=None, **facts):
        azimuths = [360 * k / fixed for k in range(fixed)] + [17.0 * (k + 1) for k in range(free)]
        elevations = [0.0] * fixed + [5.0 + k for k in range(free)]
        cameras = orbit_cameras(azimuths, np.array(elevations), size=SIZE_PX)
        uid = f"object-{seed}" if uid is None else uid
        views = []
        for view in range(fixed + free):
            frames = random_pictures(100 * seed + view, num_frames)
            near = np.where(frames[..., 3] > 0, 1.0 + 0.01 * view, 0.0)
            views.append(
                StoredView(
                    pictures=(encode_pictures(frames),),
                    suffix="webp",
                    depth=pack_depth(near) if depth else None,
                )
            )
        return StoredClip(
            facts=ClipFacts(key=clip_key(uid), uid=uid, fps=24.0, num_frames=num_frames, **facts),
            cameras=StoredCameras(
                world_from_camera=cameras.world_from_camera.numpy(),
                intrinsics=cameras.intrinsics.numpy(),
                width=SIZE_PX,
                height=SIZE_PX,
                near=cameras.near,
                far=cameras.far,
                num_fixed=fixed,
            ),
            views=tuple(views),
        )

    return make
