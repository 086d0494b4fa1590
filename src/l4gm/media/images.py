"""Still and animated images as videos. Pillow does the decoding."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from l4gm.errors import InputError
from l4gm.io.budget import check_in_memory
from l4gm.media.info import VideoInfo
from l4gm.media.limits import DAMAGED_IMAGE, check_animation, reduced
from l4gm.media.timing import FrameRateResampler, FrameTimes

logger = logging.getLogger(__name__)

Image.init()
FORMATS = tuple(
    name
    for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
    if name in Image.OPEN  # AVIF comes with newer Pillows
)
# Elsewhere further images of a file are pages, previews or the other eye's view (MPO, which
# cameras write as .jpg), no frames.
ANIMATED_FORMATS = ("PNG", "WEBP", "GIF", "AVIF")
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".mpo", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".apng"),
    ".avif",
)
DEFAULT_FRAME_SECONDS = 0.1  # browsers show a frame this long that has no duration, ...
SHORTEST_FRAME_SECONDS = 0.011  # ... or a shorter one
TRANSPARENT = ("RGBA", "LA", "PA", "La", "RGBa")
_WEBP_FLAGS, _WEBP_ANIMATED, _WEBP_ALPHA = 20, 0x02, 0x10  # a byte's place in the file, its bits
_SRGB = ImageCms.createProfile("sRGB")


def is_image(path: Path) -> bool:
    """Whether the file's content (not its name) is an image that Pillow reads."""
    try:
        with _open(path) as image:
            check_animation(image)
            return True
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: image too large ({error}); scale it down first") from error
    except DAMAGED_IMAGE:
        return False


def has_transparency(path: Path) -> bool:
    """Whether a still image says that it has transparent parts; reads the header only.

    Raises:
        InputError: if it is damaged.
    """
    with _opened(path) as image:
        return bool(image.has_transparency_data)


def probe_image(path: Path) -> VideoInfo:
    """What is known of a still or animated image; decodes it all, once.

    Raises:
        InputError: if the first frame cannot be decoded.
    """
    status = path.stat()
    return _probe(path, status.st_size, status.st_mtime_ns)[0]


@lru_cache(maxsize=32)
def _probe(path: Path, size: int, changed_ns: int) -> tuple[VideoInfo, FrameTimes]:
    seconds: list[float | None] = []
    time, duration = 0.0, None
    has_alpha = False
    frame: Tensor | None = None
    with _opened(path) as image:
        codec = (image.format or "image").lower()
        with suppress(*DAMAGED_IMAGE):  # `read_image` warns
            for index in _frame_indices(image):
                image.seek(index)
                image.load()
                frame = _to_tensor(image, None) if frame is None else frame
                has_alpha = has_alpha or _is_transparent_somewhere(reduced(image))
                seconds.append(time)
                duration = _duration(image)
                time += duration
    if frame is None:
        raise InputError(f"{path}: damaged image; save it again")
    if len(seconds) == 1:
        duration = None
    times = FrameTimes(seconds=seconds, last_seconds=duration)
    fps = times.fps()
    num_frames = times.num_frames(fps, path)
    info = VideoInfo(
        width=frame.shape[1],
        height=frame.shape[0],
        fps=fps,
        num_frames=num_frames,
        num_pictures=len(seconds),
        duration_seconds=num_frames / fps,
        codec=codec,
        has_alpha=has_alpha,
    )
    return info, times


def read_image(path: Path, *, timed: bool = True) -> Iterator[Tensor]:
    """The frames of a still or animated image, uint8 [H, W, 3 or 4].

    Args:
        path: a file.
        timed: put them on the even lattice of `probe_image(path).fps`; else one after the other.

    Raises:
        InputError: if the first frame cannot be decoded; damage further on ends the video with a
            warning.
    """
    status = path.stat()
    info, times = _probe(path, status.st_size, status.st_mtime_ns)
    channels = 4 if info.has_alpha else 3
    resampler: FrameRateResampler[Tensor] = FrameRateResampler(info.fps)
    index = 0
    try:
        with _open(path) as image:
            for number, index in enumerate(_frame_indices(image)):
                image.seek(index)
                frame = _to_tensor(image, channels)
                if not timed:
                    yield frame
                elif number < len(times.seconds):
                    yield from resampler.push(frame, times.seconds[number])
    except DAMAGED_IMAGE as error:
        logger.warning("%s: damaged after frame %d (%s)", path, index, _one_line(error))
    if timed:
        yield from resampler.finish(times.last_seconds)


def read_still(path: Path, *, alpha: bool) -> Tensor:
    """The first frame of an image, uint8 [H, W, 4 if alpha else 3].

    Raises:
        InputError: if it is damaged.
    """
    with _opened(path) as image:
        image.seek(_frame_indices(image)[0])
        return _to_tensor(image, 4 if alpha else 3)


def read_mask(path: Path) -> Tensor:
    """An image taken as a mask, uint8 [H, W]: its alpha where it has one, else its brightness.

    Raises:
        InputError: if it is damaged.
    """
    frame = read_still(path, alpha=True)
    alpha = frame[..., 3]
    if int(alpha.min()) < 255:
        return alpha
    return frame[..., :3].amax(-1)


def _open(path: Path) -> Image.Image:
    """An image, nothing decoded yet."""
    with path.open("rb") as file:
        head = bytearray(file.read(_WEBP_FLAGS + 1))
        if head[8:16] != b"WEBPVP8X" or len(head) <= _WEBP_FLAGS or not head[-1] & _WEBP_ANIMATED:
            return Image.open(path, formats=FORMATS)
        # libwebp leaves the flag out where each frame's own rectangle is opaque, though what lies
        # beside that is transparent; without the flag Pillow makes it black.
        head[-1] |= _WEBP_ALPHA
        check_in_memory(path, 2 * path.stat().st_size)
        return Image.open(io.BytesIO(bytes(head) + file.read()), formats=FORMATS)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A file whose faults are told in one line."""
    try:
        with _open(path) as image:
            yield image
    except DAMAGED_IMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: damaged image ({_one_line(error)}); save it again or remove it"
        ) from error


def _frame_indices(image: Image.Image) -> range:
    """Which images of the file are frames of its animation."""
    count = getattr(image, "n_frames", 1)
    if image.format not in ANIMATED_FORMATS:
        return range(1)
    # An APNG may carry an image for programs that know no APNG.
    first = 1 if image.info.get("default_image") and count > 1 else 0
    return range(first, count)


def _is_transparent_somewhere(image: Image.Image) -> bool:
    """Whether a pixel of the frame at hand is not opaque."""
    if image.mode in TRANSPARENT:
        return _has_holes(image.getchannel(image.getbands()[-1]))
    if not image.has_transparency_data:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _has_holes(image.convert("RGBA").getchannel("A"))


def _has_holes(alpha: Image.Image) -> bool:
    return bool(np.asarray(alpha).min() < 255)


def _to_tensor(image: Image.Image, channels: int | None) -> Tensor:
    """[H, W, channels] uint8, turned by the EXIF orientation; None: 4 if there is transparency."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on palettes with transparency
        profile = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(reduced(image))
        if channels is None:
            channels = 4 if image.has_transparency_data else 3
        if image.mode in ("I", "I;16", "I;16B", "I;16L"):
            pixels = np.asarray(image).astype(np.uint32)
            image = Image.fromarray((pixels >> 8).clip(0, 255).astype(np.uint8))
        mode = "RGBA" if channels == 4 else "RGB"
        if profile and image.mode in ("RGB", "RGBA", "CMYK"):
            image = _to_srgb(image, profile)
        array = np.array(image.convert(mode))
    return torch.from_numpy(array)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """By the image's colour profile (phones write Display P3); unreadable ones are ignored."""
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image
        mode = "RGB" if image.mode == "CMYK" else image.mode
        converted = ImageCms.profileToProfile(image, own, _SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    return image if converted is None else converted


def _duration(image: Image.Image) -> float:
    """Seconds for which the frame at hand is shown; WebP and AVIF know it once it is loaded."""
    seconds = (image.info.get("duration") or 0) / 1000
    return seconds if seconds >= SHORTEST_FRAME_SECONDS else DEFAULT_FRAME_SECONDS


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
