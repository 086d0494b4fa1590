"""The CPU backend: the kernels' stages, strung together as one differentiable function.

Forward: project -> (sort, bin) -> composite. Backward: composite_backward -> project_backward.
Each stage is one set of workers over small tasks; `kernels.records` says what passes between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.kernels import composite, composite_backward
from l4gm.splat.kernels import records as rec
from l4gm.splat.kernels.bin import bin_pairs
from l4gm.splat.kernels.project import fill_camera_rows, project_chunks
from l4gm.splat.kernels.project_backward import project_backward
from l4gm.splat.kernels.sort import SORT_BINS
from l4gm.splat.kernels.workers import available_threads, run_workers
from l4gm.splat.workspace import Lease, Workspace

# Below this many Gaussians and pixels in all views, more threads cost more than they bring.
_SMALL_WORK = 1 << 15

# Without gradients, so many (pair, Gaussian) records are held at once: about 100 bytes each.
_GROUP_RECORDS = 1 << 22


_NAMES = ("means", "quats", "scales", "opacities", "colors")


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """What the kernels read: float32 parameters of B frames, and C cameras for each."""

    means: np.ndarray  # [B, N, 3]
    quats: np.ndarray  # [B, N, 4]
    scales: np.ndarray  # [B, N, 3]
    opacities: np.ndarray  # [B, N]
    colors: np.ndarray  # [B, N, 3]
    cameras: np.ndarray  # [B, C, CAMERA_SIZE]
    background: np.ndarray  # [3]
    size: tuple[int, int]  # width, height
    depth_range: tuple[float, float]  # near, far

    @property
    def num_frames(self) -> int:
        return self.cameras.shape[0]

    @property
    def num_views(self) -> int:
        return self.cameras.shape[1]

    @property
    def num_pairs(self) -> int:
        return self.num_frames * self.num_views

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[1]

    @property
    def num_chunks(self) -> int:
        return -(-self.num_gaussians // rec.CHUNK)

    @property
    def grid(self) -> tuple[int, int]:
        return rec.strip_grid(*self.size)

    @property
    def num_strips(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def camera_rows(self) -> np.ndarray:
        return self.cameras.reshape(-1, rec.CAMERA_SIZE)

    def num_threads(self, num_tasks: int) -> int:
        """How many threads are worth while for a stage of so many tasks."""
        work = self.num_pairs * (self.num_gaussians + self.size[0] * self.size[1])
        return 1 if work < _SMALL_WORK else min(available_threads(), num_tasks)


@dataclass(frozen=True, kw_only=True)
class _Projected:
    """What stage 1 leaves: records by pair and Gaussian, as floats and as integers; depths."""

    records: np.ndarray  # [P, N, RECORD_SIZE]
    record_ints: np.ndarray  # the same memory
    depths: np.ndarray  # [P, N], -1 where a Gaussian is not seen
    bounds: np.ndarray  # [P, chunks], at most so many entries come from a chunk


@dataclass(frozen=True, kw_only=True)
class _Binned:
    """What stages 2 and 3 leave: the entries of each strip."""

    bases: np.ndarray  # [P + 1], where a pair's entries start
    strip_starts: np.ndarray  # [P, strips + 1], from there
    entries: np.ndarray  # [all entries]
    slots: np.ndarray  # [P, N, 2], the first slot of a Gaussian, and their number


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What stage 4 leaves beside the image."""

    strip_ends: np.ndarray  # [P, strips], where a strip was finished, from the pair's base
    transmittances: np.ndarray  # [P H W]
    last_drawn: np.ndarray  # [P H W], number of the last entry of the strip that was drawn


@dataclass(frozen=True, kw_only=True)
class _Trace:
    """All that the backward needs of a forward; the lease keeps its memory from being reused."""

    lease: Lease
    scene: _Scene
    projected: _Projected
    binned: _Binned
    drawn: _Drawn


def render_cpu(gaussians: Gaussians, cameras: Cameras, background: Tensor) -> tuple[Tensor, Tensor]:
    """Render on the CPU in float32, whatever the device of the arguments.

    Differentiable with respect to the Gaussians and the background (not the cameras).
    Results do not depend on the number of threads, which is torch's, or NUMBA_NUM_THREADS where
    that is lower.

    Args:
        gaussians: [..., N].
        cameras: [..., C].
        background: [3].

    Returns:
        Image [..., C, 3, H, W] and alpha [..., C, 1, H, W], float32, where the Gaussians are.
    """
    parameters = (
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        background,
    )
    image, alpha = _Rasterize.apply(
        cameras, *(p.to("cpu", torch.float32).contiguous() for p in parameters)
    )
    return image.to(gaussians.device), alpha.to(gaussians.device)


class _Rasterize(torch.autograd.Function):
    """Image [..., C, 3, H, W] and alpha [..., C, 1, H, W]."""

    @staticmethod
    def forward(ctx: Any, cameras: Cameras, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        means, quats, scales, opacities, colors, background = (p.numpy() for p in parameters)
        number, frames = means.shape[-2], cameras.shape[:-1].numel()
        scene = _Scene(
            means=means.reshape(frames, number, 3),
            quats=quats.reshape(frames, number, 4),
            scales=scales.reshape(frames, number, 3),
            opacities=opacities.reshape(frames, number),
            colors=colors.reshape(frames, number, 3),
            background=background,
            cameras=_camera_rows(cameras, frames),
            size=(cameras.width, cameras.height),
            depth_range=(float(cameras.near), float(cameras.far)),
        )
        image = torch.empty(*cameras.shape, 3, cameras.height, cameras.width)
        alpha = torch.empty(*cameras.shape, 1, cameras.height, cameras.width)
        ctx.trace = None
        if scene.num_pairs > 0:
            if any(ctx.needs_input_grad):
                ctx.trace = _forward(scene, image.numpy(), alpha.numpy())
            else:
                pairs = (scene.num_frames, scene.num_views)
                images, alphas = (v.numpy().reshape(*pairs, *v.shape[-3:]) for v in (image, alpha))
                for part, where in _groups(scene):
                    _forward(part, images[where], alphas[where])
        ctx.save_for_backward(*parameters)
        return image, alpha

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor) -> Any:
        # Asking for the saved tensors also checks that nobody has changed them since.
        grads = [torch.zeros_like(parameter) for parameter in ctx.saved_tensors]
        trace: _Trace | None = ctx.trace
        if trace is not None:
            if ctx.needs_input_grad[6]:
                transmittance = torch.from_numpy(trace.drawn.transmittances).view_as(grad_alpha)
                weighted = grad_image * transmittance
                grads[5] = weighted.reshape(-1, *weighted.shape[-3:]).sum((0, 2, 3))
            if any(ctx.needs_input_grad[1:6]):
                _backward(
                    trace,
                    grad_image.contiguous().numpy(),
                    grad_alpha.contiguous().numpy(),
                    [
                        grad.numpy().reshape(getattr(trace.scene, name).shape)
                        for grad, name in zip(grads[:5], _NAMES, strict=True)
                    ],
                )
        return None, *grads


def _camera_rows(cameras: Cameras, num_frames: int) -> np.ndarray:
    """[num_frames, C, CAMERA_SIZE] float64; the columns are named in `kernels.records`."""
    shape = (num_frames, cameras.shape[-1])
    pose = cameras.world_from_camera.detach().cpu().double().contiguous()
    intrinsics = cameras.intrinsics.detach().cpu().double().contiguous()
    rows = np.empty((shape[0] * shape[1], rec.CAMERA_SIZE))
    fill_camera_rows(
        pose.numpy().reshape(-1, 4, 4), intrinsics.numpy().reshape(-1, 3, 3),
        (cameras.width, cameras.height), rows,
    )  # fmt: skip
    return rows.reshape(*shape, rec.CAMERA_SIZE)


def _groups(scene: _Scene) -> Iterator[tuple[_Scene, tuple[slice, slice]]]:
    """Parts of a scene whose records fit into bounded memory, and their place in [B, C]."""
    pairs = max(1, _GROUP_RECORDS // max(1, scene.num_gaussians))
    views = min(pairs, scene.num_views)
    frames = max(1, pairs // scene.num_views)
    for frame in range(0, scene.num_frames, frames):
        for view in range(0, scene.num_views, views):
            here = slice(frame, frame + frames)
            where = here, slice(view, view + views)
            part = replace(
                scene,
                means=scene.means[here],
                quats=scene.quats[here],
                scales=scene.scales[here],
                opacities=scene.opacities[here],
                colors=scene.colors[here],
                cameras=scene.cameras[where],
            )
            yield part, where


def _forward(scene: _Scene, images: np.ndarray, alphas: np.ndarray) -> _Trace:
    """Run the forward stages over all pairs; the views are written where they belong."""
    lease = Lease()
    projected = _project(scene, lease.workspace)
    binned = _bin(scene, projected, lease.workspace)
    drawn = _composite(scene, projected, binned, images, alphas, lease.workspace)
    return _Trace(lease=lease, scene=scene, projected=projected, binned=binned, drawn=drawn)


def _project(scene: _Scene, workspace: Workspace) -> _Projected:
    """Stage 1."""
    pairs, number, chunks = scene.num_pairs, scene.num_gaussians, scene.num_chunks
    records = workspace.array("records", (pairs, number, rec.RECORD_SIZE), np.float32)
    out = _Projected(
        records=records,
        record_ints=records.view(np.int32),
        depths=workspace.array("depths", (pairs, number), np.float64),
        bounds=workspace.array("bounds", (pairs, chunks), np.int32),
    )
    tasks = scene.num_frames * chunks

    def work(counter: np.ndarray, worker: int) -> None:
        project_chunks(
            counter, tasks, scene.num_views, chunks, scene.depth_range, scene.size,
            scene.means, scene.quats, scene.scales, scene.opacities, scene.colors,
            scene.camera_rows, out.records, out.record_ints, out.depths, out.bounds,
        )  # fmt: skip

    run_workers(work, scene.num_threads(tasks))
    return out


def _bin(scene: _Scene, projected: _Projected, workspace: Workspace) -> _Binned:
    """Stages 2 and 3."""
    pairs, number, strips = scene.num_pairs, scene.num_gaussians, scene.num_strips
    chunk_slots = np.zeros((pairs, scene.num_chunks + 1), np.int64)
    np.cumsum(projected.bounds, axis=1, out=chunk_slots[:, 1:])
    bases = np.zeros(pairs + 1, np.int64)
    np.cumsum(chunk_slots[:, -1], out=bases[1:])
    most = int(chunk_slots[:, -1].max())
    out = _Binned(
        bases=bases,
        strip_starts=workspace.array("strip_starts", (pairs, strips + 1), np.int64),
        entries=workspace.array("entries", (int(bases[-1]),), np.int64),
        slots=workspace.array("slots", (pairs, number, 2), np.int32),
    )
    threads = scene.num_threads(pairs)
    keys = workspace.array("keys", (threads, 2, number), np.uint64)
    histograms = workspace.array("histograms", (threads, SORT_BINS), np.int64)
    entry_strips = workspace.array("entry_strips", (threads, most), np.int32)
    unsorted = workspace.array("unsorted", (threads, most), np.int64)
    cursors = workspace.array("cursors", (threads, strips), np.int64)

    def work(counter: np.ndarray, worker: int) -> None:
        bin_pairs(
            counter, pairs, scene.size, scene.grid,
            projected.records, projected.record_ints, projected.depths, chunk_slots, bases,
            keys[worker], histograms[worker], entry_strips[worker], unsorted[worker],
            cursors[worker], out.strip_starts, out.entries, out.slots,
        )  # fmt: skip

    run_workers(work, threads)
    return out


def _composite(
    scene: _Scene,
    projected: _Projected,
    binned: _Binned,
    images: np.ndarray,
    alphas: np.ndarray,
    workspace: Workspace,
) -> _Drawn:
    """Stage 4."""
    assert images.flags.c_contiguous
    assert alphas.flags.c_contiguous
    strips = scene.num_pairs * scene.num_strips
    out = _Drawn(
        strip_ends=workspace.array("strip_ends", (scene.num_pairs, scene.num_strips), np.int64),
        transmittances=workspace.array("transmittances", (alphas.size,), np.float32),
        last_drawn=workspace.array("last_drawn", (alphas.size,), np.float32),
    )
    views = images.reshape(-1), alphas.reshape(-1), out.transmittances, out.last_drawn
    threads = scene.num_threads(-(-strips // rec.STRIPS_PER_TASK))
    rows = workspace.array("rows", (threads, composite.STRIP_FLOATS), np.float32)

    def work(counter: np.ndarray, worker: int) -> None:
        composite.composite_strips(
            counter, strips, scene.size, scene.grid, scene.background,
            projected.records, binned.strip_starts, binned.entries, binned.bases,
            rows[worker], views, out.strip_ends,
        )  # fmt: skip

    run_workers(work, threads)
    return out


def _backward(
    trace: _Trace, grad_images: np.ndarray, grad_alphas: np.ndarray, grads: list[np.ndarray]
) -> None:
    """Run the backward stages over all pairs; fills the gradients of the five parameters."""
    scene, projected, binned, drawn = trace.scene, trace.projected, trace.binned, trace.drawn
    lease = Lease()
    workspace = lease.workspace
    strips = scene.num_pairs * scene.num_strips
    threads = scene.num_threads(-(-strips // rec.STRIPS_PER_TASK))
    rows = workspace.array("rows", (threads, composite_backward.STRIP_FLOATS), np.float32)
    sums = workspace.array("sums", (len(binned.entries) * rec.SLOT_SIZE,), np.float32)
    last_sums = workspace.array("last_sums", (len(binned.entries),), np.float32)
    views = drawn.transmittances, drawn.last_drawn, grad_images.reshape(-1), grad_alphas.reshape(-1)

    def differentiate(counter: np.ndarray, worker: int) -> None:
        composite_backward.differentiate_strips(
            counter, strips, scene.size, scene.grid, scene.background,
            projected.records, projected.record_ints,
            binned.strip_starts, drawn.strip_ends, binned.entries, binned.bases,
            views, rows[worker], sums, last_sums,
        )  # fmt: skip

    run_workers(differentiate, threads)

    tasks = scene.num_frames * scene.num_chunks

    def gather(counter: np.ndarray, worker: int) -> None:
        project_backward(
            counter, tasks, scene.num_views, scene.num_chunks,
            scene.means, scene.quats, scene.scales, scene.opacities, scene.camera_rows,
            binned.slots, binned.bases, sums, last_sums, *grads,
        )  # fmt: skip

    run_workers(gather, scene.num_threads(tasks))
