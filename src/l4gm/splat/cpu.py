"""The CPU backend: the kernels' stages, strung together as one differentiable function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.constants import JACOBIAN_MARGIN
from l4gm.splat.kernels import composite, composite_backward, project_backward
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.bin import bin_pairs
from l4gm.splat.kernels.project import project_chunks
from l4gm.splat.kernels.sort import SORT_BINS
from l4gm.splat.kernels.workers import available_threads, run_workers
from l4gm.splat.workspace import Lease


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What the kernels read: float32 [B, N, ...], cameras [P, CAMERA_SIZE], and plain numbers."""

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    colors: np.ndarray
    cameras: np.ndarray
    num_views: int
    size: tuple[int, int]
    depth_range: tuple[float, float]

    @property
    def num_pairs(self) -> int:
        return len(self.cameras)

    @property
    def num_frames(self) -> int:
        return len(self.means)

    @property
    def grid(self) -> tuple[int, int]:
        return rec.strip_grid(*self.size)


@dataclass(frozen=True, kw_only=True)
class _Lists:
    """What the forward stages leave for the backward ones; see `kernels.records`."""

    lease: Lease  # keeps the arrays below from being reused
    records: np.ndarray
    record_ints: np.ndarray
    bases: np.ndarray
    strip_starts: np.ndarray
    strip_ends: np.ndarray
    entries: np.ndarray
    num_slots: np.ndarray
    transmittances: np.ndarray
    last_drawn: np.ndarray


def render_cpu(gaussians: Gaussians, cameras: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    """Render on the CPU in float32, whatever the device of the arguments.

    Differentiable with respect to the Gaussians and the background (not the cameras).
    Results do not depend on the number of threads.

    Args:
        gaussians: [B, N].
        cameras: [B, C].
        background: [3].

    Returns:
        Image [B, C, 3, H, W] and alpha [B, C, 1, H, W], float32, on the device of the Gaussians.
    """
    image, alpha = _Rasterize.apply(
        *(
            tensor.to("cpu", torch.float32).contiguous()
            for tensor in (
                gaussians.means,
                gaussians.quats,
                gaussians.scales,
                gaussians.opacities,
                gaussians.colors,
                background,
            )
        ),
        _camera_rows(cameras),
        cameras,
    )
    shape = (*cameras.shape, -1, cameras.height, cameras.width)
    device = gaussians.device
    return image.reshape(shape).to(device), alpha.reshape(shape).to(device)


def _camera_rows(cameras: Cameras) -> np.ndarray:
    """[P, CAMERA_SIZE] float64; the columns are named in `kernels.records`."""
    pose = cameras.world_from_camera.detach().to("cpu", torch.float64).reshape(-1, 4, 4).numpy()
    intrinsics = cameras.intrinsics.detach().to("cpu", torch.float64).reshape(-1, 3, 3).numpy()
    rotation = pose[:, :3, :3].transpose(0, 2, 1)
    fx, fy = intrinsics[:, 0, 0], intrinsics[:, 1, 1]
    cx, cy = intrinsics[:, 0, 2], intrinsics[:, 1, 2]
    margin_x = JACOBIAN_MARGIN * cameras.width / (2 * fx)
    margin_y = JACOBIAN_MARGIN * cameras.height / (2 * fy)
    rows = np.empty((len(pose), rec.CAMERA_SIZE))
    rows[:, : rec.TRANSLATION] = rotation.reshape(-1, 9)
    rows[:, rec.TRANSLATION : rec.TRANSLATION + 3] = -(rotation @ pose[:, :3, 3:])[..., 0]
    rows[:, rec.FOCAL_X], rows[:, rec.FOCAL_Y] = fx, fy
    rows[:, rec.CENTRE_X], rows[:, rec.CENTRE_Y] = cx, cy
    rows[:, rec.SLOPE_X_MIN] = -(cx / fx + margin_x)
    rows[:, rec.SLOPE_X_MAX] = (cameras.width - cx) / fx + margin_x
    rows[:, rec.SLOPE_Y_MIN] = -(cy / fy + margin_y)
    rows[:, rec.SLOPE_Y_MAX] = (cameras.height - cy) / fy + margin_y
    return rows


class _Rasterize(torch.autograd.Function):
    """Image [P, 3, H, W] and alpha [P, H, W] of P = B C pairs."""

    @staticmethod
    def forward(
        ctx: Any,
        means: Tensor,
        quats: Tensor,
        scales: Tensor,
        opacities: Tensor,
        colors: Tensor,
        background: Tensor,
        camera_rows: np.ndarray,
        cameras: Cameras,
    ) -> tuple[Tensor, Tensor]:
        scene = _Scene(
            means=means.numpy(),
            quats=quats.numpy(),
            scales=scales.numpy(),
            opacities=opacities.numpy(),
            colors=colors.numpy(),
            cameras=camera_rows,
            num_views=cameras.shape[1],
            size=(cameras.width, cameras.height),
            depth_range=(float(cameras.near), float(cameras.far)),
        )
        image = torch.empty(scene.num_pairs, 3, cameras.height, cameras.width)
        alpha = torch.empty(scene.num_pairs, cameras.height, cameras.width)
        if scene.num_pairs > 0:
            lists = _forward(scene, background.numpy(), image.numpy(), alpha.numpy())
            if any(ctx.needs_input_grad):
                ctx.lists, ctx.scene = lists, scene
        ctx.save_for_backward(means, quats, scales, opacities, colors, background)
        return image, alpha

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor) -> Any:
        grads = [torch.zeros_like(parameter) for parameter in ctx.saved_tensors]
        if len(grad_image) > 0:
            if ctx.needs_input_grad[5]:
                shape = (len(grad_image), 1, *grad_image.shape[-2:])
                transmittance = torch.from_numpy(ctx.lists.transmittances).reshape(shape)
                grads[5] = (grad_image * transmittance).sum((0, 2, 3))
            if any(ctx.needs_input_grad[:5]):
                _backward(
                    ctx.scene,
                    ctx.lists,
                    ctx.saved_tensors[5].numpy(),
                    grad_image.contiguous().numpy(),
                    grad_alpha.contiguous().numpy(),
                    [grad.numpy() for grad in grads[:5]],
                )
        return *grads, None, None


def _forward(
    scene: _Scene, background: np.ndarray, images: np.ndarray, alphas: np.ndarray
) -> _Lists:
    """Run the forward stages over all pairs."""
    lease = Lease()
    array = lease.workspace.array
    pairs, number = scene.num_pairs, scene.means.shape[1]
    strips = scene.grid[0] * scene.grid[1]
    threads = available_threads()
    pair_threads = min(threads, pairs)
    chunks = -(-number // rec.CHUNK)

    records = array("records", (pairs, number, rec.RECORD_SIZE), np.float32)
    record_ints = records.view(np.int32)
    depths = array("depths", (pairs, number), np.float64)
    bounds = array("bounds", (pairs, chunks), np.int32)
    counter = np.zeros(1, np.int64)

    def project(worker: int) -> None:
        project_chunks(
            counter, scene.num_frames * chunks, scene.num_views, chunks,
            scene.depth_range, scene.size,
            scene.means, scene.quats, scene.scales, scene.opacities, scene.colors, scene.cameras,
            records, record_ints, depths, bounds,
        )  # fmt: skip

    run_workers(project, min(threads, max(1, scene.num_frames * chunks)))

    chunk_slots = np.zeros((pairs, chunks + 1), np.int64)
    np.cumsum(bounds, axis=1, out=chunk_slots[:, 1:])
    bases = np.zeros(pairs + 1, np.int64)
    np.cumsum(chunk_slots[:, -1], out=bases[1:])
    most = int(chunk_slots[:, -1].max())
    keys = array("keys", (pair_threads, 2, number), np.uint64)
    histograms = array("histograms", (pair_threads, SORT_BINS), np.int64)
    entry_strips = array("entry_strips", (pair_threads, most), np.int32)
    unsorted = array("unsorted", (pair_threads, most), np.int64)
    cursors = array("cursors", (pair_threads, strips), np.int64)
    strip_starts = array("strip_starts", (pairs, strips + 1), np.int64)
    entries = array("entries", (int(bases[-1]),), np.int64)
    num_slots = array("num_slots", (pairs, number), np.int32)
    counter_bin = np.zeros(1, np.int64)

    def sort_entries(worker: int) -> None:
        bin_pairs(
            counter_bin, pairs, scene.size, scene.grid, records, record_ints, depths,
            chunk_slots, bases, keys[worker], histograms[worker],
            entry_strips[worker], unsorted[worker], cursors[worker],
            strip_starts, entries, num_slots,
        )  # fmt: skip

    run_workers(sort_entries, pair_threads)

    rows = array("rows", (threads, rec.STRIP_ROWS * composite.ROW_FLOATS), np.float32)
    transmittances = array("transmittances", (alphas.size,), np.float32)
    last_drawn = array("last_drawn", (alphas.size,), np.float32)
    strip_ends = array("strip_ends", (pairs, strips), np.int64)
    counter_draw = np.zeros(1, np.int64)

    def draw(worker: int) -> None:
        composite.composite_strips(
            counter_draw, pairs * strips, scene.size, scene.grid, background,
            records, strip_starts, entries, bases, rows[worker],
            (images.reshape(-1), alphas.reshape(-1), transmittances, last_drawn), strip_ends,
        )  # fmt: skip

    run_workers(draw, min(threads, pairs * strips))
    return _Lists(
        lease=lease,
        records=records,
        record_ints=record_ints,
        bases=bases,
        strip_starts=strip_starts,
        strip_ends=strip_ends,
        entries=entries,
        num_slots=num_slots,
        transmittances=transmittances,
        last_drawn=last_drawn,
    )


def _backward(
    scene: _Scene,
    lists: _Lists,
    background: np.ndarray,
    grad_images: np.ndarray,
    grad_alphas: np.ndarray,
    grads: list[np.ndarray],
) -> None:
    """Run the backward stages over all pairs; fills the gradients of the five parameters."""
    lease = Lease()
    array = lease.workspace.array
    threads = available_threads()
    pairs, number = scene.num_pairs, scene.means.shape[1]
    tasks = pairs * scene.grid[0] * scene.grid[1]
    sums = array("sums", (len(lists.entries) * rec.SLOT_SIZE,), np.float32)
    last_sums = array("last_sums", (len(lists.entries),), np.float32)
    rows = array(
        "backward_rows", (threads, rec.STRIP_ROWS * composite_backward.ROW_FLOATS), np.float32
    )
    counter = np.zeros(1, np.int64)
    views = lists.transmittances, lists.last_drawn, grad_images.reshape(-1), grad_alphas.reshape(-1)

    def differentiate(worker: int) -> None:
        composite_backward.differentiate_strips(
            counter, tasks, scene.size, scene.grid, background,
            lists.records, lists.record_ints, lists.strip_starts, lists.strip_ends,
            lists.entries, lists.bases, views, rows[worker], sums, last_sums,
        )  # fmt: skip

    run_workers(differentiate, min(threads, tasks))

    chunks = -(-number // rec.CHUNK)
    tasks = scene.num_frames * chunks
    counter_backward = np.zeros(1, np.int64)

    def gather(worker: int) -> None:
        project_backward.project_backward(
            counter_backward, tasks, scene.num_views, chunks,
            scene.means, scene.quats, scene.scales, scene.opacities, scene.cameras,
            lists.record_ints, lists.num_slots, lists.bases, sums, last_sums, *grads,
        )  # fmt: skip

    run_workers(gather, max(1, min(threads, tasks)))
