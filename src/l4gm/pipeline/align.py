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
_SMALL_SIZE = 64  # pixels of the pictures that choose
_SMALL_STEP = 3  # degrees between them
_FULL_DRAWINGS = 20  # the most promising azimuths are compared at full size
_FULL_REACH = 5  # degrees to each side of the best that are also compared
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

    Same answer as drawing all 360 at the frame's size, in a tenth of the time: small pictures every
    few degrees, small ones at each degree around their valleys, full ones of the best of these and
    at each degree around the best of all.

    Args:
        gaussians: [N], the first guess.
        frame: [3, S, S], the video's first frame.
        rig: gives the elevation and the device.

    Returns:
        degrees.
    """
    small = _Errors(gaussians, resized(frame, _SMALL_SIZE), rig)
    small.look(AZIMUTHS[::_SMALL_STEP])
    for azimuth in list(small.known):
        sides = (_wrap(azimuth - _SMALL_STEP), _wrap(azimuth + _SMALL_STEP))
        if small.known[azimuth] <= min(small.known[side] for side in sides):
            small.look(range(azimuth - _SMALL_STEP, azimuth + _SMALL_STEP + 1))
    full = _Errors(gaussians, frame, rig)
    full.look(small.best(_FULL_DRAWINGS))
    best, before = full.best(1)[0], None
    while best != before:
        full.look(range(best - _FULL_REACH, best + _FULL_REACH + 1))
        best, before = full.best(1)[0], best
    return best


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

    def best(self, count: int) -> list[int]:
        """The known azimuths of least error, of equal ones the smaller first."""
        return sorted(self.known, key=lambda azimuth: (self.known[azimuth], azimuth))[:count]


def _wrap(azimuth: int) -> int:
    return (azimuth + 180) % 360 - 180
