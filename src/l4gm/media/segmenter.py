"""Silhouettes by a trained network, where its weights lie on this machine.

The only module that imports ONNX Runtime. It never downloads.
"""

from __future__ import annotations

import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from l4gm.media.components import label_components
from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.segmenter_weights import find_weights
from l4gm.media.segmenter_weights import how_to_get as how_to_get_weights
from l4gm.media.still_background import StillBackground

# [H, W, 3] uint8 -> [H, W] float32 in [0, 1], how much of each pixel is the object.
Segment = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_SIDE_PX = 320  # of the network's input, squashed to a square as in its training
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_KEPT = 512  # answers for as many frames: the passes over a clip ask for each one twice
_LESSER = 0.25  # of the largest piece: smaller ones are other things


def how_to_get() -> str:
    """What to install or to fetch, for messages."""
    if importlib.util.find_spec("onnxruntime") is None:
        return f"pip install 'l4gm[matting]' and {how_to_get_weights()}"
    return how_to_get_weights()


def find_segmenter() -> Segment | None:
    """The network, if ONNX Runtime and its weights are here.

    Raises:
        InputError: a file under the weights' name is another one.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    path = find_weights()
    return None if path is None else _load(path)


@lru_cache(maxsize=1)
def _load(path: Path) -> Segment:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    input_name, output_name = session.get_inputs()[0].name, session.get_outputs()[0].name

    def segment(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = image.shape[:2]
        square = Image.fromarray(image).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
        levels = np.asarray(square, np.float32)
        levels = (levels / max(float(levels.max()), 1.0) - _MEAN) / _STD
        found = session.run([output_name], {input_name: levels.transpose(2, 0, 1)[None]})[0]
        mask = Image.fromarray(found[0, 0].clip(0, 1).astype(np.float32))
        resized = mask.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized, np.float32)

    return segment


@dataclass(frozen=True, kw_only=True)
class SegmentedFrames:
    """A network's silhouette of each frame, held still where the picture is still.

    A network that sees one frame at a time flickers. A pixel that shows what it shows most of the
    time (the plate) gets the alpha that it has most of the time. Of several pieces the largest is
    the object, and what is nearly as large.

    Args:
        segment: the network.
        plate: what each pixel shows most of the time.
        plate_alpha: [1, H, W] the median of its alpha at such times.
    """

    segment: Segment
    plate: StillBackground
    plate_alpha: Tensor
    _answers: OrderedDict[bytes, Tensor] = field(default_factory=OrderedDict, repr=False)

    name = "segmenter"

    @classmethod
    def estimate(cls, frames: Sequence[Tensor], segment: Segment) -> SegmentedFrames:
        """From frames uint8 [H, W, 3] over the whole clip."""
        stack = torch.stack([frame[..., :3].permute(2, 0, 1) for frame in frames])
        plate = StillBackground.plain(stack)
        alphas = torch.stack([saliency(segment, frame) for frame in frames])
        resting = torch.stack([plate.differs(each.float()) <= 1 for each in stack])
        alphas = torch.where(resting, alphas, torch.tensor(float("nan")))
        return cls(
            segment=segment, plate=plate, plate_alpha=alphas.nanmedian(0).values.nan_to_num(0.0)
        )

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return _largest(self._steady_alpha(frame)[0].numpy() >= 0.5)

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        if whole is None:
            whole = frame
        alpha = self._steady_alpha(whole)
        alpha = alpha * torch.from_numpy(_largest(alpha[0].numpy() >= 0.5))
        size = image.shape[-2:]
        if whole is not frame:
            rows, columns = window.slices(*alpha.shape[-2:])
            alpha = alpha[:, rows, columns]
        alpha = functional.interpolate(alpha[None], size, mode="bilinear", antialias=False)[0]
        return Matte(color=image * alpha, alpha=alpha)

    def _steady_alpha(self, frame: Tensor) -> Tensor:
        """[1, h, w] of a whole frame."""
        image = frame[..., :3].permute(2, 0, 1).float()
        plate, resting_alpha = self.plate.at(image.shape, WHOLE, self.plate_alpha)
        resting = (2 - plate.differs(image)).clamp(0, 1)
        return torch.lerp(self._alpha(frame), resting_alpha, resting)

    def _alpha(self, frame: Tensor) -> Tensor:
        """[1, h, w] as the network says, remembered."""
        key = frame.numpy().tobytes()[:: max(1, frame.numel() // 4096)]
        found = self._answers.get(key)
        if found is None or found.shape[1:] != frame.shape[:2]:
            found = saliency(self.segment, frame).mul(255).round().byte()
            self._answers[key] = found
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return found.float() / 255


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest piece of a mask [H, W], and those nearly as large."""
    labels, areas = label_components(mask)
    areas[0] = 0
    kept = areas >= max(_LESSER * areas.max(initial=0), 1)
    return kept[labels]


def saliency(segment: Segment, frame: Tensor) -> Tensor:
    """[1, H, W] of a frame uint8 [H, W, 3 or 4]."""
    levels = np.ascontiguousarray(frame[..., :3].numpy())
    return torch.from_numpy(np.array(segment(levels), np.float32))[None].clamp(0, 1)
