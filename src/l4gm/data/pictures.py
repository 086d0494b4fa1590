"""Pictures of a view as bytes: one lossless RGBA animation per view, and what renderers leave.

WebP without loss won a comparison (docs/data.md): it keeps alpha and colour exactly, is a third
smaller than PNG, and decodes several times faster than any video codec with alpha or with alpha
beside the colour. Every browser plays it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from l4gm.data.layout import DamagedClipError, StoredView

FORMATS = {"webp": "WEBP", "png": "PNG"}
# Of WebP's settings, the smallest files that are not slow to make: stronger ones save 3 %.
METHOD, EFFORT = 2, 20
TICK_MS = 20  # of a frame in the file; which rate it plays at is the clip's business


def encode_pictures(frames: NDArray[np.uint8]) -> bytes:
    """All frames of a view as one animated WebP, without loss.

    Where alpha is 0 the colour is not kept: it reads back as white.

    Args:
        frames: [T, H, W, 4] uint8 RGBA, not premultiplied.
    """
    if frames.ndim != 4 or frames.shape[-1] != 4 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"frames must be uint8 [T, H, W, 4], got {list(frames.shape)}")
    first, *others = (Image.fromarray(frame) for frame in frames)
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=TICK_MS,
        lossless=True,
        method=METHOD,
        quality=EFFORT,
    )
    return buffer.getvalue()


def decode_view(
    view: StoredView,
    num_frames: int,
    stored_px: int,
    frames: Sequence[int] | None = None,
    size_px: int | None = None,
) -> NDArray[np.uint8]:
    """Pictures of a view, resized.

    Args:
        view: its encoded pictures.
        num_frames: T of the clip.
        stored_px: width and height the pictures must have.
        frames: which, in rising order; by default all.
        size_px: width and height wanted: smaller ones are means over areas (of colour times
            alpha), larger ones are interpolated bilinearly.

    Returns:
        [len(frames), size_px, size_px, 4] uint8 RGBA, not premultiplied, white where alpha is 0.

    Raises:
        DamagedClipError: pictures that cannot be decoded, or are not those of the clip.
    """
    wanted = list(range(num_frames)) if frames is None else list(frames)
    size_px = size_px or stored_px
    out = np.empty((len(wanted), size_px, size_px, 4), np.uint8)
    try:
        for place, picture in enumerate(_select(_pictures(view, num_frames, stored_px), wanted)):
            out[place] = np.asarray(_resized(picture, size_px))
    except (OSError, SyntaxError, EOFError, ValueError) as error:
        raise DamagedClipError(f"pictures cannot be decoded ({error})") from error
    color, hidden = out[..., :3], out[..., 3:] == 0
    np.bitwise_or(color, hidden.astype(np.uint8) * 255, out=color)
    return out


def _select(pictures: Iterator[Image.Image], wanted: list[int]) -> Iterator[Image.Image]:
    """The wanted ones (rising, repeats allowed) of a run of pictures."""
    number, picture = -1, None
    for index in wanted:
        while number < index:
            number, picture = number + 1, next(pictures, None)
        if picture is None:
            raise ValueError(f"frame {index} is missing")
        yield picture


def _pictures(view: StoredView, num_frames: int, stored_px: int) -> Iterator[Image.Image]:
    """Pictures of all frames, in order; each to be used before the next one is asked for, and
    decoded no earlier than that."""
    for data in view.pictures:
        with Image.open(io.BytesIO(data), formats=[FORMATS[view.suffix]]) as image:
            if image.size != (stored_px, stored_px):
                raise ValueError(f"{image.size[0]} x {image.size[1]} px instead of {stored_px}")
            stored = getattr(image, "n_frames", 1)
            for frame in range(stored):
                image.seek(frame)
                for _ in range(_shown(image, stored, view, num_frames)):
                    yield image


def _shown(image: Image.Image, stored: int, view: StoredView, num_frames: int) -> int:
    """For how many frames a picture stands: the encoder joins those that are equal."""
    if len(view.pictures) > 1 or stored == num_frames:
        return 1
    if stored == 1:
        return num_frames
    image.load()  # which tells the duration
    return min(max(1, round(image.info["duration"] / TICK_MS)), num_frames)


def _resized(picture: Image.Image, size_px: int) -> Image.Image:
    if picture.mode != "RGBA":
        picture = picture.convert("RGBA")
    if picture.width == size_px:
        return picture
    shrinks = size_px < picture.width
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return picture.convert("RGBa").resize((size_px, size_px), method).convert("RGBA")
