"""The typed clip, and the protocol of everything that yields clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from l4gm.geometry.cameras import Cameras


@dataclass(frozen=True)
class Clip:
    """One object's animation seen by several still cameras.

    Args:
        images: [T, V, H, W, 4] uint8, RGBA, colour not premultiplied by alpha.
        cameras: [V], the same for all frames.
        fps: frames per second.
        num_input_views: the first views, which are the fixed cameras at elevation 0 and azimuths
            0, 90, 180, 270; the others are free and only supervise.
        depth: optional [T, V or num_input_views, H, W] float32, camera z of the nearest surface,
            0 where none is; where it is known, it is so of the first views at least.
        tracks: optional [T, num_input_views, H, W, 3] float16, world position at each time of the
            surface point that the view's pixel shows in the first frame, NaN where it shows none.
        name: says where it came from (seed, or object and animation).
    """

    images: NDArray[np.uint8]
    cameras: Cameras
    fps: float
    num_input_views: int = 4
    depth: NDArray[np.float32] | None = None
    tracks: NDArray[np.float16] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.images.ndim != 5 or self.images.shape[-1] != 4 or self.images.dtype != np.uint8:
            raise ValueError(
                "images must be uint8 [T, V, H, W, 4], "
                f"got {self.images.dtype} {list(self.images.shape)}"
            )
        if self.cameras.shape != (self.images.shape[1],):
            raise ValueError(
                f"need one camera per view: {self.images.shape[1]} views, "
                f"cameras {list(self.cameras.shape)}"
            )
        frames, views, height, width, _ = self.images.shape
        shapes = [(frames, count, height, width) for count in (views, self.num_input_views)]
        if self.depth is not None and self.depth.shape not in shapes:
            raise ValueError(f"depth must be {shapes[0]} or {shapes[1]}, got {self.depth.shape}")
        if self.tracks is not None and self.tracks.shape != (*shapes[1], 3):
            raise ValueError(f"tracks must be {(*shapes[1], 3)}, got {self.tracks.shape}")


@dataclass(frozen=True, kw_only=True)
class ClipRequest:
    """What to render of an object: the same request on the same index gives the same bytes.

    Args:
        size_px: width and height of the pictures.
        num_frames: T.
        fps: frames per second of the clip.
        num_supervision_views: random cameras beside the four fixed ones.
        tracks: also follow the points that the fixed cameras see, where the source can.
        elevation_degrees: range of the random cameras' elevation.
    """

    size_px: int = 64
    num_frames: int = 1
    fps: float = 8.0
    num_supervision_views: int = 4
    tracks: bool = False
    elevation_degrees: tuple[float, float] = (-5.0, 30.0)


class ClipSource(Protocol):
    """An endless, seeded, random-access supply of clips."""

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """The clip of this index; any index >= 0, always the same clip for the same request."""
        ...
