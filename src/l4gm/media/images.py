"""Still and animated images, and folders of images, as videos. Pillow does the decoding."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.info import FALLBACK_FPS, FrameRateResampler, VideoInfo
from l4gm.media.limits import DAMAGED_IMAGE, check_animation, reduced

logger = logging.getLogger(__name__)

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng")
DEFAULT_FRAME_SECONDS = 0.1  # browsers show an animation frame without a duration this long


def is_image(path: Path) -> bool:
    """Whether the file's content (not its name) is an image that Pillow reads."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            check_animation(image)
            return True
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: image too large ({error}); scale it down first") from error
    except DAMAGED_IMAGE:
        return False


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in the order of the numbers in their names ("2.png" before "10.png").

    Raises:
        InputError: if there are none.
    """
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not files:
        raise InputError(
            f"{folder}: no images in this folder; expected a video file or a folder of "
            "PNG, JPEG or WebP frames"
        )
    return sorted(files, key=_natural_key)


def probe_image(path: Path) -> VideoInfo:
    """What is known of a still or animated image.

    Raises:
        InputError: if it cannot be decoded.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            codec = (image.format or "image").lower()
            count = getattr(image, "n_frames", 1)
            fps = FALLBACK_FPS if count == 1 else count / sum(_durations(image, count))
            image.seek(0)
            frame = _to_tensor(image, None)
    except DAMAGED_IMAGE as error:
        raise InputError(f"{path}: damaged image ({_one_line(error)}); save it again") from error
    return VideoInfo(
        width=frame.shape[1],
        height=frame.shape[0],
        fps=fps,
        num_frames=count,
        duration_seconds=count / fps,
        codec=codec,
        has_alpha=frame.shape[2] == 4,
    )


def read_image(path: Path) -> Iterator[Tensor]:
    """The frames of a still or animated image at its average rate, uint8 [H, W, 3 or 4].

    Raises:
        InputError: if the first frame cannot be decoded; damage further on ends the video with a
            warning.
    """
    info = probe_image(path)
    channels = 4 if info.has_alpha else 3
    resampler = FrameRateResampler(info.fps)
    index, time = 0, 0.0
    try:
        with Image.open(path, formats=FORMATS) as image:
            for index in range(info.num_frames or 1):
                image.seek(index)
                yield from resampler.push(_to_tensor(image, channels), time)
                time += _duration(image)
    except DAMAGED_IMAGE as error:
        logger.warning("%s: damaged after frame %d (%s)", path, index, _one_line(error))


def probe_folder(folder: Path) -> VideoInfo:
    """What is known of a folder of images; the first one gives size and channels.

    Raises:
        InputError: if there is no image or the first cannot be decoded.
    """
    files = image_files(folder)
    first = probe_image(files[0])
    return VideoInfo(
        width=first.width,
        height=first.height,
        fps=FALLBACK_FPS,
        num_frames=len(files),
        duration_seconds=len(files) / FALLBACK_FPS,
        codec=first.codec,
        has_alpha=first.has_alpha,
    )


def read_folder(folder: Path) -> Iterator[Tensor]:
    """The images of a folder, one frame each, uint8 [H, W, 3 or 4].

    Raises:
        InputError: if an image cannot be decoded or has another size than the first: a gap in
            numbered frames would shift all that follow.
    """
    info = probe_folder(folder)
    for path in image_files(folder):
        try:
            with Image.open(path, formats=FORMATS) as image:
                frame = _to_tensor(image, 4 if info.has_alpha else 3)
        except DAMAGED_IMAGE as error:
            raise InputError(
                f"{path}: damaged image ({_one_line(error)}); save it again or remove it"
            ) from error
        if frame.shape[:2] != (info.height, info.width):
            raise InputError(
                f"{path}: {frame.shape[1]} x {frame.shape[0]} px, but the first image of the "
                f"folder is {info.width} x {info.height} px; make all images one size"
            )
        yield frame


def _to_tensor(image: Image.Image, channels: int | None) -> Tensor:
    """[H, W, channels] uint8, turned by the EXIF orientation; None: 4 if there is transparency."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on palettes with transparency
        image = ImageOps.exif_transpose(reduced(image))
        if channels is None:
            channels = 4 if image.has_transparency_data else 3
        if image.mode in ("I", "I;16", "I;16B", "I;16L"):
            pixels = np.asarray(image).astype(np.uint32)
            image = Image.fromarray((pixels >> 8).clip(0, 255).astype(np.uint8))
        array = np.array(image.convert("RGBA" if channels == 4 else "RGB"))
    return torch.from_numpy(array)


def _durations(image: Image.Image, count: int) -> list[float]:
    """Seconds each frame is shown."""
    seconds = []
    for index in range(count):
        image.seek(index)
        seconds.append(_duration(image))
    return seconds


def _duration(image: Image.Image) -> float:
    milliseconds = image.info.get("duration", 0)
    return milliseconds / 1000 if milliseconds and milliseconds > 0 else DEFAULT_FRAME_SECONDS


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
