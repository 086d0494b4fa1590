"""Clips of a packed set, in any order, from a disk or the network.

Clip `index` is number `index mod n` of an order that is drawn anew for every round through the n
clips of the split, so indices that go up show every clip once a round. Nothing is remembered
between calls but the order of the last rounds: memory does not grow, and a run that goes on at a
step needs no saved position.
"""

from __future__ import annotations

import functools
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from l4gm.data.clip import Clip, ClipRequest
from l4gm.data.layout import (
    ClipHeader,
    DamagedClipError,
    StoredClip,
    read_header,
    read_views,
    unpack_depth,
)
from l4gm.data.manifest import read_manifest
from l4gm.data.pictures import decode_view
from l4gm.data.storage import Storage
from l4gm.errors import InputError
from l4gm.geometry.cameras import Cameras

logger = logging.getLogger(__name__)

NUM_INPUT_VIEWS = 4
MAX_DAMAGED_SHARE = 0.01
# Streams of a clip's choices.
INPUT_VIEWS, FREE_VIEWS, START = range(3)


class PackedClips:
    """A `ClipSource` over a packed set.

    Of the fixed views one becomes view 0, drawn at random, and those at 90, 180 and 270 degrees
    from it views 1 to 3; the world is turned about y so that they are the rig's. The others are
    drawn from the free views; `request.elevation_degrees` has no say, the cameras are the set's.
    Pictures are resized to `request.size_px`. Time starts at random where the clip is longer
    than asked for. All choices come from (seed, index) alone.

    A damaged clip is logged once with its name and the reason, listed in `damaged`, and the next
    one of the order takes its place.

    Args:
        folder: of the set, a path or a URL (s3://, https://, hf://datasets/...).
        seed: of order and choices.
        split: "train" or "heldout".
        max_damaged_share: of the clips; when more are damaged, reading stops.

    Raises:
        InputError: no such set, or it has no clips of this split.
    """

    def __init__(
        self,
        folder: str | Path,
        seed: int = 0,
        split: Literal["train", "heldout"] = "train",
        max_damaged_share: float = MAX_DAMAGED_SHARE,
    ) -> None:
        self.folder = str(folder)
        self.seed = seed
        self.max_damaged_share = max_damaged_share
        self.damaged: dict[str, str] = {}
        self._storage = Storage(self.folder)
        table = read_manifest(folder, ["key", "shard", "offset", "size", "split", "kept"])
        chosen = table["kept"].to_numpy() & (table["split"].to_numpy() == split)
        self._table = table.filter(chosen)
        if not len(self):
            raise InputError(
                f"{folder}: none of its {len(table)} clips is kept and of the {split} split"
            )
        self._order = functools.lru_cache(maxsize=4)(self._draw_order)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of clips of the split."""
        return self._table.num_rows

    def clip(self, index: int, request: ClipRequest) -> Clip:
        """The clip of this index.

        Raises:
            InputError: clips hold fewer views or seconds than asked for, or too many are damaged.
        """
        round_index, place = divmod(index, len(self))
        order = self._order(round_index)
        for offset in range(len(order)):
            row = int(order[(place + offset) % len(order)])
            key = self._table["key"][row].as_py()
            if key in self.damaged:
                continue
            try:
                return self._read(row, index, request)
            except DamagedClipError as problem:
                self._leave_out(key, problem)
        raise AssertionError("_leave_out raises before all clips are left out")

    def _draw_order(self, round_index: int) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, round_index]).permutation(len(self))

    def _read(self, row: int, index: int, request: ClipRequest) -> Clip:
        shard, offset, size = (
            self._table[name][row].as_py() for name in ("shard", "offset", "size")
        )
        try:
            read = self._storage.clip_reader(shard, offset, size)
            header = read_header(read, offset)
            views = self._choose_views(header, index, request)
            frames = self._choose_frames(header, index, request)
            return _clip(read_views(read, header, views), frames, request)
        except DamagedClipError as problem:
            raise DamagedClipError(f"{shard}: {problem}") from problem

    def _stream(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(index, purpose)))

    def _choose_views(self, header: ClipHeader, index: int, request: ClipRequest) -> list[int]:
        fixed, total = header.cameras.num_fixed, len(header.cameras.world_from_camera)
        if fixed % NUM_INPUT_VIEWS or not fixed or total - fixed < request.num_supervision_views:
            raise InputError(
                f"{self.folder}: {header.facts.key} has {fixed} fixed and {total - fixed} free "
                f"views; needed are a multiple of 4 fixed and {request.num_supervision_views} free"
            )
        start = int(self._stream(index, INPUT_VIEWS).integers(fixed))
        quarter = fixed // NUM_INPUT_VIEWS
        inputs = [(start + k * quarter) % fixed for k in range(NUM_INPUT_VIEWS)]
        free = self._stream(index, FREE_VIEWS).permutation(total - fixed)
        return inputs + [fixed + int(k) for k in free[: request.num_supervision_views]]

    def _choose_frames(self, header: ClipHeader, index: int, request: ClipRequest) -> list[int]:
        facts = header.facts
        offsets = np.rint(np.arange(request.num_frames) * facts.fps / request.fps).astype(int)
        spare = facts.num_frames - 1 - int(offsets[-1])
        if spare < 0:
            raise InputError(
                f"{self.folder}: {facts.key} has {facts.num_frames} frames at {facts.fps:g} a "
                f"second, too few for {request.num_frames} at {request.fps:g}; ask for fewer or "
                "for a higher rate"
            )
        start = int(self._stream(index, START).integers(spare + 1))
        return [int(k) for k in start + offsets]

    def _leave_out(self, key: str, problem: DamagedClipError) -> None:
        with self._lock:
            if key in self.damaged:
                return
            self.damaged[key] = str(problem)
            logger.warning("left out: %s: %s", self.folder, problem)
            if len(self.damaged) > self.max_damaged_share * len(self):
                raise InputError(
                    f"{self.folder}: {len(self.damaged)} of {len(self)} clips are damaged, more "
                    f"than {self.max_damaged_share:.0%}; the last: {problem}; l4gm data stats "
                    "--verify names them all"
                )


def cameras_of(clip: StoredClip) -> Cameras:
    """The cameras of the views that were read, [V]."""
    stored = clip.cameras
    numbers = list(range(len(clip.views)) if clip.view_numbers is None else clip.view_numbers)
    return Cameras(
        torch.from_numpy(stored.world_from_camera[numbers]),
        torch.from_numpy(stored.intrinsics[numbers]),
        stored.width,
        stored.height,
        stored.near,
        stored.far,
    )


def _clip(stored: StoredClip, frames: list[int], request: ClipRequest) -> Clip:
    """Decode, resize, and turn the world so that view 0 looks from azimuth 0."""
    facts, width = stored.facts, stored.cameras.width
    if width != stored.cameras.height:
        raise DamagedClipError(f"{facts.key}: {width} x {stored.cameras.height} px, not square")
    try:
        pictures = [
            decode_view(view, facts.num_frames, width, frames, request.size_px)
            for view in stored.views
        ]
        depth = None
        if all(view.depth is not None for view in stored.views[:NUM_INPUT_VIEWS]):
            depth = np.stack(
                [
                    _resized_depth(unpack_depth(view.depth or b"", frames), request.size_px)
                    for view in stored.views[:NUM_INPUT_VIEWS]
                ],
                1,
            )
    except DamagedClipError as problem:
        raise DamagedClipError(f"{facts.key}: {problem}") from problem
    return Clip(
        images=np.stack(pictures, 1),
        cameras=_turned_to_front(cameras_of(stored)).resized(request.size_px),
        fps=request.fps,
        num_input_views=NUM_INPUT_VIEWS,
        depth=depth,
        name=facts.key,
    )


def _turned_to_front(cameras: Cameras) -> Cameras:
    """Turn the world about y so that the first camera looks from azimuth 0."""
    x, z = cameras.world_from_camera[0, 0, 3].double(), cameras.world_from_camera[0, 2, 3].double()
    distance = torch.hypot(x, z)
    turn = torch.eye(4, dtype=torch.float64)
    turn[0, 0] = turn[2, 2] = z / distance
    turn[2, 0] = x / distance
    turn[0, 2] = -turn[2, 0]
    return replace(cameras, world_from_camera=(turn @ cameras.world_from_camera.double()).float())


def _resized_depth(depth: NDArray[np.float32], size_px: int) -> NDArray[np.float32]:
    """Distances [T, H, W] at another size; 0 only where a pixel sees no surface at all.

    A smaller pixel takes the mean over the surface nearest to the camera, as 1 / depth, which is
    affine on a plane; a larger picture repeats pixels.
    """
    if depth.shape[-1] == size_px:
        return depth
    values = torch.from_numpy(depth)
    if size_px > depth.shape[-1]:
        return functional.interpolate(values[None], size_px)[0].numpy()
    inverse = torch.where(values > 0, 1 / values, 0.0)
    nearest = functional.adaptive_max_pool2d(inverse, size_px)
    near = inverse > 0.97 * functional.interpolate(nearest[None], depth.shape[-1])[0]
    share = functional.adaptive_avg_pool2d(near.float(), size_px)
    mean = functional.adaptive_avg_pool2d(inverse * near, size_px) / share
    mean = torch.where(share > 0, mean, nearest)
    return torch.where(nearest > 0, 1 / mean, 0.0).numpy()
