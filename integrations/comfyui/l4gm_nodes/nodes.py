"""Three nodes: images to an animated object, an object to images, an object to a file.

ComfyUI's IMAGE is float [B, H, W, 3] in [0, 1], its MASK float [B, H, W]. An object is a
`l4gm.GaussianSequence` under the type name L4GM_OBJECT.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l4gm import GaussianSequence, VideoTo4D, orbit_cameras, render, save
from l4gm.pipeline.prepare import prepare_video

OBJECT = "L4GM_OBJECT"
FORMATS = {"html": ".html", "ply": "", "safetensors": ".safetensors"}


@lru_cache(maxsize=1)
def pipeline(model: str) -> VideoTo4D:
    """The networks, kept between runs."""
    return VideoTo4D.from_pretrained(model)


class Reconstruct:
    """A batch of images as a video in, an animated object out."""

    CATEGORY = "l4gm"
    FUNCTION = "run"
    RETURN_TYPES = (OBJECT,)
    RETURN_NAMES = ("object",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802  (ComfyUI's name)
        return {
            "required": {
                "images": ("IMAGE",),
                "fps": ("FLOAT", {"default": 12.0, "min": 0.1, "max": 240.0}),
                "model": ("STRING", {"default": "mini"}),
                "prepared": ("BOOLEAN", {"default": False}),
            }
        }

    def run(
        self, images: Tensor, fps: float, model: str, prepared: bool
    ) -> tuple[GaussianSequence]:
        """`prepared` images are square, on white, the object in their middle."""
        if prepared:
            frames: Any = images[..., :3].permute(0, 3, 1, 2).float()
        else:
            levels = images[..., :3].clamp(0, 1).mul(255).round().byte()
            frames = prepare_video(levels.cpu(), fps=fps)
            fps = frames.fps
        return (pipeline(model)(frames, fps=fps),)


class Render:
    """The object from a camera that goes around it while it moves."""

    CATEGORY = "l4gm"
    FUNCTION = "run"
    RETURN_TYPES = ("IMAGE", "MASK")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        angle = {"default": 0.0, "min": -360.0, "max": 360.0}
        return {
            "required": {
                "object": (OBJECT,),
                "azimuth": ("FLOAT", angle),
                "elevation": ("FLOAT", {"default": 0.0, "min": -90.0, "max": 90.0}),
                "turns": ("FLOAT", {"default": 1.0, "min": -20.0, "max": 20.0}),
                "size": ("INT", {"default": 512, "min": 16, "max": 4096}),
            }
        }

    def run(
        self, object: GaussianSequence, azimuth: float, elevation: float, turns: float, size: int
    ) -> tuple[Tensor, Tensor]:
        """Images on white, and where the object is."""
        count = len(object)
        azimuths = azimuth + 360.0 * turns * torch.arange(count) / count
        cameras = orbit_cameras(azimuths, elevation, size=size)
        images, masks = [], []
        for index in range(count):
            with torch.inference_mode():
                out = render(object.gaussians[index], cameras[index : index + 1])
            images.append(out.image[0].clamp(0, 1).permute(1, 2, 0).cpu())
            masks.append(out.alpha[0, 0].clamp(0, 1).cpu())
        return torch.stack(images), torch.stack(masks)


class Save:
    """The object as a page, a folder of PLY files, or without loss."""

    CATEGORY = "l4gm"
    FUNCTION = "run"
    OUTPUT_NODE = True
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("path",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        return {
            "required": {
                "object": (OBJECT,),
                "name": ("STRING", {"default": "object"}),
                "format": (list(FORMATS),),
            }
        }

    def run(self, object: GaussianSequence, name: str, format: str) -> tuple[str]:
        """Into ComfyUI's output folder; a result of that name is replaced."""
        import folder_paths  # ComfyUI's own

        if name != Path(name).name or name in ("", ".", ".."):
            raise ValueError(f"name {name!r}: expected a name without folders")
        path = Path(folder_paths.get_output_directory()) / f"{name}{FORMATS[format]}"
        save(object, path)
        return (str(path),)


NODE_CLASS_MAPPINGS: dict[str, type] = {
    "L4GMReconstruct": Reconstruct,
    "L4GMRender": Render,
    "L4GMSave": Save,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "L4GMReconstruct": "L4GM Reconstruct",
    "L4GMRender": "L4GM Render",
    "L4GMSave": "L4GM Save",
}
