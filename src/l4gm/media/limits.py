"""What images and frames of any size may cost, and what libraries raise on damaged ones.

Objects end up at a few hundred pixels. Frames above 4K are therefore made smaller as soon as they
are decoded, a strip at a time, so that neither twenty frames of 8K nor one view of 170 megapixels
takes more than a decoded copy.
"""

from __future__ import annotations

import math
import struct

from PIL import Image

MAX_PIXELS = 4096 * 2304

DAMAGED_IMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, ZeroDivisionError, struct.error, Image.DecompressionBombError),
)
"""What Pillow raises on damaged files: its readers trust what a header says."""

_MAX_ANIMATION_PIXELS = 4 * MAX_PIXELS  # every frame is decoded twice
_STRIP_ROWS = 256  # of the smaller image


def check_animation(image: Image.Image) -> None:
    """Raise DecompressionBombError if the frames of an animation are larger than 8K."""
    width, height = image.size
    if width * height > _MAX_ANIMATION_PIXELS and getattr(image, "is_animated", False):
        raise Image.DecompressionBombError(f"an animation of {width} x {height} pixels")


def limited_size(width: int, height: int) -> tuple[int, int]:
    """Width and height in the same proportion, of at most `MAX_PIXELS` together."""
    factor = math.sqrt(MAX_PIXELS / (width * height))
    if factor >= 1:
        return width, height
    return max(int(width * factor), 1), max(int(height * factor), 1)


def reduced(image: Image.Image) -> Image.Image:
    """An image of at most `MAX_PIXELS`: the same, or means over squares of its pixels.

    Colours count by their alpha. Where there is transparency the result is RGBA, else RGB; of
    images of integers (16 bits and more) single pixels are taken.
    """
    width, height = image.size
    factor = math.ceil(math.sqrt(width * height / MAX_PIXELS))
    if factor <= 1:
        return image
    size = (-(-width // factor), -(-height // factor))
    if image.mode.startswith("I"):
        return image.resize(size, Image.Resampling.NEAREST)
    mode, summed = ("RGBA", "RGBa") if image.has_transparency_data else ("RGB", "RGB")
    small = Image.new(mode, size)
    rows = factor * _STRIP_ROWS
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        strip.info = image.info  # says which colour of a palette is transparent
        means = strip.convert(mode).convert(summed).reduce(factor).convert(mode)
        small.paste(means, (0, top // factor))
    exif = image.info.get("exif")
    small.info = {} if exif is None else {"exif": exif}
    return small
