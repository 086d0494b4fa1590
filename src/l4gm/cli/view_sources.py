"""What `--multiview` names: nobody, or ImageDream."""

from __future__ import annotations

from pathlib import Path

import torch

from l4gm.errors import InputError
from l4gm.multiview.imagedream import ImageDream
from l4gm.multiview.imagedream_parts import HUB_NAME
from l4gm.multiview.protocol import MultiViewGenerator


def load_generator(source: str, device: torch.device) -> MultiViewGenerator | None:
    """The generator of views that the command line names, or None.

    Args:
        source: "none", "imagedream", or ImageDream's folder or hub name.
        device: where it works.

    Raises:
        InputError: it cannot be found or read.
    """
    if source == "none":
        return None
    path = Path(source)
    if path.is_dir() and not (path / "unet").is_dir():
        raise InputError(f"--multiview {source}: does not hold the parts of ImageDream")
    if not path.is_dir() and (path.is_absolute() or source.startswith(".")):  # no name on the hub
        raise InputError(f"--multiview {source}: there is no such folder")
    # It works once a video: between, its parts need not lie in the device's memory.
    name = HUB_NAME if source == "imagedream" else source
    return ImageDream.from_pretrained(name, device=device, offload=device.type != "cpu")
