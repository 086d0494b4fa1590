"""What `--multiview` names: nobody, ImageDream, or a network of `l4gm train multiview`."""

from __future__ import annotations

from pathlib import Path

import torch

from l4gm.errors import InputError
from l4gm.model.own_weights import VIEWS
from l4gm.multiview.imagedream import ImageDream
from l4gm.multiview.imagedream_parts import HUB_NAME
from l4gm.multiview.protocol import MultiViewGenerator
from l4gm.multiview.side_views import SideViewGenerator


def own_weights(source: str) -> Path | None:
    """The weight file, if the source is one of our own networks or a folder that holds one.

    Raises:
        InputError: a folder that is not there or holds no generator of either kind.
    """
    if source in ("none", "imagedream"):
        return None
    path = Path(source)
    if path.suffix == ".safetensors":
        return path
    if not path.is_dir():
        if path.is_absolute() or source.startswith("."):  # no name on the hub
            raise InputError(f"--multiview {source}: there is no such folder")
        return None
    if (path / VIEWS.file_name).is_file():
        return path / VIEWS.file_name
    if not (path / "unet").is_dir():
        raise InputError(
            f"--multiview {source}: holds neither {VIEWS.file_name} (l4gm train multiview "
            "writes it) nor the parts of ImageDream"
        )
    return None


def load_generator(source: str, device: torch.device) -> MultiViewGenerator | None:
    """The generator of views that the command line names, or None.

    Args:
        source: "none", "imagedream", ImageDream's folder or hub name, or the file or folder of our
            own network's weights.
        device: where it works.

    Raises:
        InputError: it cannot be found or read.
    """
    if source == "none":
        return None
    if (own := own_weights(source)) is not None:
        return SideViewGenerator(VIEWS.load(own, device=device))
    # It works once a video: between, its parts need not lie in the device's memory.
    name = HUB_NAME if source == "imagedream" else source
    return ImageDream.from_pretrained(name, device=device, offload=device.type != "cpu")
