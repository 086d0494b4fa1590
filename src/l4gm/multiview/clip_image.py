"""The picture as CLIP's image encoder takes it.

Done here, not by transformers' image processor, whose current form needs torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from l4gm.errors import InputError
from l4gm.io.json_file import read_json


@dataclass(frozen=True, kw_only=True)
class ClipPreprocessing:
    """Resize, crop the centre, normalise: what `preprocessor_config.json` says.

    Args:
        resize_px: width and height it is resized to.
        crop_px: width and height of the centre that is kept.
        mean, std: of each channel, for values in [0, 1].
        resample: Pillow's number of the resizing filter; 3 is bicubic.
    """

    resize_px: int = 224
    crop_px: int = 224
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    resample: int = int(Image.Resampling.BICUBIC)

    @classmethod
    def read(cls, path: Path) -> ClipPreprocessing:
        """Read a `preprocessor_config.json`; what it does not say is CLIP's usual value.

        Raises:
            InputError: the file is no JSON object, or a value in it makes no sense.
        """
        try:
            config = read_json(path)
            return cls(
                resize_px=_side_px(config.get("size", cls.resize_px)),
                crop_px=_side_px(config.get("crop_size", cls.crop_px)),
                mean=tuple(float(value) for value in config.get("image_mean", cls.mean)),
                std=tuple(float(value) for value in config.get("image_std", cls.std)),
                resample=int(Image.Resampling(config.get("resample", cls.resample))),
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{path}: expected the settings of a CLIP image processor ({error}); "
                "download it again"
            ) from error

    def __call__(self, image: Tensor) -> Tensor:
        """Prepare a picture.

        Args:
            image: [3, S, S] in [0, 1], square.

        Returns:
            [1, 3, crop_px, crop_px] float32, on the CPU.
        """
        # Through 8 bits, cut off and not rounded, because the encoder always saw it so.
        pixels = (image.detach().float().cpu() * 255).to(torch.uint8).permute(1, 2, 0)
        picture = Image.fromarray(np.ascontiguousarray(pixels.numpy())).resize(
            (self.resize_px, self.resize_px), Image.Resampling(self.resample)
        )
        margin = (self.resize_px - self.crop_px) // 2
        picture = picture.crop((margin, margin, margin + self.crop_px, margin + self.crop_px))
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return ((values - mean[:, None, None]) / std[:, None, None])[None]


def _side_px(size: Any) -> int:
    """The side of a square given as a number, {"shortest_edge": n} or {"height": n, "width": n}."""
    if isinstance(size, Mapping):
        size = size["shortest_edge"] if "shortest_edge" in size else size["height"]
    if int(size) < 1:
        raise ValueError(f"size {size}")
    return int(size)
