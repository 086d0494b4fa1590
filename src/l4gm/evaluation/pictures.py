"""Folders of numbered pictures, read strictly: what does not fit is named, never averaged over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from l4gm.errors import InputError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH_PLACE = 24  # of the header chunk, which always comes first
_MODES = ("RGB", "RGBA", "P", "L", "LA", "1")
_SHOWN = 3


@dataclass(frozen=True)
class PictureSequence:
    """A video as numbered pictures.

    Args:
        frames: [T, H, W, 3] uint8, on white.
        had_alpha: whether the files are transparent anywhere in their format.
    """

    frames: NDArray[np.uint8]
    had_alpha: bool

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[1], self.frames.shape[2]


def picture_paths(folder: Path, num_frames: int | None = None) -> list[Path]:
    """0.png, 1.png, ... of a folder, in order.

    Args:
        num_frames: how many there must be; None: as many as there are, without gaps.

    Raises:
        InputError: no folder, other names, gaps, or another number.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected pictures 0.png, 1.png, ... in it")
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    strange = sorted(p.name for p in files if p.suffix.lower() != ".png" or not p.stem.isdecimal())
    if strange:
        raise InputError(
            f"{folder}: expected only pictures 0.png, 1.png, ..., found {_listed(strange)}"
        )
    numbered = {int(path.stem): path for path in files}
    if len(numbered) < len(files):
        raise InputError(f"{folder}: two pictures have the same number (01.png and 1.png?)")
    wanted = num_frames or (max(numbered) + 1 if numbered else 1)
    missing = [f"{number}.png" for number in range(wanted) if number not in numbered]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {wanted} frames are missing: {_listed(missing)}"
        )
    if len(numbered) > wanted:
        raise InputError(f"{folder}: {len(numbered)} frames where {wanted} are expected")
    return [numbered[number] for number in range(wanted)]


def read_pictures(folder: Path, num_frames: int | None = None) -> PictureSequence:
    """Read a folder of numbered pictures; transparent ones are put on white.

    Raises:
        InputError: as `picture_paths`; pictures of different sizes, of 16 bits a channel, some with
            and some without alpha, or unreadable.
    """
    paths = picture_paths(folder, num_frames)
    frames: list[NDArray[np.uint8]] = []
    alphas: list[bool] = []
    for path in paths:
        frame, had_alpha = read_picture(path)
        if frames and frame.shape != frames[0].shape:
            raise InputError(
                f"{path}: {_size(frame)} px, but {paths[0].name} is {_size(frames[0])}; a video "
                "has one size"
            )
        frames.append(frame)
        alphas.append(had_alpha)
    if any(alphas) != all(alphas):
        odd = paths[alphas.index(not alphas[0])]
        raise InputError(f"{odd}: {'no' if alphas[0] else 'an'} alpha channel, unlike {paths[0]}")
    return PictureSequence(np.stack(frames), alphas[0])


def read_picture(path: Path) -> tuple[NDArray[np.uint8], bool]:
    """One picture [H, W, 3] uint8 on white, and whether it had an alpha channel.

    Raises:
        InputError: unreadable, or more than 8 bits a channel.
    """
    try:
        _check_bit_depth(path)
        with Image.open(path) as opened:
            if opened.mode not in _MODES:
                raise InputError(
                    f"{path}: pixels of type {opened.mode}; expected 8-bit RGB or RGBA"
                )
            had_alpha = "A" in opened.mode or "transparency" in opened.info
            if not had_alpha:
                return np.asarray(opened.convert("RGB")), False
            values = np.asarray(opened.convert("RGBA"), np.float32)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise InputError(f"{path}: not a readable picture ({error})") from error
    alpha = values[..., 3:] / 255
    on_white = values[..., :3] * alpha + 255 * (1 - alpha)
    return (on_white + 0.5).astype(np.uint8), True


def _check_bit_depth(path: Path) -> None:
    """Pillow reads 16-bit RGB as 8-bit without a word, so the file's header is asked."""
    with path.open("rb") as file:
        head = file.read(_BIT_DEPTH_PLACE + 1)
    if head.startswith(_PNG_SIGNATURE) and len(head) > _BIT_DEPTH_PLACE and head[-1] == 16:
        raise InputError(
            f"{path}: 16 bits a channel; expected 8-bit RGB or RGBA: convert it yourself (how 16 "
            "bits become 8 changes the scores)"
        )


def _size(frame: NDArray[np.uint8]) -> str:
    return f"{frame.shape[1]} x {frame.shape[0]}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
