"""Pictures as a folder of PNG files, or as a GIF."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from l4gm.cli.output_folder import output_folder
from l4gm.gaussians.atomic import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

GIF_MAX_FPS = 50.0  # browsers slow down what is faster


def write_png_folder(folder: Path, pictures: Iterable[Tensor], *, bits: int = 8) -> int:
    """Write frame_0000.png ... into a new folder, which appears whole or not at all.

    Args:
        folder: must not hold anything yet.
        pictures: float [3 or 4, H, W] in [0, 1].
        bits: 8; or 16, then the first channel alone is written, in grey.

    Returns:
        how many.
    """
    count = 0
    with output_folder(folder) as partial:
        for picture in pictures:
            image = _grey_16(picture) if bits == 16 else _image(picture)
            image.save(partial / f"frame_{count:04d}.png")
            count += 1
    return count


def write_gif(path: Path, pictures: Iterable[Tensor], fps: float) -> int:
    """Write a GIF that plays forever, whole or not at all.

    Its times are whole hundredths of a second; each picture's is rounded so that they never drift.

    Args:
        path: replaced if it exists; missing folders are made.
        pictures: float [3, H, W] in [0, 1], one or more.
        fps: pictures a second, at most 50.

    Returns:
        how many.
    """
    images = [_image(picture).quantize(256, Image.Quantize.MEDIANCUT) for picture in pictures]
    ends = [round(100 * (index + 1) / fps) for index in range(len(images))]
    durations = [10 * (end - start) for start, end in zip([0, *ends], ends, strict=False)]
    with atomic_file(path) as partial:
        images[0].save(
            partial,
            "GIF",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
        )
    return len(images)


def _image(picture: Tensor) -> Image.Image:
    return Image.fromarray(picture.mul(255).round().byte().permute(1, 2, 0).numpy())


def _grey_16(picture: Tensor) -> Image.Image:
    levels = picture[0].double().mul(65535).round().numpy().astype("<u2")
    return Image.fromarray(levels)
