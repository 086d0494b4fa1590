"""Views that the user gives: a folder of up to four pictures of the first frame."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.images import is_image, read_image
from l4gm.media.matting import choose_matting
from l4gm.media.resample import Crop, crop_and_resize
from l4gm.media.sequences import image_files
from l4gm.multiview.protocol import VIEW_AZIMUTHS_DEGREES, VIEW_SIZE_PX

logger = logging.getLogger(__name__)

_NUM_VIEWS = len(VIEW_AZIMUTHS_DEGREES)
_SMALLEST_PX = 16
_NEAR_WHITE = 0.92
_FORM = (
    "expected pictures named by azimuth (0.png, 90.png, 180.png, 270.png; some may be missing), "
    "or exactly four in the order of their names"
)


def read_given_views(folder: str | os.PathLike[str]) -> tuple[Tensor, Tensor]:
    """Read the views of the first frame from a folder.

    The pictures are square, of one size, the object centred and as large as in the video, on
    transparent or white; another background is removed as a video's is, or refused. Where the last
    number in each name is 0, 90, 180 or 270 (as in `90.png`, `view_090.png`; -90 is 270), it says
    the azimuth, and views may be missing. Otherwise four pictures are needed, and their names,
    numbers compared as numbers, say the order 0, 90, 180, 270. Files that are no pictures by their
    suffix, and hidden ones, are left alone.

    Args:
        folder: where the pictures lie.

    Returns:
        views: float32 in [0, 1], azimuths 0, 90, 180, 270: [4, 4, 256, 256] RGBA, colour not
            multiplied by alpha, where all given pictures have transparent parts, else
            [4, 3, 256, 256] on white; white where there is none. Larger pictures are averaged
            down, smaller ones interpolated up.
        present: [4] bool, which were given; at least one is.

    Raises:
        InputError: no such folder, another number of pictures, two of one azimuth, a picture that
            cannot be read, is not square, is smaller than 16 px or of another size than the rest.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of views; {_FORM}")
    try:
        paths = image_files(folder)
    except InputError as error:
        raise InputError(f"{folder}: no pictures in this folder; {_FORM}") from error
    path_of_view = _assign(folder, paths)
    views = torch.ones(_NUM_VIEWS, 4, VIEW_SIZE_PX, VIEW_SIZE_PX)
    views[:, 3] = 0
    present = torch.zeros(_NUM_VIEWS, dtype=torch.bool)
    first: tuple[Path, int] | None = None
    for index, path in path_of_view.items():
        picture = _read(path)
        first = first or (path, picture.shape[-1])
        if picture.shape[-1] != first[1]:
            raise InputError(
                f"{path}: a view of {picture.shape[-1]} px, but {first[0].name} has {first[1]} px; "
                "expected one size, with the object at one scale in all views"
            )
        logger.info("view at azimuth %d: %s", VIEW_AZIMUTHS_DEGREES[index], path)
        views[index] = _straight(picture)
        present[index] = True
    # What is opaque everywhere was saved with an alpha channel that says nothing.
    if (views[present, 3].amin((1, 2)) < 1).all():
        return views, present
    color, alpha = views[:, :3], views[:, 3:]
    return (color * alpha + (1 - alpha)).clamp(0, 1), present


def _assign(folder: Path, paths: list[Path]) -> dict[int, Path]:
    """Which file is which view: {index of the view: path}, in the order of the views."""
    azimuths = [_azimuth_degrees(path.stem) for path in paths]
    if all(azimuth in VIEW_AZIMUTHS_DEGREES for azimuth in azimuths):
        path_of_view: dict[int, Path] = {}
        for azimuth, path in zip(azimuths, paths, strict=True):
            index = VIEW_AZIMUTHS_DEGREES.index(azimuth or 0)
            if index in path_of_view:
                raise InputError(
                    f"{folder}: {path_of_view[index].name} and {path.name} are both named as "
                    f"azimuth {azimuth}; {_FORM}"
                )
            path_of_view[index] = path
        return dict(sorted(path_of_view.items()))
    if len(paths) != _NUM_VIEWS:
        found = ", ".join(path.name for path in paths[: _NUM_VIEWS + 1])
        more = " ..." if len(paths) > _NUM_VIEWS + 1 else ""
        raise InputError(f"{folder}: {len(paths)} pictures ({found}{more}); {_FORM}")
    return dict(enumerate(paths))


def _azimuth_degrees(stem: str) -> int | None:
    """The last number of a name, turned into 0..359; a minus counts where nothing precedes it."""
    numbers = re.findall(r"(?:(?<![^\W_])-)?\d+", stem)
    return int(numbers[-1]) % 360 if numbers else None


def _read(path: Path) -> Tensor:
    """[4, S, S] float32 in [0, 1], colour times alpha, and alpha."""
    if not is_image(path):
        raise InputError(f"{path}: not a picture that can be read; save it again as PNG")
    frame = next(read_image(path))
    picture = frame.permute(2, 0, 1).float() / 255
    height, width = picture.shape[1:]
    if width != height or width < _SMALLEST_PX:
        raise InputError(
            f"{path}: a view of {width} x {height} px; expected a square of at least "
            f"{_SMALLEST_PX} px"
        )
    if len(picture) == 3 or bool((picture[3] == 1).all()):
        if not _is_on_white(picture[:3]):
            return _cut_out(path, frame[..., :3])
        return torch.cat([picture[:3], torch.ones(1, height, width)])
    return torch.cat([picture[:3] * picture[3:], picture[3:]])


def _is_on_white(picture: Tensor) -> bool:
    """Whether most of the border of [3, S, S] is near white."""
    edge = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], 1)
    return float((edge.amin(0) > _NEAR_WHITE).float().mean()) > 0.5


def _cut_out(path: Path, frame: Tensor) -> Tensor:
    """[4, S, S] premultiplied colour and alpha, of a view [S, S, 3] on another background."""
    try:
        matte = choose_matting([frame], str(path)).method.matte(frame, whole=frame)
    except InputError as error:
        raise InputError(
            f"{path}: the view is neither transparent nor on white, and its background cannot be "
            "removed; save it with an alpha channel"
        ) from error
    if not bool(matte.alpha.any()):  # of one colour all over: taken as it is
        return torch.cat([frame.permute(2, 0, 1).float() / 255, torch.ones(1, *frame.shape[:2])])
    logger.info("%s: its background is removed", path)
    return torch.cat([matte.color, matte.alpha])


def _straight(picture: Tensor) -> Tensor:
    """[4, S, S], colour times alpha, and alpha -> [4, 256, 256], colour and alpha."""
    whole = Crop(left=0, top=0, side=picture.shape[-1])
    resized = crop_and_resize(picture, whole, VIEW_SIZE_PX).clamp(0, 1)
    color, alpha = resized[:3], resized[3:]
    return torch.cat([torch.where(alpha > 0, color / alpha.clamp(min=1e-6), 1.0), alpha])
