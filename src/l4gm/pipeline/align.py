"""Turn the first 3D guess until it matches the video's first frame.

A multi-view generator's views are right among themselves, but turned by an unknown azimuth against
the video. The released code draws the guess from all 360 whole degrees; here small pictures tell
which of them are worth a full one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.pipeline.frames import resize_area
from l4gm.pipeline.rig import STAGE_SIZE, InputRig
from l4gm.splat.render import render

AZIMUTHS = range(-180, 180)  # whole degrees
_SMALL_SIZE = 64  # pixels of the pictures that choose
_SMALL_STEP = 3  # degrees between them
_FULL_DRAWINGS = 24  # the most promising azimuths are compared at full size
_AT_ONCE = 30  # pictures in one call, to bound memory


@torch.inference_mode()
def azimuth_errors(
    gaussians: Gaussians, frame: Tensor, rig: InputRig, azimuths: list[int], size: int = STAGE_SIZE
) -> Tensor:
    """Mean squared error between drawings of a set of Gaussians and a picture.

    Args:
        gaussians: [N].
        frame: [3, size, size].
        rig: gives the elevation and the device.
        azimuths: degrees.
        size: pixels at which to draw.

    Returns:
        [len(azimuths)].
    """
    errors = []
    for start in range(0, len(azimuths), _AT_ONCE):
        cameras = orbit_cameras(
            [float(azimuth) for azimuth in azimuths[start : start + _AT_ONCE]],
            rig.elevation,
            size=size,
        ).to(rig.device)
        image = render(gaussians, cameras).image.clamp(0, 1)
        errors.append((image - frame).square().flatten(1).mean(1))
    return torch.cat(errors)


def best_azimuth(gaussians: Gaussians, frame: Tensor, rig: InputRig) -> int:
    """The whole azimuth in -180..179 from which the drawing is nearest to a picture.

    Same answer as drawing all 360 at `STAGE_SIZE`, with a tenth of the work: small pictures every
    few degrees, small ones at each degree around their local minima, full ones of the best.

    Args:
        gaussians: [N], the first guess.
        frame: [3, STAGE_SIZE, STAGE_SIZE], the video's first frame.
        rig: gives the elevation and the device.

    Returns:
        degrees.
    """
    small_frame = resize_area(frame[None], _SMALL_SIZE)[0]
    known: dict[int, float] = {}

    def look(azimuths: list[int]) -> None:
        new = sorted({_wrap(azimuth) for azimuth in azimuths} - known.keys())
        if new:
            errors = azimuth_errors(gaussians, small_frame, rig, new, _SMALL_SIZE)
            known.update(zip(new, errors.tolist(), strict=True))

    coarse = list(AZIMUTHS)[::_SMALL_STEP]
    look(coarse)
    valleys = [
        azimuth
        for azimuth in coarse
        if known[azimuth]
        <= min(known[_wrap(azimuth - _SMALL_STEP)], known[_wrap(azimuth + _SMALL_STEP)])
    ]
    around = range(-_SMALL_STEP, _SMALL_STEP + 1)
    look([azimuth + offset for azimuth in valleys for offset in around])
    chosen = sorted(sorted(known, key=known.__getitem__)[:_FULL_DRAWINGS])
    errors = azimuth_errors(gaussians, frame, rig, chosen)
    return chosen[int(errors.argmin())]


def _wrap(azimuth: int) -> int:
    return (azimuth + 180) % 360 - 180
