"""The triton backend (CUDA, nothing to build): its stages as one differentiable function.

Forward: project -> list_entries -> (torch's sort) -> composite.
Backward: differentiate -> project_backward. Every stage is one launch over all frames and views;
`triton_kernels.layout` says what passes between them. Results are the same bits from run to run.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.checks import check_finite, sum_of_all
from l4gm.splat.constants import JACOBIAN_MARGIN
from l4gm.splat.triton_kernels import layout
from l4gm.splat.triton_kernels.composite import composite
from l4gm.splat.triton_kernels.composite_backward import differentiate
from l4gm.splat.triton_kernels.project import project
from l4gm.splat.triton_kernels.project_backward import add_slots, project_backward
from l4gm.splat.triton_kernels.tiles import list_entries

# Gaussians or entries in a program of the stages that go over these.
BLOCK = 128

# One warp draws a tile, so that its sums need no barrier. Where that would leave the processors
# short of warps, four do.
MANY_TILES_WARPS, FEW_TILES_WARPS = 1, 4
_TILES_PER_PROCESSOR = 8

# Without gradients, so many (pair, Gaussian) records are held at once: about 200 bytes each with
# their entries, as much as so many pixels.
_GROUP_RECORDS = 1 << 22
_PIXELS_PER_RECORD = 8

_MAX_RECORDS = 1 << 31  # what an int32 numbers

_INTERPRETED = not isinstance(composite, triton.JITFunction)


class _Scene(NamedTuple):
    """What the kernels read: float32 parameters of B frames, and C cameras for each."""

    cameras: Cameras  # [B, C]
    means: Tensor  # [B, N, 3]
    quats: Tensor  # [B, N, 4]
    scales: Tensor  # [B, N, 3]
    opacities: Tensor  # [B, N]
    colors: Tensor  # [B, N, 3]
    background: Tensor  # [3]

    @property
    def device(self) -> torch.device:
        return self.means.device

    @property
    def num_gaussians(self) -> int:
        return self.means.shape[1]

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
    def num_records(self) -> int:
        return self.num_pairs * self.num_gaussians

    @property
    def num_tiles(self) -> int:
        columns, rows = layout.tile_grid(*self.size)
        return self.num_pairs * columns * rows

    @property
    def size(self) -> tuple[int, int]:
        return self.cameras.width, self.cameras.height


class _Trace(NamedTuple):
    """What the backward needs of a forward beside the scene."""

    camera_rows: Tensor  # [P, CAMERA_SIZE]
    records: Tensor  # [P N, RECORD_SIZE]
    starts: Tensor  # [P N + 1], where each Gaussian's slots start
    slots: Tensor  # [entries], by tile and depth
    ids: Tensor  # [entries], their records
    tile_starts: Tensor  # [tiles + 1]
    transmittances: Tensor  # [P, H, W]
    last_drawn: Tensor  # [P, H, W]


def render_triton(
    gaussians: Gaussians, cameras: Cameras, background: Tensor
) -> tuple[Tensor, Tensor]:
    """Render on a CUDA device in float32.

    Differentiable with respect to the Gaussians and the background (not the cameras). All frames
    and views share every launch, and the host waits once, for the number of entries.

    Args:
        gaussians: [..., N], on a CUDA device; on the CPU only with TRITON_INTERPRET=1, for tests.
        cameras: [..., C].
        background: [3].

    Returns:
        Image [..., C, 3, H, W] and alpha [..., C, 1, H, W].

    Raises:
        InputError: if the Gaussians are on another device.
        ValueError: if a value is not finite, or there is too much for one call.
    """
    device, shape = gaussians.device, cameras.shape
    if device.type != "cuda" and not (device.type == "cpu" and _INTERPRETED):
        raise InputError(
            f'backend "triton" needs Gaussians on a CUDA device, got {device.type}: '
            'move them, or take backend="cpu"'
        )
    num_frames, num_views = shape[:-1].numel(), shape[-1]
    flat = gaussians.to(torch.float32).reshape(num_frames).map(Tensor.contiguous)
    cameras, background = cameras.reshape(num_frames, num_views), background.float()
    with _on(device):
        image, alpha = _render_parts(flat, cameras, background)
    return image.reshape(*shape, *image.shape[-3:]), alpha.reshape(*shape, *alpha.shape[-3:])


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Launch on the device of the tensors, whichever is the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _render_parts(
    gaussians: Gaussians, cameras: Cameras, background: Tensor
) -> tuple[Tensor, Tensor]:
    """All [B, C] in one go if gradients are wanted, else in groups of bounded memory."""
    tensors = (
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        background,
    )
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return _Rasterize.apply(cameras, *tensors)
    size = (cameras.height, cameras.width)
    image = background.new_empty(*cameras.shape, 3, *size)
    alpha = background.new_empty(*cameras.shape, 1, *size)
    for where in _groups(cameras, gaussians.num_gaussians):
        part = [tensor[where[0]] for tensor in tensors[:5]]
        image[where], alpha[where] = _Rasterize.apply(cameras[where], *part, background)
    return image, alpha


def _groups(cameras: Cameras, num_gaussians: int) -> Iterator[tuple[slice, slice]]:
    """Parts of [B, C] whose records and images fit into bounded memory."""
    num_frames, num_views = cameras.shape
    pair_size = max(1, num_gaussians, cameras.width * cameras.height // _PIXELS_PER_RECORD)
    pairs = max(1, _GROUP_RECORDS // pair_size)
    views = max(1, min(pairs, num_views))
    frames = max(1, pairs // views)
    for frame in range(0, num_frames, frames):
        for view in range(0, num_views, views):
            yield slice(frame, frame + frames), slice(view, view + views)


class _Rasterize(torch.autograd.Function):
    """Image [B, C, 3, H, W] and alpha [B, C, 1, H, W]."""

    @staticmethod
    def forward(ctx: Any, cameras: Cameras, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        scene = _Scene(cameras, *parameters)
        image, alpha, trace = _forward(scene)
        ctx.cameras = cameras
        ctx.save_for_backward(*parameters, *trace)
        return image, alpha

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_image: Tensor, grad_alpha: Tensor) -> Any:
        # Asking for the saved tensors also checks that nobody has changed them since.
        saved = ctx.saved_tensors
        scene, trace = _Scene(ctx.cameras, *saved[:6]), _Trace(*saved[6:])
        grads: list[Tensor | None] = [None] * 6
        with _on(scene.device):
            if any(ctx.needs_input_grad[1:6]):
                grads[:5] = _backward(
                    scene, trace, grad_image.contiguous(), grad_alpha.contiguous()
                )
            if ctx.needs_input_grad[6]:
                transmittances = trace.transmittances.view_as(grad_alpha)
                grads[5] = (grad_image * transmittances).sum((0, 1, 3, 4))
        return None, *grads


def _forward(scene: _Scene) -> tuple[Tensor, Tensor, _Trace]:
    """Run the forward stages over all pairs: image, alpha, and what the backward needs."""
    _check_numbers(scene)
    rows = _camera_rows(scene.cameras, scene.device)
    records, depths, starts = _project(scene, rows)
    slots, ids, tile_starts = _bin(scene, records, depths, starts)
    width, height = scene.size
    pixels = (scene.num_pairs, height, width)
    image = records.new_empty(*scene.cameras.shape, 3, height, width)
    alpha = records.new_empty(*scene.cameras.shape, 1, height, width)
    transmittances = records.new_empty(pixels)
    last_drawn = records.new_empty(pixels, dtype=torch.int32)
    _launch(
        composite, scene.num_tiles, records, ids, tile_starts, scene.background,
        image, alpha, transmittances, last_drawn, width, height, num_warps=_tile_warps(scene),
    )  # fmt: skip
    trace = _Trace(rows, records, starts, slots, ids, tile_starts, transmittances, last_drawn)
    return image, alpha, trace


def _check_numbers(scene: _Scene) -> None:
    """Raise where tiles or records are more than the sort keys and the ids can number."""
    for what, number, most in (
        ("tiles", scene.num_tiles, layout.MAX_TILES),
        ("Gaussians", scene.num_records, _MAX_RECORDS),
    ):
        if number >= most:
            raise ValueError(
                f"{scene.num_frames} frames in {scene.num_views} views of {scene.size[0]} x "
                f"{scene.size[1]} px have {number} {what}, expected less than {most}: "
                "render them in several calls"
            )


def _camera_rows(cameras: Cameras, device: torch.device) -> Tensor:
    """[P, CAMERA_SIZE] float64; the columns are named in `triton_kernels.layout`."""
    flat = cameras.reshape(-1).to(device, torch.float64, non_blocking=device.type == "cuda")
    pose, intrinsics = flat.camera_from_world.detach(), flat.intrinsics.detach()
    columns = [
        *(pose[:, i, j] for i in range(3) for j in range(3)),
        *(pose[:, i, 3] for i in range(3)),
        *(intrinsics[:, i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2))),
        pose.new_full((len(pose),), cameras.near),
        pose.new_full((len(pose),), cameras.far),
    ]
    for axis, size in enumerate((cameras.width, cameras.height)):
        focal, centre = intrinsics[:, axis, axis], intrinsics[:, axis, 2]
        margin = 0.5 * JACOBIAN_MARGIN * size
        columns += [-(centre + margin) / focal, (size - centre + margin) / focal]
    return torch.stack(columns, 1)


def _depth_code(near: float, far: float) -> tuple[int, int]:
    """(origin, shift): a depth as an integer is (its bits - origin) >> shift.

    The bits of positive floating-point numbers, read as integers, are in the numbers' order. As
    many low ones are dropped as the span from near to far makes necessary.
    """
    origin, last = struct.unpack("<qq", struct.pack("<dd", near, far))
    return origin, max(0, (last - origin).bit_length() - layout.DEPTH_BITS.value)


def _project(scene: _Scene, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Stage 1: records, depths, and where each Gaussian's entries start."""
    # Never none: a tile without entries looks at the first, and does nothing with it.
    records = scene.means.new_empty(max(1, scene.num_records), layout.RECORD_SIZE.value)
    depths = records.new_empty(scene.num_records, dtype=torch.int64)
    counts = records.new_empty(scene.num_records, dtype=torch.int32)
    _launch(
        project, scene.num_pairs * triton.cdiv(scene.num_gaussians, BLOCK),
        scene.means, scene.quats, scene.scales, scene.opacities, scene.colors, rows,
        records, depths, counts, scene.num_gaussians, scene.num_views, *scene.size,
        *_depth_code(scene.cameras.near, scene.cameras.far), block=BLOCK,
    )  # fmt: skip
    starts = depths.new_zeros(scene.num_records + 1)
    torch.cumsum(counts, 0, dtype=torch.int64, out=starts[1:])
    return records, depths, starts


def _bin(
    scene: _Scene, records: Tensor, depths: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Stage 2: slots and records of the entries by tile and depth, and where each tile starts."""
    num_entries = _wait_for_entries(scene, starts)
    counts = starts.diff()
    owners = torch.repeat_interleave(counts, output_size=num_entries)
    keys = torch.empty_like(owners)
    _launch(
        list_entries, triton.cdiv(num_entries, BLOCK), records, depths, starts, owners, keys,
        num_entries, scene.num_gaussians, scene.num_pairs, *scene.size, block=BLOCK,
    )  # fmt: skip
    keys, slots = keys.sort(stable=True)
    tiles = torch.arange(scene.num_tiles + 1, device=scene.device)
    tile_starts = torch.searchsorted(keys, tiles << layout.DEPTH_BITS.value)
    return slots, owners[slots].to(torch.int32), tile_starts


def _wait_for_entries(scene: _Scene, starts: Tensor) -> int:
    """The number of entries, and the check of the inputs: the one time that the host waits."""
    named = Gaussians(scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
    total = sum_of_all(named, scene.cameras, scene.background)
    num_entries, total_value = torch.stack([starts[-1].double(), total.double()]).tolist()
    check_finite(named, scene.cameras, scene.background, total_value)
    return int(num_entries)


def _tile_warps(scene: _Scene) -> int:
    """Warps that draw a tile."""
    if scene.device.type != "cuda":
        return MANY_TILES_WARPS
    processors = torch.cuda.get_device_properties(scene.device).multi_processor_count
    few = scene.num_tiles < _TILES_PER_PROCESSOR * processors
    return FEW_TILES_WARPS if few else MANY_TILES_WARPS


def _backward(scene: _Scene, trace: _Trace, grad_image: Tensor, grad_alpha: Tensor) -> list[Tensor]:
    """Run the backward stages over all pairs: gradients of the five parameters."""
    num_slots = len(trace.slots)
    sums = trace.records.new_zeros(num_slots, layout.SLOT_SIZE.value)
    _launch(
        differentiate, scene.num_tiles,
        trace.records, trace.ids, trace.tile_starts, scene.background, trace.slots,
        trace.transmittances, trace.last_drawn, grad_image, grad_alpha, sums, *scene.size,
        num_warps=_tile_warps(scene),
    )  # fmt: skip
    totals = trace.records.new_empty(scene.num_records, layout.SLOT_SIZE.value)
    _launch(
        add_slots, triton.cdiv(scene.num_records, BLOCK),
        trace.starts, sums, totals, scene.num_records, block=BLOCK,
    )  # fmt: skip
    parameters = (scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
    grads = [torch.empty_like(parameter) for parameter in parameters]
    _launch(
        project_backward, scene.num_frames * triton.cdiv(scene.num_gaussians, BLOCK),
        scene.means, scene.quats, scene.scales, scene.opacities, trace.camera_rows.float(),
        trace.starts, totals, *grads, scene.num_gaussians, scene.num_views, block=BLOCK,
    )  # fmt: skip
    return grads


def _launch(kernel: Any, num_programs: int, *arguments: Any, **options: Any) -> None:
    """Run a kernel, whose products and sums may fuse whatever the version's default says."""
    if num_programs > 0:
        kernel[(num_programs,)](*arguments, enable_fp_fusion=True, **options)
