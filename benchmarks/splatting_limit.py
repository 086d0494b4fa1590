"""Where the time of the CPU backend goes, and what its arithmetic alone would take."""

from __future__ import annotations

import time

import numpy as np
import torch
from numba import njit

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat import cpu
from l4gm.splat.kernels import composite
from l4gm.splat.kernels import records as rec
from l4gm.splat.workspace import Lease

_REPEATS = 7


def _scene(gaussians: Gaussians, cameras: Cameras) -> cpu._Scene:
    names = ("means", "quats", "scales", "opacities", "colors")
    return cpu._Scene(
        **{name: getattr(gaussians, name)[None].numpy() for name in names},
        cameras=cpu._camera_rows(cameras, 1),
        background=np.ones(3, np.float32),
        size=(cameras.width, cameras.height),
        depth_range=(float(cameras.near), float(cameras.far)),
    )


def stage_seconds(gaussians: Gaussians, cameras: Cameras) -> dict[str, float]:
    """Least seconds of each stage, forward and backward, on this thread's own clock."""
    scene = _scene(gaussians, cameras)
    shape = (scene.num_pairs, cameras.height, cameras.width)
    image, alpha = (
        np.empty((len(cameras.world_from_camera), 3, *shape[1:]), np.float32),
        np.empty(shape, np.float32),
    )
    rng = np.random.default_rng(0)
    grad_image, grad_alpha = (
        rng.normal(size=view.shape).astype(np.float32) for view in (image, alpha)
    )
    grads = [np.empty_like(getattr(scene, n)) for n in ("means", "quats", "scales")]
    grads += [np.empty_like(scene.opacities), np.empty_like(scene.colors)]
    best: dict[str, float] = {}
    real = cpu.run_workers
    names = iter(())

    def timed(work, number):  # the stages come in a fixed order
        start = time.thread_time()
        real(work, number)
        name = next(names)
        best[name] = min(best.get(name, np.inf), time.thread_time() - start)

    cpu.run_workers = timed
    try:
        for _ in range(_REPEATS):
            names = iter(("project", "sort and bin", "composite", "composite backward",
                          "project backward"))  # fmt: skip
            trace = cpu._forward(scene, image, alpha)
            cpu._backward(trace, grad_image, grad_alpha, grads)
    finally:
        cpu.run_workers = real
    return best


@njit
def _count_live_rows(records, entries, starts, columns, height, rows):
    """Rows that are not finished when an entry comes to them, over all strips of one view."""
    live = 0
    for strip in range(len(starts) - 1):
        left = (strip % columns) * rec.STRIP_WIDTH
        top = (strip // columns) * rec.STRIP_ROWS
        num_rows = min(rec.STRIP_ROWS, height - top)
        composite._clear_strip(rows, num_rows, rec.STRIP_WIDTH)
        for k in range(starts[strip], starts[strip + 1]):
            unfinished = composite._unfinished_rows(rows, num_rows)
            todo = composite.entry_rows(entries[k]) & unfinished
            while todo != 0:
                todo &= todo - np.uint64(1)
                live += 1
            composite._composite_strip(records, entries, k, k + 1, left, top, num_rows, rows)
    return live


def live_rows(gaussians: Gaussians, cameras: Cameras) -> int:
    """Rows of eight pixels that one view has to draw."""
    scene = _scene(gaussians, cameras)
    with torch.inference_mode():
        lease = Lease()
        projected = cpu._project(scene, lease.workspace)
        binned = cpu._bin(scene, projected, lease.workspace)
    rows = np.empty(composite.STRIP_FLOATS, np.float32)
    return int(
        _count_live_rows(
            projected.records[0], binned.entries, binned.strip_starts[0], scene.grid[0],
            cameras.height, rows,
        )
    )  # fmt: skip


def seconds_per_row() -> float:
    """Seconds to composite a row when each entry covers all rows and nothing ever finishes."""
    entries = np.full(2000, rec.STRIP_ROWS, np.int64)  # record 0, rows 0 to 63
    records = np.zeros((1, rec.RECORD_SIZE), np.float32)
    records[0, rec.LOG_OPACITY] = -7.9
    records[0, [rec.ALONG_X, rec.ALONG_Y]] = -1e-6
    rows = np.empty(composite.STRIP_FLOATS, np.float32)
    best = np.inf
    for _ in range(_REPEATS):
        composite._clear_strip(rows, rec.STRIP_ROWS, rec.STRIP_WIDTH)
        start = time.thread_time()
        composite._composite_strip(records, entries, 0, len(entries), 0, 0, rec.STRIP_ROWS, rows)
        best = min(best, time.thread_time() - start)
    return best / (len(entries) * rec.STRIP_ROWS)
