"""Prepared frames: what the pipeline takes in, checked once at its door."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError

DEFAULT_FPS = 15.0  # the rate that the released model reconstructs at
_TOLERANCE = 1e-3  # how far resampling may leave [0, 1]; it is clipped away


class FrameSource(Protocol):
    """A prepared video: square pictures of one object, centred, on white."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        ...

    @property
    def num_frames(self) -> int:
        """How many frames `frames` yields."""
        ...

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        """Square [3, H, H] floats in [0, 1] from a frame on; can be called again."""
        ...


class TensorFrames:
    """A tensor as a prepared video.

    Args:
        frames: [T, 3, H, H] float in [0, 1], T >= 1, on white.
        fps: frames per second.

    Raises:
        InputError: another shape or kind, NaN, or values outside [0, 1].
    """

    def __init__(self, frames: Tensor, fps: float = DEFAULT_FPS) -> None:
        check_pictures(frames, "frames", "[T, 3, H, W]")
        if len(frames) == 0:
            raise InputError("frames: the video has no frames, expected at least one")
        check_fps(fps)
        self._frames = frames
        self.fps = float(fps)

    @property
    def num_frames(self) -> int:
        return len(self._frames)

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        yield from self._frames[start:]


def check_fps(fps: float) -> None:
    """Raise InputError unless fps is a positive number."""
    if not 0 < fps < float("inf"):
        raise InputError(f"fps: expected a positive number of frames per second, got {fps}")


def check_pictures(pictures: Tensor, name: str, layout: str) -> None:
    """Raise InputError unless pictures [n, 3, H, W] are square RGB floats in [0, 1]."""
    shape = list(pictures.shape)
    if pictures.ndim != 4 or shape[1] != 3:
        raise InputError(f"{name}: expected a tensor {layout} (channels first, RGB), got {shape}")
    if shape[2] != shape[3] or shape[2] == 0:
        raise InputError(
            f"{name}: expected square pictures, got {shape[3]} x {shape[2]}; "
            "pad or crop them around the object, or pass the video's path"
        )
    if not pictures.is_floating_point():
        raise InputError(
            f"{name}: expected floats in [0, 1], got {pictures.dtype}; divide 8-bit values by 255"
        )
    if pictures.numel() == 0:
        return
    lowest, highest = (float(value) for value in torch.aminmax(pictures))
    if not (torch.isfinite(torch.tensor([lowest, highest])).all()):
        bad = (~torch.isfinite(pictures)).flatten(1).any(1).nonzero()[0].item()
        raise InputError(f"{name}: number {bad} holds NaN or infinity, expected values in [0, 1]")
    if lowest < -_TOLERANCE or highest > 1 + _TOLERANCE:
        raise InputError(
            f"{name}: expected values in [0, 1], got {lowest:.4g} to {highest:.4g}; "
            "scale them to that range"
        )


def checked_frames(
    source: FrameSource, size: int, device: torch.device, start: int = 0
) -> Iterator[Tensor]:
    """The frames of a source [3, size, size] on a device, each checked as it comes.

    Raises:
        InputError: a frame that is not a square picture, holds NaN or leaves [0, 1].
    """
    for index, frame in enumerate(source.frames(start), start):
        name = f"frame {index}"
        check_pictures(frame[None], name, "[3, H, W]")
        yield resized(frame.to(device, torch.float32).clamp(0, 1), size)


def resized(pictures: Tensor, size: int) -> Tensor:
    """Square pictures [..., 3, H, H] to [..., 3, size, size]: by area, or up bilinearly."""
    given = pictures.shape[-1]
    if given == size:
        return pictures
    if given < size:
        flat = pictures.reshape(-1, *pictures.shape[-3:])
        flat = functional.interpolate(flat, (size, size), mode="bilinear")
        return flat.reshape(*pictures.shape[:-2], size, size)
    edges = torch.arange(size + 1, dtype=torch.float64) * given / size
    pixels = torch.arange(given, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], pixels + 1)
    lower = torch.maximum(edges[:-1, None], pixels)
    weights = ((upper - lower).clamp(min=0) * size / given).to(pictures)  # [size, H], rows sum to 1
    return weights @ pictures @ weights.T
