"""Drawing an asset from a camera path, a few frames at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from l4gm.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from l4gm.cli.assets import Asset
    from l4gm.gaussians.types import Gaussians
    from l4gm.geometry.cameras import Cameras

CameraPath = Literal["orbit", "fixed", "spiral", "input"]
Layer = Literal["color", "alpha", "depth"]

_AT_ONCE = 8  # pictures in one call of the rasterizer, to bound memory
_PIXELS_AT_ONCE = 4 * 2**20  # likewise
_ORBIT_SECONDS = 4.0  # one turn around the object is not faster than this
_STILL_FPS = 30.0  # of a video of an object that does not move


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How an asset is filmed.

    Args:
        path: "orbit" turns once around the object while it plays, "fixed" stands still, "spiral"
            turns twice while it climbs from `elevation` to `elevation` + `climb`, "input" looks
            through the input video's cameras, which the asset must have.
        azimuth, elevation: degrees; where the camera stands (an orbit starts there).
        climb: degrees by which a spiral climbs.
        size: width and height in pixels.
        num_frames: pictures; the animation starts over when it is shorter. None: whole rounds of
            it, and for an orbit or spiral at least 4 seconds a turn.
        supersampling: draw each pixel as the mean of so many by so many.
        layer: "color"; "alpha", how much of the background is covered; or "depth", see `film`.
    """

    path: CameraPath = "orbit"
    azimuth: float = 0.0
    elevation: float = 0.0
    climb: float = 60.0
    size: int = 512
    num_frames: int | None = None
    supersampling: int = 1
    layer: Layer = "color"

    @property
    def turns(self) -> int:
        """How often the camera goes around the object."""
        return {"orbit": 1, "spiral": 2}.get(self.path, 0)


def shot_fps(asset: Asset) -> float:
    """Pictures per second at which a shot of an asset plays in the right time."""
    return asset.fps if asset.num_frames > 1 else _STILL_FPS


def picture_count(shot: Shot, asset: Asset) -> int:
    """How many pictures a shot takes: whole rounds of the animation, unless the shot says."""
    if shot.num_frames is not None:
        return shot.num_frames
    seconds = _ORBIT_SECONDS * shot.turns
    return max(1, math.ceil(seconds * shot_fps(asset) / asset.num_frames)) * asset.num_frames


def film(
    asset: Asset,
    shot: Shot,
    *,
    alpha: bool = False,
    device: torch.device | str = "cpu",
    on_picture: Callable[[int, int], None] | None = None,
) -> Iterator[Tensor]:
    """Draw a shot.

    Depth is the mean camera z of what a pixel shows, weighted as its colour is; it is drawn from
    1 (at the camera's near plane) to 0 (at its far plane, and where nothing is).

    Args:
        asset: what to draw.
        shot: from where.
        alpha: keep the background transparent instead of white (colour alone).
        device: where to draw.
        on_picture: called with (pictures done, pictures in all).

    Yields:
        float32 [3, size, size] in [0, 1] on white, or with alpha [4, size, size], colour not
        premultiplied. Of alpha and depth three equal channels.

    Raises:
        InputError: the input video's cameras are asked for and the asset has none.
    """
    import torch

    total = picture_count(shot, asset)
    side = shot.size * shot.supersampling
    at_once = max(1, min(_AT_ONCE, _PIXELS_AT_ONCE // side**2))
    for start in range(0, total, at_once):
        stop = min(start + at_once, total)
        gaussians = frames_in_rounds(asset, start, stop).to(device).to(torch.float32)
        cameras = shot_cameras(asset, shot, start, stop, total).resized(side).to(device)
        with torch.inference_mode():
            pictures = _draw(gaussians, cameras.reshape(-1, 1), shot, alpha).cpu()
        for offset, picture in enumerate(pictures):
            yield picture
            if on_picture is not None:
                on_picture(start + offset + 1, total)


def shot_cameras(asset: Asset, shot: Shot, start: int, stop: int, total: int) -> Cameras:
    """Cameras [stop - start] of pictures start .. stop - 1 of a shot of `total`."""
    import torch

    from l4gm.geometry.cameras import orbit_cameras

    if shot.path == "input":
        if asset.cameras is None:
            raise InputError(
                f"{asset.path}: does not hold the input video's cameras, a lossless sequence "
                "does; choose another --path"
            )
        if not asset.cameras.shape:
            return asset.cameras.reshape(1).expand(stop - start)
        return asset.cameras[torch.arange(start, stop) % asset.num_frames]
    share = torch.arange(start, stop) / total
    azimuths = shot.azimuth + 360.0 * shot.turns * share
    climb = shot.climb if shot.path == "spiral" else 0.0
    return orbit_cameras(
        azimuths,
        shot.elevation + climb * share,
        asset.framing.radius,
        size=shot.size,
        target=asset.framing.target,
    )


def _draw(gaussians: Gaussians, cameras: Cameras, shot: Shot, alpha: bool) -> Tensor:
    """Pictures [T, 3 or 4, size, size] of Gaussians [T, N] by cameras [T, 1]."""
    import torch
    from torch.nn.functional import avg_pool2d

    from l4gm.splat.render import render

    if shot.layer == "depth":
        gaussians = _colored_by_nearness(gaussians, cameras)
    on_white = shot.layer == "color" and not alpha
    out = render(gaussians, cameras, background=1.0 if on_white else 0.0)
    # Averaged while still premultiplied, so that nothing bleeds in from where nothing is.
    image, cover = (
        avg_pool2d(layer[:, 0], shot.supersampling).clamp(0, 1) for layer in (out.image, out.alpha)
    )
    if shot.layer == "alpha":
        return cover.expand_as(image)
    if on_white:
        return image
    straight = (image / cover.clamp(min=1e-6)).clamp(0, 1)
    if shot.layer == "depth":
        return torch.where(cover > 0.5, straight, torch.zeros_like(straight))
    return torch.cat([straight, cover], 1)


def _colored_by_nearness(gaussians: Gaussians, cameras: Cameras) -> Gaussians:
    """Gaussians [T, N] whose colour is 1 at the near plane of cameras [T, 1] and 0 at the far."""
    camera_from_world = cameras.camera_from_world[:, 0]
    depth = gaussians.means @ camera_from_world[:, 2, :3, None] + camera_from_world[:, 2:3, 3:]
    nearness = (cameras.far - depth) / (cameras.far - cameras.near)
    return replace(gaussians, colors=nearness.clamp(0, 1).expand_as(gaussians.means))


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
