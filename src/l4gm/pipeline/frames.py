"""Prepared frames: what the pipeline takes in, checked once at its door.

Inside the pipeline a picture is [3, S, S], on white, or [4, S, S] where its alpha is known: on
white too, and alpha as a fourth channel, which then is resized, blended, kept and handed on like
colour. At the door alpha comes in other forms: straight (RGBA tensors) or premultiplied (cutouts).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.io.rates import FPS_RANGE, is_frame_rate
from l4gm.media.matte import on_white

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


@runtime_checkable
class CutoutSource(FrameSource, Protocol):
    """A prepared video that may know what is object and what is background."""

    @property
    def has_alpha(self) -> bool:
        """Whether `cutouts` are to be used."""
        ...

    def cutouts(self, start: int = 0) -> Iterator[Tensor]:
        """The same frames [4, H, H]: colour premultiplied by alpha, and alpha."""
        ...


def knows_alpha(source: FrameSource) -> TypeGuard[CutoutSource]:
    """Whether a source tells the object's alpha."""
    return isinstance(source, CutoutSource) and source.has_alpha


class TensorFrames:
    """A tensor as a prepared video.

    Args:
        frames: float in [0, 1], T >= 1: [T, 3, H, H] on white, or [T, 4, H, H] RGBA, colour not
            multiplied by alpha.
        fps: frames per second.

    Raises:
        InputError: another shape or kind, NaN, or values outside [0, 1].
    """

    def __init__(self, frames: Tensor, fps: float = DEFAULT_FPS) -> None:
        check_pictures(frames, "frames", "[T, 3 or 4, H, W]", channels=(3, 4))
        if len(frames) == 0:
            raise InputError("frames: the video has no frames, expected at least one")
        check_fps(fps)
        self._frames = frames
        self.fps = float(fps)

    @property
    def num_frames(self) -> int:
        return len(self._frames)

    @property
    def has_alpha(self) -> bool:
        return self._frames.shape[1] == 4

    def frames(self, start: int = 0) -> Iterator[Tensor]:
        for frame in self._frames[start:]:
            yield on_white(frame)[:3]

    def cutouts(self, start: int = 0) -> Iterator[Tensor]:
        for frame in self._frames[start:]:
            yield torch.cat([frame[:3] * frame[3:], frame[3:]])


def match_alpha(pictures: Tensor, has_alpha: bool) -> Tensor:
    """Pictures of the pipeline [..., 3 or 4, S, S] with or without alpha.

    Where it is not known it is taken to be the least that explains the colours on white: 1 for
    saturated and black pixels, 0 for white ones.
    """
    if not has_alpha:
        return pictures[..., :3, :, :]
    if pictures.shape[-3] == 4:
        return pictures
    return torch.cat([pictures, 1 - pictures.amin(-3, keepdim=True)], -3)


def check_fps(fps: float) -> None:
    """Raise InputError unless fps is a frame rate."""
    if not is_frame_rate(fps):
        raise InputError(f"fps: expected {FPS_RANGE}, got {fps}")


def check_pictures(
    pictures: Tensor, name: str, layout: str, *, channels: tuple[int, ...] = (3,)
) -> None:
    """Raise InputError unless pictures [n, C, H, W] are square floats in [0, 1], RGB or RGBA."""
    shape = list(pictures.shape)
    if pictures.ndim != 4 or shape[1] not in channels:
        kinds = "RGB or RGBA" if 4 in channels else "RGB"
        raise InputError(
            f"{name}: expected a tensor {layout} (channels first, {kinds}), got {shape}"
        )
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
    """The frames of a source on a device, each checked as it comes.

    Yields:
        [3, size, size], or [4, size, size] if the source knows alpha.

    Raises:
        InputError: a frame that is not a square picture, holds NaN or leaves [0, 1].
    """
    for index, frame in enumerate(_pictures(source, start), start):
        name = f"frame {index}"
        check_pictures(frame[None], name, "[3, H, W]", channels=(3, 4))
        yield resized(frame.to(device, torch.float32).clamp(0, 1), size)


def _pictures(source: FrameSource, start: int) -> Iterator[Tensor]:
    """[3 or 4, H, H], on white."""
    if not knows_alpha(source):
        yield from source.frames(start)
        return
    for cutout in source.cutouts(start):
        yield torch.cat([cutout[:3] + 1 - cutout[3:], cutout[3:]])


def resized(pictures: Tensor, size: int) -> Tensor:
    """Square pictures [..., C, H, H] to [..., C, size, size]: by area, or up bilinearly."""
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
