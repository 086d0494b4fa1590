"""The compact file's frames: quantised Gaussians as one lossless WebP picture a frame.

docs/format.md has the layout. In short: a Gaussian is a pixel, in reading order, of six RGB tiles
that are stacked in one picture; `Precision` says how many bits each property keeps. Neighbours in a
frame are neighbours in the pictures the network saw, and change little from frame to frame: means
are stored as differences from the Gaussian before (key frames) or from the same Gaussian in the
frame before (the others), the rest as it is or as differences from the frame before, and WebP's
own predictors and entropy coder do what is left.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from l4gm.gaussians.still import FIELDS, unit_quats
from l4gm.gaussians.types import Gaussians
from l4gm.gaussians.visible import visible
from l4gm.geometry.rotations import quat_multiply

TILES = 6  # means low byte, means high byte, scales, rotations, colors, opacity
KEY_EVERY = 8  # frames; so many pictures are decoded at most to show one
MAX_GAUSSIANS = 14_000_000  # in a frame; larger pictures are what decoders take for an attack

_MAX_SIDE = 16383  # pixels, of a WebP picture
_FLAT = 1e-4  # of the object's size: scales below it are kept at it
_IDENTITY = (1.0, 0.0, 0.0, 0.0)

Levels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Precision:
    """Bits that each number of a property keeps. The defaults are good for 45 dB and more.

    Args:
        means: 8 to 16, over the object's box.
        scales: 1 to 8, of logarithms between the smallest and the largest.
        rotations: 2 to 8, of each of three numbers.
        colors, opacities: 1 to 8.

    Raises:
        ValueError: a number outside these ranges.
    """

    means: int = 10
    scales: int = 6
    rotations: int = 7
    colors: int = 6
    opacities: int = 8

    def __post_init__(self) -> None:
        for name, low, high in (
            ("means", 8, 16),
            ("scales", 1, 8),
            ("rotations", 2, 8),
            ("colors", 1, 8),
            ("opacities", 1, 8),
        ):
            bits = getattr(self, name)
            if not low <= bits <= high:
                raise ValueError(f"{name} must have {low} to {high} bits, got {bits}")


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """What the integers stand for, the same in all frames.

    Args:
        lower, upper: corners of the box of the means.
        log_scale_lower, log_scale_upper: natural logarithms.
        reference: unit quaternion, w first, that the rotations are counted from.
    """

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    log_scale_lower: float
    log_scale_upper: float
    reference: tuple[float, float, float, float]


class DamagedPictureError(ValueError):
    """A frame's bytes are not the picture they should be; the message says how."""


def picture_width(num_gaussians: int) -> int:
    """Pixels in a row: those of a view where the Gaussians are four square views, else a square's.

    Pictures of more than 16,383 rows cannot be; there the rows are longer.
    """
    side = math.isqrt(num_gaussians // 4)
    if 4 * side * side != num_gaussians:
        side = math.isqrt(max(num_gaussians - 1, 0)) + 1
    return max(side, -(-num_gaussians // (_MAX_SIDE // TILES)), 1)


def picture_rows(num_gaussians: int, width: int) -> int:
    """Rows of a tile; at least one, since no picture is empty."""
    return max(-(-num_gaussians // width), 1)


def measure_ranges(frames: Iterable[Gaussians]) -> Ranges:
    """The ranges of the visible Gaussians of all frames [N].

    Raises:
        ValueError: values that are not finite.
    """
    lower, upper = torch.full((3,), torch.inf), torch.full((3,), -torch.inf)
    smallest, largest = torch.inf, 0.0
    products = torch.zeros(4, 4, dtype=torch.float64)
    for frame in frames:
        seen = visible(frame)
        for name in FIELDS:
            if not getattr(frame, name).isfinite().all():
                raise ValueError(f"{name} hold values that are not finite")
        if not seen.any():
            continue
        means, scales = frame.means[seen].float().cpu(), frame.scales[seen].float()
        lower, upper = torch.minimum(lower, means.amin(0)), torch.maximum(upper, means.amax(0))
        smallest, largest = min(smallest, float(scales.min())), max(largest, float(scales.max()))
        quats = unit_quats(frame.quats[seen].double().cpu())
        products += quats.mT @ quats
    if not lower.isfinite().all():  # nothing is visible in any frame
        lower, upper, smallest, largest = torch.zeros(3), torch.ones(3), 1.0, 1.0
    flat = max(_FLAT * float((upper - lower).max()), 1e-8)
    # The rotation that all others are nearest to, q and -q being one: few of them lie so far away
    # that their sign, and with it every number, could jump between neighbours.
    reference = torch.linalg.eigh(products).eigenvectors[:, -1] if products.any() else _IDENTITY
    x, y, z = (float(value) for value in lower)
    x1, y1, z1 = (float(value) for value in upper)
    w, i, j, k = (float(value) for value in reference)
    return Ranges(
        lower=(x, y, z),
        upper=(x1, y1, z1),
        log_scale_lower=math.log(max(smallest, flat)),
        log_scale_upper=math.log(max(largest, flat)),
        reference=(w, i, j, k),
    )


def encode_group(
    frames: Iterable[Gaussians], ranges: Ranges, precision: Precision, width: int
) -> list[bytes]:
    """WebP pictures of consecutive frames [N]; the first is a key frame, the others need it."""
    pictures = []
    previous: list[Levels] | None = None
    for frame in frames:
        seen = visible(frame).cpu().numpy()
        current = _settled(_quantise(frame, ranges, precision), seen, previous)
        tiles = _tiles(current, previous, precision)
        pictures.append(_compress(tiles, width))
        previous = current
    return pictures


def decode_group(
    pictures: Iterable[bytes], count: int, ranges: Ranges, precision: Precision, width: int
) -> Iterator[Gaussians]:
    """The frames [count] of pictures that begin with a key frame, float32.

    Raises:
        DamagedPictureError: bytes that are not a WebP picture of the right size.
    """
    previous: list[Levels] | None = None
    for picture in pictures:
        previous = _levels(_decompress(picture, count, width), previous, precision)
        yield _restore(previous, ranges, precision)


def _spaced(values: Tensor, lower: Tensor | float, upper: Tensor | float, steps: int) -> Levels:
    """Integers 0..steps of values between lower and upper; of those beyond, the nearest end."""
    extent = torch.as_tensor(upper, dtype=torch.float64) - torch.as_tensor(lower)
    share = (values.double().cpu() - torch.as_tensor(lower)) / extent.clamp(min=1e-12)
    return (share.clamp(0, 1) * steps).round().numpy().astype(np.int32)


def _between(levels: Levels, lower: Tensor | float, upper: Tensor | float, steps: int) -> Tensor:
    """The values that integers 0..steps stand for, float32; integers beyond are taken as steps."""
    low, high = (torch.as_tensor(value, dtype=torch.float64) for value in (lower, upper))
    return (low + torch.from_numpy(levels).clamp(max=steps) * ((high - low) / steps)).float()


def _quantise(frame: Gaussians, ranges: Ranges, precision: Precision) -> list[Levels]:
    """Means, scales, rotations, colors [N, 3] and opacities [N, 1] as integers."""
    turned = quat_multiply(_conjugate(ranges), unit_quats(frame.quats.double().cpu()))
    turned = torch.where(turned[..., :1] < 0, -turned, turned)
    rotations = turned[..., 1:] / (1 + turned[..., :1])  # modified Rodrigues, within [-1, 1]
    opacities = _spaced(frame.opacities[:, None], 0.0, 1.0, 2**precision.opacities - 1)
    seen = visible(frame).cpu().numpy()[:, None]
    return [
        _spaced(
            frame.means,
            torch.tensor(ranges.lower),
            torch.tensor(ranges.upper),
            2**precision.means - 1,
        ),
        _spaced(
            frame.scales.double().clamp(min=1e-30).log(),
            ranges.log_scale_lower,
            ranges.log_scale_upper,
            2**precision.scales - 1,
        ),
        _spaced(rotations, -1.0, 1.0, 2**precision.rotations - 2),
        _spaced(frame.colors, 0.0, 1.0, 2**precision.colors - 1),
        np.where(seen, np.maximum(opacities, 1), 0),
    ]


def _restore(levels: list[Levels], ranges: Ranges, precision: Precision) -> Gaussians:
    """The Gaussians [N] of integers."""
    means, scales, rotations, colors, opacities = levels
    rodrigues = _between(rotations, -1.0, 1.0, 2**precision.rotations - 2)
    square = rodrigues.square().sum(-1, keepdim=True)
    turned = torch.cat([1 - square, 2 * rodrigues], -1) / (1 + square)
    reference = torch.tensor(ranges.reference).expand_as(turned)
    return Gaussians(
        means=_between(
            means, torch.tensor(ranges.lower), torch.tensor(ranges.upper), 2**precision.means - 1
        ),
        quats=quat_multiply(reference, turned),
        scales=_between(
            scales, ranges.log_scale_lower, ranges.log_scale_upper, 2**precision.scales - 1
        ).exp(),
        opacities=_between(opacities[:, 0], 0.0, 1.0, 2**precision.opacities - 1),
        colors=_between(colors, 0.0, 1.0, 2**precision.colors - 1),
    )


def _conjugate(ranges: Ranges) -> Tensor:
    return torch.tensor(ranges.reference, dtype=torch.float64) * torch.tensor([1.0, -1, -1, -1])


def _settled(
    levels: list[Levels], seen: NDArray[np.bool_], previous: list[Levels] | None
) -> list[Levels]:
    """Invisible Gaussians get the values that cost least: those before them in time or order."""
    *shapes, opacities = levels
    if previous is not None:
        kept = [
            np.where(seen[:, None], now, before)
            for now, before in zip(shapes, previous[:-1], strict=True)
        ]
    else:
        source = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), 0))
        kept = [now[source] for now in shapes]
    return [*kept, opacities]


def _tiles(
    current: list[Levels], previous: list[Levels] | None, precision: Precision
) -> NDArray[np.uint8]:
    """[TILES, N, 3]."""
    means, *others = current
    if previous is None:
        steps = np.diff(means, axis=0, prepend=0)
    else:
        steps = means - previous[0]
        others = [now - before for now, before in zip(others, previous[1:], strict=True)]
    half = 1 << (precision.means - 1)
    steps = (steps + half) % (2 * half) - half
    zigzag = np.where(steps >= 0, 2 * steps, -2 * steps - 1)
    opacity = np.pad(others[-1], ((0, 0), (0, 2)))
    return np.stack([zigzag & 255, zigzag >> 8, *others[:-1], opacity]).astype(np.uint8)


def _levels(
    tiles: NDArray[np.uint8], previous: list[Levels] | None, precision: Precision
) -> list[Levels]:
    """What `_tiles` made them of."""
    low, high, *others = tiles.astype(np.int32)
    zigzag = low | (high << 8)
    steps = np.where(zigzag & 1, -(zigzag >> 1) - 1, zigzag >> 1)
    others[-1] = others[-1][:, :1]
    if previous is None:
        means = np.cumsum(steps, axis=0, dtype=np.int64)
    else:
        means = steps + previous[0]
        others = [(now + then) & 255 for now, then in zip(others, previous[1:], strict=True)]
    return [(means % (1 << precision.means)).astype(np.int32), *others]


def _compress(tiles: NDArray[np.uint8], width: int) -> bytes:
    rows = picture_rows(tiles.shape[1], width)
    picture = np.zeros((TILES, rows * width, 3), np.uint8)
    picture[:, : tiles.shape[1]] = tiles
    stream = io.BytesIO()
    image = Image.fromarray(picture.reshape(TILES * rows, width, 3))
    image.save(stream, "WEBP", lossless=True, quality=50, method=4)
    return stream.getvalue()


def _decompress(picture: bytes, count: int, width: int) -> NDArray[np.uint8]:
    """[TILES, count, 3]; the size is checked before anything is unpacked."""
    expected = (width, TILES * picture_rows(count, width))
    try:
        with Image.open(io.BytesIO(picture), formats=("WEBP",)) as image:
            if image.size != expected:
                raise DamagedPictureError(f"{image.size} pixels, expected {expected}")
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DamagedPictureError("not a whole WebP picture") from error
    return pixels.reshape(TILES, -1, 3)[:, :count]
