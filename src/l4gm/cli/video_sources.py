"""Videos as they are named on a command line: images in a row are one video."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from l4gm.cli.usage import UsageError

_STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_NUMBER = re.compile(r"\d+")


def joined(videos: Sequence[Path]) -> tuple[Path, ...]:
    """The same, where several images in a row, as a shell makes them of frames/*.png, become the
    pattern that names them.

    Raises:
        UsageError: images in a row that are not numbered frames of one folder.
    """
    if len(videos) < 2 or not all(video.suffix.lower() in _STILL_SUFFIXES for video in videos):
        return tuple(videos)
    patterns = {video.parent / _NUMBER.sub("*", video.name) for video in videos}
    if len(patterns) != 1 or "*" not in (pattern := patterns.pop()).name:
        raise UsageError(
            f"{videos[0]} and {len(videos) - 1} more images: expected numbered frames of one folder"
        )
    return (pattern,)


def stem(video: Path) -> str:
    """What results are named after."""
    plain = re.sub(r"(%0?\d*d|[*?]|\[[^\]]*\])+", "", video.stem).strip(" ._-")
    return plain or video.absolute().parent.name
