"""From a predicted volume and the images of an object to opaque splats on its surface."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.solid.kernels.splats import FRONT, hash_cells, place
from l4gm.solid.surface_colors import Reference, paint
from l4gm.solid.surface_shape import FRONT_SHARE, Elements, frame_elements
from l4gm.solid.volume import Frustum, Volume
from l4gm.splat.kernels.workers import available_threads

OPACITY = 0.95
FRONT_SIGMA = 0.2  # of a pixel
SKIN_SIGMA = 0.58  # of the distance to the neighbours
FLATNESS = 0.15  # sigma along the normal, of that along the surface

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """Given images of the reference moment, besides the video's own.

    Args:
        images: [V, 4, S, S] straight RGBA in [0, 1].
        cameras: [V].
        logits: [D, h, w], the volume of the reference moment, for what hides what.
    """

    images: Tensor
    cameras: Cameras
    logits: Tensor


def surface_gaussians(
    volume: Volume, frustum: Frustum, frames: Tensor, views: Views | None, num_gaussians: int
) -> Gaussians:
    """Opaque splats on the surface of each frame's object, coloured by the images that show it.

    Every pixel that a frame shows as object (alpha above one half) gets a splat of its own, as long
    as `num_gaussians` allows; the rest of the surface is covered from all sides. Runs on the CPU,
    one frame a thread. A frame depends on no other.

    Args:
        volume: of the T frames.
        frustum: where its cells are.
        frames: [T, 4, S, S] straight RGBA in [0, 1], seen by the frustum's camera.
        views: other images, of another moment to which the volume's motion leads.
        num_gaussians: N.

    Returns:
        Gaussians [T, N], float32, on the device of the frames. All have the same opacity; only
        those of a frame without any object are invisible.

    Raises:
        ValueError: if shapes do not fit.
    """
    _check(volume, frames, num_gaussians)
    lens = frustum.lens.numpy()
    pose = frustum.camera.world_from_camera.double().cpu().numpy()
    reference = (
        None if views is None else Reference(views.images, views.cameras, views.logits, frustum)
    )
    arrays = [
        t.detach().float().cpu().numpy()
        for t in (volume.logits, volume.colors, volume.motion, frames)
    ]

    def frame(index: int) -> Gaussians:
        logits, colors, motion, image = (array[index] for array in arrays)
        motion = np.einsum("wc,wdyx->cdyx", pose[:3, :3].astype(np.float32), motion)
        elements = frame_elements(logits, image, lens, num_gaussians)
        if elements is None:
            return _nothing(num_gaussians, lens, pose)
        centres, axes, scales, sources = _lay_out(elements, num_gaussians)
        rgb = paint(centres, elements, sources, colors, motion, lens, reference)
        return _in_world(centres, axes, scales, rgb, pose)

    with ThreadPoolExecutor(min(available_threads(), max(len(frames), 1))) as pool:
        return Gaussians.stack(list(pool.map(frame, range(len(frames))))).to(frames.device)


def _check(volume: Volume, frames: Tensor, num_gaussians: int) -> None:
    if frames.ndim != 4 or frames.shape[1] != 4 or frames.shape[2] != frames.shape[3]:
        raise ValueError(f"frames must be [T, 4, S, S], got {list(frames.shape)}")
    if len(frames) != len(volume.logits) or not len(frames):
        raise ValueError(f"{len(frames)} frames, but the volume has {len(volume.logits)}")
    if num_gaussians < 1:
        raise ValueError(f"num_gaussians must be positive, got {num_gaussians}")


def _lay_out(elements: Elements, total: int) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Exactly `total` splats: their centres, axes, scales and elements."""
    front = elements.roles == FRONT
    sigmas = elements.spacings * np.where(front, FRONT_SIGMA, SKIN_SIGMA)[:, None]
    counts = _parts(elements.cells, front, total)
    for chosen in (front, ~front):
        left = np.count_nonzero(counts[chosen]) / max(np.count_nonzero(chosen), 1)
        if 0 < left < 1:  # the others close the gaps
            sigmas[chosen] /= np.sqrt(left)
    centres = np.empty((total, 3), np.float32)
    axes, scales = np.empty((total, 3, 3), np.float32), np.empty((total, 3), np.float32)
    sources = np.empty(total, np.int64)
    place(
        elements.points, elements.normals, sigmas.astype(np.float32), counts, FLATNESS,
        centres, axes, scales, sources,
    )  # fmt: skip
    return centres, axes, scales, sources


def _parts(cells: NDArray[np.int64], front: NDArray[np.bool_], total: int) -> NDArray[np.int64]:
    """How many splats each element becomes: none, one or several, `total` in all."""
    num_front, num_skin = int(front.sum()), int((~front).sum())
    for_skin = total - min(num_front, round(FRONT_SHARE * total)) if num_skin else 0
    counts = np.empty(len(cells), np.int64)
    counts[~front] = _share_out(for_skin, cells[~front], 0)
    counts[front] = _share_out(total - for_skin, cells[front], 1)
    return counts


def _share_out(total: int, cells: NDArray[np.int64], salt: int) -> NDArray[np.int64]:
    """Share `total` splats evenly; who gets one more is the choice of the cells' hashes."""
    if not len(cells):
        return np.zeros(0, np.int64)
    hashes = np.empty(len(cells), np.uint32)
    hash_cells(cells, salt, hashes)
    counts = np.full(len(cells), total // len(cells), np.int64)
    counts[np.argsort(hashes, kind="stable")[: total % len(cells)]] += 1
    return counts


def _in_world(
    centres: Array, axes: Array, scales: Array, rgb: Array, pose: NDArray[np.float64]
) -> Gaussians:
    """Splats in the camera's axes as Gaussians in the world."""
    rotation = pose[:3, :3].astype(np.float32)
    means = centres @ rotation.T + pose[:3, 3].astype(np.float32)
    return Gaussians(
        means=torch.from_numpy(means),
        quats=_quats(torch.from_numpy(rotation @ axes)),
        scales=torch.from_numpy(scales),
        opacities=torch.full((len(means),), OPACITY),
        colors=torch.from_numpy(rgb),
    )


def _quats(rotations: Tensor) -> Tensor:
    """[N, 4], w first, of rotation matrices [N, 3, 3]: the best conditioned of four formulas."""
    m = rotations
    a, b, c = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    x, y, z = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    rows = torch.stack(
        [
            torch.stack([1 + a + b + c, x, y, z], -1),
            torch.stack([x, 1 + a - b - c, xy, xz], -1),
            torch.stack([y, xy, 1 - a + b - c, yz], -1),
            torch.stack([z, xz, yz, 1 - a - b + c], -1),
        ],
        1,
    )
    best = torch.stack([rows[:, k, k] for k in range(4)], -1).argmax(-1)
    return torch.nn.functional.normalize(rows[torch.arange(len(rows)), best], dim=-1)


def _nothing(total: int, lens: NDArray[np.float64], pose: NDArray[np.float64]) -> Gaussians:
    """Invisible splats in the middle of the frustum, for a frame that shows no object."""
    middle = pose[:3, :3] @ np.array([0, 0, (lens[4] + lens[5]) / 2]) + pose[:3, 3]
    quats = torch.zeros(total, 4)
    quats[:, 0] = 1
    return Gaussians(
        means=torch.from_numpy(middle).float().expand(total, 3).clone(),
        quats=quats,
        scales=torch.full((total, 3), 1e-6),
        opacities=torch.zeros(total),
        colors=torch.zeros(total, 3),
    )
