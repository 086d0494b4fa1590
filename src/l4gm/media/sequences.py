"""Numbered images as a video: a folder, a pattern, or several files in a row, with their masks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media import images
from l4gm.media.info import VideoInfo
from l4gm.media.timing import FALLBACK_FPS

MASK_FOLDERS = ("mask", "masks", "alpha", "alphas", "matte", "mattes")
_MASK_NAME = re.compile(r"(.*?)[ ._-]?(?:mask|alpha|matte)", re.IGNORECASE)
_PRINTF = re.compile(r"%0?\d*d")
_GLOB = re.compile(r"[*?\[]")


def image_files(folder: Path) -> list[Path]:
    """The images of a folder in the order of the numbers in their names ("2.png" before "10.png").

    Raises:
        InputError: if there are none.
    """
    files = _images_in(folder)
    if not files:
        raise InputError(
            f"{folder}: no images in this folder; expected a video file or a folder of "
            "PNG, JPEG or WebP frames"
        )
    return sorted(files, key=_natural_key)


def matching_files(pattern: Path) -> list[Path] | None:
    """The files of a pattern such as `frame_%04d.png` or `frames/*.png`; None if it is none.

    Raises:
        InputError: if nothing matches it.
    """
    name = pattern.name
    if pattern.exists() or not (_PRINTF.search(name) or _GLOB.search(name)):
        return None
    if _PRINTF.search(name):
        fixed = map(re.escape, _PRINTF.split(name))
        expression = re.compile(r"\d+".join(fixed))
        names = pattern.parent.iterdir() if pattern.parent.is_dir() else ()
        found = [path for path in names if expression.fullmatch(path.name) and path.is_file()]
    else:
        found = [path for path in pattern.parent.glob(name) if path.is_file()]
    if not found:
        raise InputError(f"{pattern}: no file matches this pattern")
    return sorted(found, key=_natural_key)


def probe_sequence(files: Sequence[Path]) -> VideoInfo:
    """What is known of numbered images; the first one gives the size.

    Frames have 4 channels if any of them is transparent somewhere, or has a mask beside it.

    Raises:
        InputError: if the first cannot be decoded, or the header of another one.
    """
    frames, masks = _with_masks(files)
    first = images.probe_image(frames[0])
    has_alpha = any(masks) or any(images.has_transparency(path) for path in frames)
    return VideoInfo(
        width=first.width,
        height=first.height,
        fps=FALLBACK_FPS,
        num_frames=len(frames),
        num_pictures=len(frames),
        duration_seconds=len(frames) / FALLBACK_FPS,
        codec=first.codec,
        has_alpha=has_alpha,
        notes=(f"alpha from {len(frames)} mask files",) if any(masks) else (),
    )


def read_sequence(files: Sequence[Path]) -> Iterator[Tensor]:
    """Numbered images, one frame each, uint8 [H, W, 3 or 4].

    Raises:
        InputError: if one cannot be decoded, has another size than the first (a gap in numbered
            frames would shift all that follow), or lacks the mask that the others have.
    """
    info = probe_sequence(files)
    frames, masks = _with_masks(files)
    for path, mask in zip(frames, masks, strict=True):
        frame = images.read_still(path, alpha=info.has_alpha)
        _check_size(path, frame, info)
        if any(masks):
            if mask is None:
                raise InputError(f"{path}: no mask beside it, though other frames have one")
            alpha = images.read_mask(mask)
            _check_size(mask, alpha, info)
            frame = torch.cat([frame[..., :3], alpha[..., None]], -1)
        yield frame


def _check_size(path: Path, frame: Tensor, info: VideoInfo) -> None:
    if frame.shape[:2] != (info.height, info.width):
        raise InputError(
            f"{path}: {frame.shape[1]} x {frame.shape[0]} px, but the first image of the "
            f"folder is {info.width} x {info.height} px; make all images one size"
        )


def _with_masks(files: Sequence[Path]) -> tuple[list[Path], list[Path | None]]:
    """The frames among the files, and each one's mask: a file `NAME_mask` beside it, or one of the
    same stem in a folder `masks`."""
    by_stem = {path.stem: path for path in files}
    mask_of: dict[str, Path] = {}
    for path in files:
        match = _MASK_NAME.fullmatch(path.stem)
        if match and match[1] in by_stem:
            mask_of[match[1]] = path
    frames = [path for path in files if path not in mask_of.values()]
    for folder in (frames[0].parent / name for name in MASK_FOLDERS):
        if folder.is_dir():
            mask_of |= {path.stem: path for path in _images_in(folder)}
    return frames, [mask_of.get(path.stem) for path in frames]


def _images_in(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in images.SUFFIXES
        and path.is_file()
        and not path.name.startswith(".")
    ]


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
