"""Colours of the splats of one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.solid.kernels.field import calm_columns
from l4gm.solid.kernels.paint import add_image, inner_colors, mix_colors, sample_volume, sharpen
from l4gm.solid.kernels.sight import level_normals, view_depth
from l4gm.solid.kernels.splats import FRONT, LINING
from l4gm.solid.surface_shape import Elements
from l4gm.solid.volume import Frustum

# Cosines between which an image comes to say all about a point: below, it is smeared.
OWN_COSINES = np.array([0.15, 0.45])
VIEW_COSINES = np.array([0.1, 0.5])
OWN_TOLERANCE = 0.02  # of the frustum's depth, behind which a point is hidden
VIEW_TOLERANCE = 0.04
COLUMN_ROUNDS = 2
SHARPENING = 0.45  # of the front, against the blur of rendering
VIEW_PX = 128  # of the depth maps of given views

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _View:
    """One given image: colours [S, S, 3], depth [R, R], and how points come into its camera."""

    colors: Array
    depth: Array
    camera: NDArray[np.float64]


class Reference:
    """The given images and the volume of the reference moment.

    Args:
        images: [V, 4, S, S].
        cameras: [V].
        logits: [D, h, w].
        frustum: of the volume.

    Raises:
        ValueError: if shapes do not fit.
    """

    def __init__(self, images: Tensor, cameras: Cameras, logits: Tensor, frustum: Frustum) -> None:
        if images.ndim != 4 or images.shape[1] != 4 or cameras.shape != images.shape[:1]:
            raise ValueError(
                f"view images must be [V, 4, S, S] with cameras [V], got {list(images.shape)} "
                f"and {list(cameras.shape)}"
            )
        self.lens = frustum.lens.numpy()
        raw = np.ascontiguousarray(logits.detach().float().cpu().numpy())
        self.depth = frustum.far - frustum.near
        self.thickness = self.depth / len(raw)
        self.columns = np.empty((*raw.shape[1:], len(raw)), np.float32)
        nowhere = np.zeros(raw.shape[1:], np.float32)  # no outline is known: nothing is lifted
        calm_columns(raw, nowhere, self.columns, np.empty_like(nowhere))
        self.views = [
            self._view(image, cameras[k], frustum)
            for k, image in enumerate(images.detach().float().cpu())
        ]

    def _view(self, image: Tensor, camera: Cameras, frustum: Frustum) -> _View:
        array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        inner = np.empty((*array.shape[:2], 3), np.float32)
        inner_colors(array, inner)
        world = frustum.camera.world_from_camera.double().cpu()
        from_view = (
            frustum.camera.camera_from_world.double().cpu()
            @ camera.world_from_camera.double().cpu()
        )
        matrix = camera.intrinsics.double().cpu()
        row = np.array([
            matrix[0, 0] / camera.width, matrix[1, 1] / camera.height,
            matrix[0, 2] / camera.width, matrix[1, 2] / camera.height,
        ])  # fmt: skip
        middle = (
            world[:3, :3] @ world.new_tensor([0, 0, (frustum.near + frustum.far) / 2])
            + world[:3, 3]
        )
        eye = camera.world_from_camera.double().cpu()
        distance = float(((middle - eye[:3, 3]) * eye[:3, 2]).sum())
        half = 0.75 * (frustum.far - frustum.near)
        reach = np.array([max(distance - half, 0.05), distance + half, 0.6 * self.thickness])
        alpha = F.adaptive_avg_pool2d(image[None, 3:], VIEW_PX)[0, 0].numpy()
        depth = np.empty((VIEW_PX, VIEW_PX), np.float32)
        to_volume = from_view.numpy().copy()
        to_volume[3] = row
        view_depth(self.columns, self.lens, to_volume, reach, alpha, depth)
        into_view = np.linalg.inv(from_view.numpy())
        into_view[3] = row
        return _View(inner, depth, into_view)

    def add(self, points: Array, sums: Array, weights: Array) -> None:
        """Add the colours of points [N, 3] that were there at the reference moment."""
        normals = np.empty_like(points)
        level_normals(self.columns, self.lens, points, 1.5 * self.thickness, normals)
        for view in self.views:
            add_image(
                points, normals, view.colors, view.depth, view.camera,
                VIEW_COSINES, VIEW_TOLERANCE * self.depth, sums, weights,
            )  # fmt: skip


def paint(
    centres: Array,
    elements: Elements,
    sources: NDArray[np.int64],
    colors: Array,
    motion: Array,
    lens: NDArray[np.float64],
    reference: Reference | None,
) -> Array:
    """Colours [N, 3] of splats.

    Args:
        centres: [N, 3].
        elements: what they are parts of.
        sources: [N], which of them.
        colors: [3, D, h, w], the predicted ones.
        motion: [3, D, h, w], to where points were at the reference moment, in the camera's axes.
        lens: [6].
        reference: the given images.
    """
    count = len(centres)
    pixels, roles = elements.pixels, elements.roles[sources]
    inner = np.empty((*pixels.shape[:2], 3), np.float32)
    inner_colors(pixels, inner)
    own, own_weights = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
    others, other_weights = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
    camera = np.eye(4)
    camera[3] = lens[:4]
    add_image(
        centres, elements.normals[sources], inner, elements.depth, camera,
        OWN_COSINES, OWN_TOLERANCE * (lens[5] - lens[4]), own, own_weights,
    )  # fmt: skip
    lining = roles == LINING
    flat = np.array([*lens[:4], 0.0, 1.0])
    own[lining] = _sampled(centres[lining], inner.transpose(2, 0, 1)[:, None], flat)
    front = roles == FRONT
    sharp = np.empty_like(inner)
    sharpen(pixels, inner, np.float32(SHARPENING), sharp)
    own[front] = sharp.reshape(-1, 3)[elements.cells[sources[front]]]
    own_weights[lining | front] = 1
    if reference is not None and reference.views:
        reference.add(centres + _sampled(centres, motion, lens), others, other_weights)
    result = np.empty((count, 3), np.float32)
    predicted = _sampled(centres, _without_background(colors, pixels), lens)
    mix_colors(own, own_weights, others, other_weights, predicted, result)
    return result


def _without_background(colors: Array, pixels: Array) -> Array:
    """Predicted colours [3, D, h, w] whose columns along the outline are those of the next inside.

    Args:
        colors: [3, D, h, w].
        pixels: [S, S, 4] of the front.
    """
    alpha = torch.from_numpy(pixels[None, None, ..., 3])
    cover = F.adaptive_avg_pool2d(alpha, colors.shape[2:])
    known = (F.avg_pool2d(cover, 3, stride=1, padding=1) > 0.98).float()
    found = torch.from_numpy(colors).transpose(0, 1)
    for _ in range(COLUMN_ROUNDS):
        weights = F.avg_pool2d(known, 3, stride=1, padding=1)
        means = F.avg_pool2d(found * known, 3, stride=1, padding=1) / weights.clamp(min=1e-6)
        found = torch.where((known == 0) & (weights > 0), means, found)
        known = (weights > 0).float()
    return found.transpose(0, 1).numpy()


def _sampled(centres: Array, volume: Array, lens: NDArray[np.float64]) -> Array:
    """Samples [N, C] of a volume [C, D, h, w]."""
    out = np.empty((len(centres), len(volume)), np.float32)
    sample_volume(centres, np.ascontiguousarray(volume.transpose(1, 2, 3, 0)), lens, out)
    return out
