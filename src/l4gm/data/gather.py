"""The clips that packing starts from: files of one clip, and the kept clips of other sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from l4gm.data.layout import DamagedClipError, StoredClip, StoredView, read_header, read_views
from l4gm.data.manifest import MANIFEST_NAME, read_manifest
from l4gm.data.pictures import decode_view, encode_pictures
from l4gm.data.storage import Storage
from l4gm.errors import InputError


@dataclass(frozen=True)
class FoundClip:
    """A clip that can be loaded.

    Args:
        key: its name.
        folder, file: where it lies.
        offset, size: within the file.
        motion, motion_method: as a set's manifest has them, which may be newer than the clip.
    """

    key: str
    folder: str
    file: str
    offset: int
    size: int
    motion: float | None = None
    motion_method: str = ""

    def load(self) -> StoredClip:
        """Read it, with one animation for each view.

        Raises:
            DamagedClipError: it is damaged; the message names the file.
        """
        place = f"{self.folder}/{self.file}"
        try:
            read = Storage(self.folder).clip_reader(self.file, self.offset, self.size)
            clip = read_views(read, read_header(read, self.offset))
            views = tuple(_as_animation(view, clip) for view in clip.views)
        except DamagedClipError as error:
            raise DamagedClipError(f"{place}: {error}") from error
        if clip.facts.key != self.key:
            raise DamagedClipError(f"{place}: holds {clip.facts.key} instead of {self.key}")
        facts = clip.facts
        if self.motion is not None:
            facts = replace(facts, motion=self.motion, motion_method=self.motion_method)
        return replace(clip, facts=facts, views=views)


def find_clips(folders: Sequence[str | Path], seed: int = 0) -> list[FoundClip]:
    """All clips in some folders, in an order mixed by the seed.

    Args:
        folders: packed sets (a folder or URL with a manifest), of which the kept clips are taken,
            or folders with a tar for each clip, at any depth, named by its key.
        seed: of the order. It depends on the clips' names alone besides.

    Raises:
        InputError: a folder without clips, or two clips of one name.
    """
    found: dict[str, FoundClip] = {}
    for folder in folders:
        clips = _clips_of_set(str(folder)) if _is_set(str(folder)) else _clip_files(Path(folder))
        if not clips:
            raise InputError(f"{folder}: no clips in it")
        for clip in clips:
            if clip.key in found:
                raise InputError(
                    f"{clip.folder}/{clip.file}: the clip {clip.key} is also in "
                    f"{found[clip.key].folder}; leave one of them out"
                )
            found[clip.key] = clip
    names = sorted(found)
    return [found[names[k]] for k in np.random.default_rng(seed).permutation(len(names))]


def _is_set(folder: str) -> bool:
    return "://" in folder or (Path(folder) / MANIFEST_NAME).is_file()


def _clips_of_set(folder: str) -> list[FoundClip]:
    names = ["key", "shard", "offset", "size", "motion", "motion_method", "kept"]
    rows = read_manifest(folder, names).to_pylist()
    return [
        FoundClip(
            row["key"], folder, row["shard"], row["offset"], row["size"], row["motion"],
            row["motion_method"],
        )
        for row in rows if row["kept"]
    ]  # fmt: skip


def _clip_files(folder: Path) -> list[FoundClip]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give one of clips (l4gm data render) or a set")
    return [
        FoundClip(path.stem, str(path.parent), path.name, 0, path.stat().st_size)
        for path in sorted(folder.rglob("*.tar"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _as_animation(view: StoredView, clip: StoredClip) -> StoredView:
    """The pictures of a view as one animation; decoded even if they are one, to see that they can
    be."""
    frames = decode_view(view, clip.facts.num_frames, clip.cameras.width)
    if len(view.pictures) == 1 and view.suffix == "webp":
        return view
    return replace(view, pictures=(encode_pictures(frames),), suffix="webp")
