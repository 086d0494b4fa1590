"""Objects from all sides on one sheet: what no number says is seen at a glance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from l4gm.data.clip import ClipRequest, ClipSource
from l4gm.evaluation.renders import Reconstruct, clip_rgba
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.media.matte import on_white
from l4gm.splat.render import render

# Column, azimuth and elevation in degrees. The front is the video's own view.
VIEWS = (
    ("front", 0.0, 0.0),
    ("45°", 45.0, 10.0),
    ("90°", 90.0, 10.0),
    ("180°", 180.0, 10.0),
    ("from above", 30.0, 70.0),
)
COLUMNS = ("input", *(name for name, _, _ in VIEWS))
TILE_PX = 192
LABEL_PX = 22
_OVERSAMPLING = 2  # views are rendered larger and averaged, as a screen shows them


@dataclass(frozen=True)
class Subject:
    """One row of the sheet.

    Args:
        label: its name.
        frames: [T, 4, H, H] straight RGBA in [0, 1].
        views: of the first frame, [4, 4, H, H], or None.
    """

    label: str
    frames: Tensor
    views: Tensor | None = None


def heldout_subjects(
    sources: dict[str, ClipSource], request: ClipRequest, count: int, *, views_given: bool = False
) -> list[Subject]:
    """The first clips of each source in turn, `count` in all."""
    subjects = []
    for place in range(count):
        source = list(sources.values())[place % len(sources)]
        clip = source.clip(place // len(sources), request)
        rgba = clip_rgba(clip)
        views = rgba[0, : clip.num_input_views] if views_given else None
        subjects.append(Subject(clip.name, rgba[:, 0], views))
    return subjects


@torch.inference_mode()
def contact_sheet(
    subjects: Iterable[Subject],
    reconstruct: Reconstruct,
    *,
    tile_px: int = TILE_PX,
    on_row: Callable[[Subject], None] | None = None,
) -> NDArray[np.uint8]:
    """A row for each subject: the input's middle frame, and that moment from all sides, on white.

    Args:
        subjects: what to reconstruct.
        reconstruct: any way from frames to Gaussians.
        tile_px: width and height of an image.
        on_row: called after each row, for progress.

    Returns:
        [rows * (tile_px + LABEL_PX), len(COLUMNS) * tile_px, 3] uint8.

    Raises:
        ValueError: no subjects.
    """
    rows = []
    for subject in subjects:
        middle = len(subject.frames) // 2
        gaussians = reconstruct(subject.frames, subject.views)[middle]
        frame = on_white(subject.frames[middle])[:3]
        tiles = [_resized(frame, tile_px), *_from_all_sides(gaussians, tile_px)]
        rows.append(_labelled(torch.cat(tiles, -1), subject.label, tile_px))
        if on_row is not None:
            on_row(subject)
    if not rows:
        raise ValueError("a contact sheet needs at least one subject")
    return np.concatenate(rows)


def _from_all_sides(gaussians: Gaussians, tile_px: int) -> list[Tensor]:
    azimuths, elevations = zip(*((a, e) for _, a, e in VIEWS), strict=True)
    cameras = orbit_cameras(azimuths, torch.tensor(elevations), size=_OVERSAMPLING * tile_px)
    images = render(gaussians, cameras.to(gaussians.device)).image.clamp(0, 1).cpu()
    return [_resized(image, tile_px) for image in images]


def _resized(image: Tensor, tile_px: int) -> Tensor:
    """[3, S, S]: smaller ones as the means of areas, larger ones with their pixels to be seen."""
    mode = "area" if min(image.shape[-2:]) >= tile_px else "nearest"
    return functional.interpolate(image[None].cpu(), size=(tile_px, tile_px), mode=mode)[0]


def _labelled(row: Tensor, label: str, tile_px: int) -> NDArray[np.uint8]:
    """A row under a strip with the subject's name and the columns' names."""
    strip = Image.new("RGB", (row.shape[-1], LABEL_PX), (238, 238, 238))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    shown = label
    while draw.textlength(shown, font) > tile_px - 12 and len(shown) > 5:  # both ends tell most
        middle = len(shown) // 2
        shown = f"{shown[: middle - 1].rstrip('…')}…{shown[middle + 1 :].lstrip('…')}"
    draw.text((6, 3), shown, (20, 20, 20), font)
    for column, name in enumerate(COLUMNS[1:], 1):
        place = (column + 0.5) * tile_px - draw.textlength(name, font) / 2
        draw.text((place, 3), name, (110, 110, 110), font)
    pixels = row.mul(255).round().byte().permute(1, 2, 0).numpy()
    return np.concatenate([np.asarray(strip), pixels])
