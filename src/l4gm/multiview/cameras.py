"""The camera embedding of MVDream and ImageDream: flattened poses on the unit sphere.

Their world has z up and their camera axes are Blender's (x right, y up, z backward). Their frame
0 looks from -y, and each next one stands 90 degrees further round; the input picture belongs to
frame 1. Our azimuths are counted from that picture, so frames 0, 1, 2, 3 are our azimuths
270, 0, 90, 180.
"""

from __future__ import annotations

import torch
from torch import Tensor

from l4gm.geometry.cameras import camera_axes_from_opengl, orbit_cameras

FRAME_AZIMUTHS_DEGREES = (270, 0, 90, 180)
"""Azimuth, in our convention, of each frame that ImageDream makes."""

_RADIUS = 1.0
# Our +z (azimuth 0) is their +x (frame 1), our +x (azimuth 90) is their +y, our +y is their up.
_THEIR_FROM_OUR_WORLD = torch.tensor(
    [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


def camera_embedding(elevation: float = 0.0) -> Tensor:
    """The cameras of the four views and of the input picture, as the network takes them.

    Args:
        elevation: of all four cameras, degrees, > 0 is above the object.

    Returns:
        [5, 16] float32: row-major 4 x 4 world_from_camera of frames 0..3 (radius 1, z up, Blender
        axes), then 16 zeros for the input picture, which has no camera.
    """
    ours = orbit_cameras(FRAME_AZIMUTHS_DEGREES, elevation=elevation, radius=_RADIUS)
    poses = _THEIR_FROM_OUR_WORLD @ camera_axes_from_opengl(ours.world_from_camera)
    return torch.cat([poses.flatten(1), poses.new_zeros(1, 16)])
