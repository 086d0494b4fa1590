"""How much moves in a clip: the score by which the motion filter keeps or drops it.

The score is the mean speed of what the object's pixels show, in picture widths a second: the mean
length of the optical flow from each frame to the next over all pixels that show the object, over
the frames and a few views around it. It depends neither on the size of the pictures nor, but for
motion that speeds up and slows down within a frame, on the frame rate.

The paper drops the half of its clips with the least flow (section 4, "about half").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.surfaces import Surfaces
from l4gm.geometry.cameras import orbit_cameras
from l4gm.media.flow import MIN_FLOW_PX, dense_flow

EXACT = "exact flow"
DIS = "DIS flow"
# Four views show motion along any axis; larger pictures hardly change the mean.
AZIMUTHS = (0.0, 90.0, 180.0, 270.0)
EXACT_PX = 48


def exact_motion(mesh: AnimatedMesh, fps: float) -> float:
    """The score of a mesh in the unit cube, from where its surface really goes.

    Args:
        mesh: T frames; with one frame the score is 0.
        fps: frames per second.
    """
    surfaces = Surfaces.trace(mesh, orbit_cameras(AZIMUTHS, size=EXACT_PX))
    speeds = []
    for frame in range(mesh.num_frames - 1):
        for view in range(len(AZIMUTHS)):
            flow, _ = surfaces.flow(frame, view, frame + 1)
            shown = surfaces.faces[frame, view] >= 0
            if shown.any():
                speeds.append(np.linalg.norm(flow[shown], axis=-1).mean() / EXACT_PX)
    return fps * float(np.mean(speeds)) if speeds else 0.0


def picture_motion(images: NDArray[np.uint8], fps: float) -> float:
    """The score of pictures, by dense inverse search (Kroeger et al. 2016, OpenCV's).

    It does not see motion along a surface of one colour, and sees less of motion that is faster
    than the search reaches, so it is lower than the exact one.

    Args:
        images: [T, V, H, W, 4] uint8 RGBA, H and W at least 32.
        fps: frames per second.

    Raises:
        ValueError: pictures that are too small.
    """
    size_px = images.shape[3]
    if min(images.shape[2:4]) < MIN_FLOW_PX:
        raise ValueError(f"pictures must be at least {MIN_FLOW_PX} px, got {images.shape[2:4]}")
    alpha = images[..., 3:].astype(np.float32) / 255
    gray = (images[..., :3] * alpha + 255 * (1 - alpha)).mean(-1).astype(np.uint8)
    speeds = []
    for frame in range(len(images) - 1):
        for view in range(images.shape[1]):
            shown = images[frame, view, ..., 3] > 127
            if shown.any():
                flow = dense_flow(gray[frame, view], gray[frame + 1, view])
                speeds.append(np.linalg.norm(flow[shown], axis=-1).mean() / size_px)
    return fps * float(np.mean(speeds)) if speeds else 0.0


def threshold_that_keeps(motions: NDArray[np.float64], share: float) -> float:
    """The score at or above which about this share of the clips lies; 0.5 is the paper's.

    Args:
        motions: scores of all clips, at least one.
        share: from 0 (the liveliest clip alone) to 1 (all).
    """
    if not 0 <= share <= 1 or not len(motions):
        raise ValueError(f"need scores and a share in 0..1, got {len(motions)} and {share}")
    descending = np.sort(np.asarray(motions, np.float64))[::-1]
    return float(descending[max(0, round(share * len(descending)) - 1)])
