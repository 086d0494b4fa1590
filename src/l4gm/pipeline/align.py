"""Turn the first 3D guess until it matches the video's first frame.

A multi-view generator's views are right among themselves, but turned by an unknown azimuth against
the video. The released code draws the guess from all 360 whole degrees; here small pictures tell
which of them are worth a full one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.frames import resized
from l4gm.pipeline.rig import InputRig, orbit
from l4gm.splat.render import render

AZIMUTHS = range(-180, 180)  # whole degrees
_SMALLER = 2  # the pictures that choose have this part of the frame's size
_STEP = 3  # degrees between them
_VALLEYS = 8  # so many of the valleys of their errors are looked at in full size
_CLIMBS = 3  # from so many of these the neighbours are followed
_REACH = 4  # degrees to each side that are neighbours
_AT_ONCE = 30  # pictures in one call, to bound memory


@torch.inference_mode()
def azimuth_errors(
    gaussians: Gaussians, frame: Tensor, rig: InputRig, azimuths: list[int]
) -> Tensor:
    """Mean squared error between drawings of a set of Gaussians and a picture.

    Args:
        gaussians: [N].
        frame: [3, S, S]; the drawings have its size.
        rig: gives the elevation and the device.
        azimuths: degrees.

    Returns:
        [len(azimuths)].
    """
    errors = []
    for start in range(0, len(azimuths), _AT_ONCE):
        some = [float(azimuth) for azimuth in azimuths[start : start + _AT_ONCE]]
        cameras = orbit(some, rig.elevation, frame.shape[-1]).to(rig.device)
        image = render(gaussians, cameras).image.clamp(0, 1)
        errors.append((image - frame).square().flatten(1).mean(1))
    return torch.cat(errors)


def best_azimuth(gaussians: Gaussians, frame: Tensor, rig: InputRig) -> int:
    """The whole azimuth in -180..179 from which the drawing is nearest to a picture.

    Same answer as drawing all 360 at the frame's size, in a quarter of the time: pictures of half
    the size every few degrees; full ones at the bottoms of the valleys of their errors, and from
    the best of these on downhill, degree by degree. A valley's rank among small pictures says
    little: the rasterizer makes splats wider there, which favours narrow outlines.

    Args:
        gaussians: [N], the first guess.
        frame: [3, S, S], the video's first frame.
        rig: gives the elevation and the device.

    Returns:
        degrees.
    """
    size = max(1, frame.shape[-1] // _SMALLER)
    small = _Errors(gaussians, resized(frame, size), rig)
    small.look(AZIMUTHS[::_STEP])
    full = _Errors(gaussians, frame, rig)
    full.look(small.valleys()[:_VALLEYS])
    for bottom in full.best(_CLIMBS):
        before = None
        while bottom != before:
            around = [_wrap(bottom + offset) for offset in range(-_REACH, _REACH + 1)]
            full.look(around)
            bottom, before = min(around, key=full.rank), bottom
    return full.best(1)[0]


class _Errors:
    """Errors of the azimuths that have been looked at, each drawn once."""

    def __init__(self, gaussians: Gaussians, frame: Tensor, rig: InputRig) -> None:
        self.known: dict[int, float] = {}
        self._scene = (gaussians, frame, rig)

    def look(self, azimuths: Iterable[int]) -> None:
        """Draw those that are not known yet."""
        new = sorted({_wrap(azimuth) for azimuth in azimuths} - self.known.keys())
        if new:
            errors = azimuth_errors(*self._scene, new)
            self.known.update(zip(new, errors.tolist(), strict=True))

    def rank(self, azimuth: int) -> tuple[float, int]:
        """By which known azimuths are ordered: by error, of equal ones the smaller first."""
        return self.known[azimuth], azimuth

    def best(self, count: int) -> list[int]:
        """The known azimuths of least error."""
        return sorted(self.known, key=self.rank)[:count]

    def valleys(self) -> list[int]:
        """The known azimuths, _STEP apart, whose neighbours are no better; the best first."""
        bottoms = []
        for azimuth in self.known:
            sides = (_wrap(azimuth - _STEP), _wrap(azimuth + _STEP))
            if self.known[azimuth] <= min(self.known[side] for side in sides):
                bottoms.append(azimuth)
        return sorted(bottoms, key=self.rank)


def _wrap(azimuth: int) -> int:
    return (azimuth + 180) % 360 - 180
