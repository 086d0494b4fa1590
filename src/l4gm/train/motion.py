"""Data, loss and quality of the motion network (`model.motion`).

A sample is a clip's first picture and a later one, seen by one of the fixed cameras, and where the
surface points that the first one shows are after a third of the time between, which our renderers
know exactly. Each of the four cameras counts as the video's, and the world may be mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.errors import InputError
from l4gm.geometry.cameras import RADIUS, Cameras
from l4gm.model.motion import HALF_WIDTH, Motion, MotionNet
from l4gm.pipeline.interpolate import RATE
from l4gm.train.batches import with_alpha
from l4gm.train.config import Stage, TrainConfig
from l4gm.train.losses import pool_points

# Errors below this share of a world unit, a tenth of the bundled network's cell, count squared.
_SMOOTH = 0.002
_FLOW_WEIGHT = 0.3  # makes both terms about equal: the flow is of thrice the time


@dataclass(frozen=True)
class MotionBatch:
    """One step's data; a sample is the same without P.

    Args:
        here, there: [P, 4, S, S] colour on white and alpha.
        moves: [P, 5, h, w] what the network is to say of them: `Motion.moves`, and the flow to the
            later picture on the same grid; NaN where it does not matter.
    """

    here: Tensor
    there: Tensor
    moves: Tensor

    def to(self, device: torch.device) -> MotionBatch:
        """The same batch on a device."""
        return MotionBatch(self.here.to(device), self.there.to(device), self.moves.to(device))


def motion_request(config: TrainConfig, stage: Stage) -> ClipRequest:
    """What is rendered of an object: the four fixed cameras alone, and where their points go."""
    return ClipRequest(
        size_px=stage.size_px,
        num_frames=config.frames_per_clip,
        fps=stage.fps or config.fps,
        num_supervision_views=0,
        tracks=True,
    )


def clip_moves(clip: Clip, patch_size: int) -> NDArray[np.float16]:
    """How what the first pictures show moves.

    Returns:
        [m, V, 5, h, w] for clips of 3 m + 1 frames: where it is after 1, 2 ... m of them, along
        each camera's axes, from where it was; and how far it has gone in the pictures after 3, 6
        ... 3 m, in half pictures. NaN where a cell shows nothing.

    Raises:
        InputError: the clip does not know.
    """
    if clip.tracks is None:
        raise InputError(
            f"clip {clip.name!r} does not know where its surface moves, which a motion network "
            "learns from: train on procedural objects and models (--models), not on packed clips"
        )
    points = seen_from(torch.from_numpy(clip.tracks).float(), clip.cameras[: clip.num_input_views])
    moves = points[1 : len(points) // RATE + 1] - points[:1]
    places = points[::RATE, ..., :2] / points[::RATE, ..., 2:] * (RADIUS / HALF_WIDTH)
    both = torch.cat([moves, places[1:] - places[:1]], -1)
    pooled = pool_points(both, clip.images.shape[-2] // patch_size)
    return pooled.movedim(-1, 2).numpy().astype(np.float16)


def seen_from(points: Tensor, cameras: Cameras) -> Tensor:
    """World points [T, V, H, W, 3] in the axes of cameras [V]: right, down, forward."""
    pose = cameras.camera_from_world
    turned = torch.einsum("vij,tvhwj->tvhwi", pose[:, :3, :3], points)
    return turned + pose[:, None, None, :3, 3]


class MotionSampler:
    """Draws batches for one stage from a clip source, keeping what it needs of a clip in memory."""

    def __init__(self, config: TrainConfig, stage_index: int, source: ClipSource) -> None:
        self.config = config
        self.stage_index = stage_index
        self.stage: Stage = config.stages[stage_index]
        self.source = source
        self.request = motion_request(config, self.stage)
        self._kept: dict[int, tuple[NDArray[np.uint8], NDArray[np.float16]]] = {}

    def clip(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        """[m + 1, V, S, S, 4] every third frame, and `clip_moves`; rendered once."""
        if index in self._kept:
            return self._kept[index]
        clip = self.source.clip(index, self.request)
        images = clip.images[::RATE, : clip.num_input_views].copy()
        kept = images, clip_moves(clip, self.config.motion_model.patch_size)
        if self.stage.keep_clips:
            self._kept[index] = kept
        return kept

    def batch(self, step: int, part: int = 0, num_parts: int = 1) -> MotionBatch:
        """The batch of this step of the stage, or one of the equal parts it is dealt out in."""
        numbers = range(part, self.stage.batch_size, num_parts)
        samples = [self._sample(step, number) for number in numbers]
        pictures = with_alpha(torch.from_numpy(np.stack([pair for pair, _ in samples])))
        moves = torch.from_numpy(np.stack([moves for _, moves in samples])).float()
        return MotionBatch(pictures[:, 0], pictures[:, 1], moves)

    def _sample(self, step: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
        generator = np.random.default_rng([self.config.seed, self.stage_index, step, number])
        images, moves = self.clip(int(generator.integers(0, self.stage.num_clips)))
        later = int(generator.integers(1, len(images)))
        view = int(generator.integers(0, images.shape[1]))
        pair, move = images[[0, later], view], moves[later - 1, view]
        return mirrored(pair, move) if generator.random() < 0.5 else (pair, move)


def mirrored(
    pair: NDArray[np.uint8], moves: NDArray[np.float16]
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Pictures [2, S, S, 4] and moves [5, h, w] of the mirrored world."""
    turned = moves[..., ::-1] * np.array([-1, 1, 1, -1, 1], np.float16)[:, None, None]
    return np.ascontiguousarray(pair[:, :, ::-1]), np.ascontiguousarray(turned)


def motion_error(predicted: Tensor, moves: Tensor, smooth: float = 0.0) -> Tensor:
    """Mean distance between moves [P, 2 or 3, h, w], over the cells that show the object.

    Averaged within each sample, then over samples, so that parts of a batch can be averaged.
    """
    known = moves.isfinite().all(1)
    squared = (predicted - moves.nan_to_num()).square().sum(1)
    distance = (squared + smooth**2 + 1e-12).sqrt() * known
    return (distance.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).mean()


def motion_loss(
    network: Callable[..., Motion], stage: Stage, batch: MotionBatch
) -> dict[str, Tensor]:
    """Mean distances in world units.

    Returns:
        "motion" from the true one; "flow" of the matches, at the middle of the scene; their
        weighted sum as "loss"; "still", the distance of no motion at all.
    """
    found = network(batch.here, batch.there, input_size=stage.size_px)
    moves, flow = batch.moves.split([3, 2], 1)
    pooled = pool_points(flow.movedim(1, -1), found.flow.shape[-1]).movedim(-1, 1)
    terms = {
        "motion": motion_error(found.moves, moves, _SMOOTH),
        "flow": motion_error(HALF_WIDTH * found.flow, HALF_WIDTH * pooled, _SMOOTH),
    }
    still = motion_error(torch.zeros_like(moves), moves)
    return {"loss": terms["motion"] + _FLOW_WEIGHT * terms["flow"], "still": still} | terms


@torch.inference_mode()
def score_motion(network: MotionNet, clip: Clip) -> dict[str, float]:
    """Judge the motion from a clip's first picture to the fourth, camera by camera.

    Returns:
        Mean distances in thousandths of a world unit: "motion" of the network's, "still" of none.
    """
    size = clip.images.shape[-2]
    place = next(network.parameters()).device
    pictures = with_alpha(torch.from_numpy(clip.images[[0, RATE], : clip.num_input_views]))
    moves = torch.from_numpy(clip_moves(clip, network.config.patch_size)[0, :, :3]).float()
    predicted = network(*pictures.to(place), input_size=size).moves.cpu()
    return {
        "motion": 1000 * motion_error(predicted, moves).item(),
        "still": 1000 * motion_error(torch.zeros_like(moves), moves).item(),
    }


def summarize_motion(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means over clips, "error_motion" and "error_still"."""
    return {f"error_{name}": float(np.mean([row[name] for row in rows])) for name in rows[0]}
