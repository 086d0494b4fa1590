"""Drawing an asset from a camera path, a few frames at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from l4gm.cli.assets import Asset
    from l4gm.gaussians.types import Gaussians

CameraPath = Literal["orbit", "fixed"]

_AT_ONCE = 8  # pictures in one call of the rasterizer, to bound memory
_ORBIT_SECONDS = 4.0  # one turn around the object is not faster than this
_STILL_FPS = 30.0  # of a video of an object that does not move


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How an asset is filmed.

    Args:
        path: "orbit" turns once around the object while it plays, "fixed" stands still.
        azimuth, elevation: degrees; where the camera stands (an orbit starts there).
        size: width and height in pixels.
        num_frames: pictures; the animation starts over when it is shorter. None: whole rounds of
            it, and for an orbit at least 4 seconds.
    """

    path: CameraPath = "orbit"
    azimuth: float = 0.0
    elevation: float = 0.0
    size: int = 512
    num_frames: int | None = None


def shot_fps(asset: Asset) -> float:
    """Pictures per second at which a shot of an asset plays in the right time."""
    return asset.fps if asset.num_frames > 1 else _STILL_FPS


def picture_count(shot: Shot, asset: Asset) -> int:
    """How many pictures a shot takes: whole rounds of the animation, unless the shot says."""
    if shot.num_frames is not None:
        return shot.num_frames
    if shot.path == "fixed":
        return asset.num_frames
    rounds = math.ceil(_ORBIT_SECONDS * shot_fps(asset) / asset.num_frames)
    return rounds * asset.num_frames


def film(
    asset: Asset,
    shot: Shot,
    *,
    alpha: bool = False,
    device: torch.device | str = "cpu",
    on_picture: Callable[[int, int], None] | None = None,
) -> Iterator[Tensor]:
    """Draw a shot.

    Args:
        asset: what to draw.
        shot: from where.
        alpha: keep the background transparent instead of white.
        device: where to draw.
        on_picture: called with (pictures done, pictures in all).

    Yields:
        float32 [3, size, size] in [0, 1] on white, or with alpha [4, size, size], colour not
        premultiplied.
    """
    import torch

    from l4gm.geometry.cameras import orbit_cameras
    from l4gm.splat.render import render

    total = picture_count(shot, asset)
    turn = 360.0 / total if shot.path == "orbit" else 0.0
    for start in range(0, total, _AT_ONCE):
        stop = min(start + _AT_ONCE, total)
        gaussians = frames_in_rounds(asset, start, stop).to(device).to(torch.float32)
        azimuths = [shot.azimuth + turn * index for index in range(start, stop)]
        cameras = orbit_cameras(azimuths, shot.elevation, size=shot.size).to(device)
        with torch.inference_mode():
            out = render(gaussians, cameras.reshape(-1, 1), background=0.0 if alpha else 1.0)
        images, alphas = out.image[:, 0].cpu(), out.alpha[:, 0].cpu()
        for offset in range(stop - start):
            picture = images[offset].clamp(0, 1)
            if alpha:
                cover = alphas[offset].clamp(0, 1)
                picture = torch.cat([(picture / cover.clamp(min=1e-6)).clamp(0, 1), cover])
            yield picture
            if on_picture is not None:
                on_picture(start + offset + 1, total)


def frames_in_rounds(asset: Asset, start: int, stop: int) -> Gaussians:
    """Gaussians [stop - start, N] of an animation that starts over at its end."""
    from l4gm.gaussians.types import Gaussians

    pieces = []
    index = start
    while index < stop:
        first = index % asset.num_frames
        count = min(stop - index, asset.num_frames - first)
        pieces.append(asset.frames(first, first + count))
        index += count
    return Gaussians.cat(pieces)
