"""Silhouettes by a trained network, where rembg and its weights lie on this machine.

The only module that imports rembg. It never downloads: a missing file is told with its place.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.still_background import StillBackground

# [H, W, 3] uint8 -> [H, W] float32 in [0, 1], how much of each pixel is the object.
Segment = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

# Open weights, best first; the names are rembg's.
MODELS = ("birefnet-general", "isnet-general-use", "u2net", "u2netp")


def weights_folder() -> Path:
    """Where every version of rembg finds weights: `$U2NET_HOME`, by default `~/.u2net`."""
    home = os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME", "~")) / ".u2net"
    return Path(home).expanduser()


def how_to_get() -> str:
    """What to install or to place, for messages."""
    if importlib.util.find_spec("rembg") is None:
        return "install a segmenter (pip install 'l4gm[matting]') and its weights"
    return (
        f"put the segmenter's weights ({MODELS[1]}.onnx, from rembg's releases page) in "
        f"{weights_folder()}"
    )


def find_segmenter() -> Segment | None:
    """rembg with the best weights that are here; None if it or all weights are missing."""
    if importlib.util.find_spec("rembg") is None:
        return None
    import rembg

    names = [name for name in MODELS if _has_weights(name)]
    if not names:
        return None
    with _no_checksums():  # rembg downloads a file anew whose checksum is another
        session = rembg.new_session(names[0])

    def segment(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        mask = rembg.remove(Image.fromarray(image), session=session, only_mask=True)
        return np.asarray(mask, np.float32) / np.float32(255)

    return segment


def _has_weights(name: str) -> bool:
    """Whether a model's file lies where rembg will look for it."""
    from rembg import sessions

    for kind in sessions.sessions_class:
        if kind.name() == name and hasattr(kind, "resolve_existing"):
            return kind.resolve_existing(f"{name}.onnx") is not None
    return (weights_folder() / f"{name}.onnx").is_file()


@contextlib.contextmanager
def _no_checksums() -> Iterator[None]:
    before = os.environ.get("MODEL_CHECKSUM_DISABLED")
    os.environ["MODEL_CHECKSUM_DISABLED"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MODEL_CHECKSUM_DISABLED"]
        else:
            os.environ["MODEL_CHECKSUM_DISABLED"] = before


@dataclass(frozen=True, kw_only=True)
class SegmentedFrames:
    """A network's silhouette of each frame, held still where the picture is still.

    A network that sees one frame at a time flickers. A pixel that shows what it shows most of the
    time (the plate) gets the alpha that it has most of the time.

    Args:
        segment: the network.
        plate: what each pixel shows most of the time.
        plate_alpha: [1, H, W] the median of its alpha at such times.
    """

    segment: Segment
    plate: StillBackground
    plate_alpha: Tensor

    name = "segmenter"

    @classmethod
    def estimate(cls, frames: Sequence[Tensor], segment: Segment) -> SegmentedFrames:
        """From frames uint8 [H, W, 3] over the whole clip."""
        stack = torch.stack([frame[..., :3].permute(2, 0, 1) for frame in frames])
        plate = StillBackground.plain(stack)
        alphas = torch.stack([_alpha(segment, frame) for frame in frames])
        resting = torch.stack([plate.differs(each.float()) <= 1 for each in stack])
        alphas = torch.where(resting, alphas, torch.tensor(float("nan")))
        return cls(
            segment=segment, plate=plate, plate_alpha=alphas.nanmedian(0).values.nan_to_num(0.0)
        )

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return self._steady_alpha(frame, WHOLE)[0].numpy() >= 0.5

    def matte(self, frame: Tensor, window: Window = WHOLE) -> Matte:
        alpha = self._steady_alpha(frame, window)
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        return Matte(color=image * alpha, alpha=alpha)

    def _steady_alpha(self, frame: Tensor, window: Window) -> Tensor:
        """[1, h, w] of a part of the frame."""
        image = frame[..., :3].permute(2, 0, 1).float()
        plate, resting_alpha = self.plate.at(image.shape, window, self.plate_alpha)
        resting = (2 - plate.differs(image)).clamp(0, 1)
        return torch.lerp(_alpha(self.segment, frame), resting_alpha, resting)


def _alpha(segment: Segment, frame: Tensor) -> Tensor:
    """[1, H, W] of a frame uint8 [H, W, 3 or 4]."""
    levels = np.ascontiguousarray(frame[..., :3].numpy())
    return torch.from_numpy(np.array(segment(levels), np.float32))[None].clamp(0, 1)
