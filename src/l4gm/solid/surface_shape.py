"""The elements of one frame's surface: the pixels of its front, and the skin around the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l4gm.solid.kernels.components import drop_loose_parts
from l4gm.solid.kernels.field import calm_columns, refine_columns, rim_of_outline
from l4gm.solid.kernels.front import fill_depth, front_depth, front_normals, smooth_depth
from l4gm.solid.kernels.paint import inner_colors, unmix_outline
from l4gm.solid.kernels.skin import count_skin, grow_skin
from l4gm.solid.kernels.splats import DROPPED, FRONT, LEAST_COSINE, front_splats, settle_skin

FINENESS = 2  # lateral cells of the field for each of the network's
FRONT_SHARE = 0.65  # of all splats, at most, for the front
SIZE_LADDER = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125)  # of the frame's size, for the front's pixels
EDGE = np.float32(0.9)  # of the smoothed alpha: about a pixel inside the outline
INSET = 0.004  # world units: splats reach out of the surface that they lie on

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Elements:
    """Pieces of the surface of one frame, before they become splats; in the camera's axes.

    Args:
        points: [M, 3].
        normals: [M, 3], unit, outwards.
        spacings: [M, 2], distance to the neighbours down the slope, as seen from the camera, and
            across it.
        cells: [M], the number of the pixel or cell that each belongs to.
        roles: [M], FRONT (a pixel of the front), LINING (of the front) or SKIN (all the rest).
        depth: [S', S'] camera z of the front, 0 where the image shows no object.
        pixels: [S', S', 4] straight RGBA of the front.
    """

    points: Array
    normals: Array
    spacings: Array
    cells: NDArray[np.int64]
    roles: NDArray[np.int8]
    depth: Array
    pixels: Array


def frame_elements(
    logits: Array, image: Array, lens: NDArray[np.float64], budget: int
) -> Elements | None:
    """The surface of one frame; None if the image shows no object.

    Args:
        logits: [D, h, w].
        image: [4, S, S].
        lens: [6].
        budget: number of splats that there will be.
    """
    if not (image[3] > 0.5).any():
        return None
    image = _unmixed(image)
    alpha = torch.from_numpy(image[3])
    level, rim = _field(logits, alpha)
    drop_loose_parts(level, rim)
    thickness = (lens[5] - lens[4]) / logits.shape[0]
    pixels = _front_pixels(torch.from_numpy(image), budget)
    size = len(pixels)
    depth = np.zeros((size, size), np.float32)
    front_depth(level, pixels[..., 3], lens, depth)
    fill_depth(depth)
    smooth_depth(depth, 0.5 * thickness, np.empty_like(depth))
    normals = np.zeros((size, size, 3), np.float32)
    front_normals(depth, lens, 1 / LEAST_COSINE, normals)
    front = _arrays(int(np.count_nonzero(depth)))
    depth[depth > 0] += INSET  # along the rays: what the camera sees stays the same
    front_splats(depth, pixels, normals, lens, *front)
    skin = _arrays(count_skin(level, rim))
    grow_skin(level, rim, lens, *skin)
    roles = np.empty(len(skin[0]), np.int8)
    settle_skin(skin[0], skin[1], depth, level, lens, thickness, INSET, roles)
    kept = roles != DROPPED
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(front, skin, strict=True))
    joined = [np.concatenate([ours, theirs[kept]]) for ours, theirs in pairs]
    all_roles = np.concatenate([np.full(len(front[0]), FRONT, np.int8), roles[kept]])
    return Elements(joined[0], joined[1], joined[2], joined[3], all_roles, depth, pixels)


def _unmixed(image: Array) -> Array:
    """The image [4, S, S] without the background in its outline, unless that is all of it."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    inner = np.empty((*pixels.shape[:2], 3), np.float32)
    inner_colors(pixels, inner)
    unmix_outline(pixels, inner)
    cleaned = pixels if (pixels[..., 3] > 0.5).any() else image.transpose(1, 2, 0)
    return np.ascontiguousarray(cleaned.transpose(2, 0, 1))


def _front_pixels(image: Tensor, budget: int) -> Array:
    """The image [S', S', 4], as large as its object's pixels stay within their share."""
    alpha = image[3:]
    for share in SIZE_LADDER:
        size = max(round(image.shape[1] * share), 1)
        small = F.adaptive_avg_pool2d(torch.cat([image[:3] * alpha, alpha])[None], size)[0]
        if torch.count_nonzero(small[3] > 0.5) <= FRONT_SHARE * budget:
            break
    small[:3] /= small[3:].clamp(min=1e-6)
    return np.ascontiguousarray(small.permute(1, 2, 0).numpy())


def _field(logits: Array, alpha: Tensor) -> tuple[Array, Array]:
    """The level [L, L, D] and the rim [L, L] of `kernels.field`."""
    cells, height, width = logits.shape
    size = FINENESS * max(height, width)
    if len(alpha) < size:
        alpha = F.interpolate(
            alpha[None, None], size=(size, size), mode="bilinear", align_corners=False
        )[0, 0]
    cover = F.adaptive_avg_pool2d(alpha[None, None], size)[0, 0].numpy()
    strongest = F.adaptive_max_pool2d(alpha[None, None], size)[0, 0].numpy()
    coarse_cover = F.adaptive_avg_pool2d(alpha[None, None], (height, width))[0, 0].numpy()
    columns = np.empty((height, width, cells), np.float32)
    trust = np.empty((height, width), np.float32)
    calm_columns(np.ascontiguousarray(logits), coarse_cover, columns, trust)
    level, rim = np.empty((size, size, cells), np.float32), np.empty((size, size), np.float32)
    refine_columns(columns, trust, cover, level)
    soft = F.avg_pool2d(alpha[None, None], 3, stride=1, padding=1)
    rim_of_outline(F.adaptive_avg_pool2d(soft, size)[0, 0].numpy(), strongest, EDGE, rim)
    return level, rim


def _arrays(count: int) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Room for the points, normals, spacings and cells of so many elements."""
    return (
        np.empty((count, 3), np.float32),
        np.empty((count, 3), np.float32),
        np.empty((count, 2), np.float32),
        np.empty(count, np.int64),
    )
