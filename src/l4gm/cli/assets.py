"""Animated objects on disk, opened so that frames are read when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from l4gm.errors import InputError

if TYPE_CHECKING:
    from l4gm.gaussians.framing import Framing
    from l4gm.gaussians.orientation import Up
    from l4gm.gaussians.types import Gaussians, GaussianSequence
    from l4gm.geometry.cameras import Cameras

SEQUENCE_NAME = "sequence.safetensors"


@dataclass(frozen=True)
class Asset:
    """An animated object, or a still one (one frame).

    Args:
        path: as it was given.
        kind: what it is, for people.
        num_frames, num_gaussians: T and N.
        fps: frames per second.
        frames: (start, stop) -> Gaussians [stop - start, N].
        cameras: the input video's cameras, [T] or [], if the asset holds them.
    """

    path: Path
    kind: str
    num_frames: int
    num_gaussians: int
    fps: float
    frames: Callable[[int, int], Gaussians]
    cameras: Cameras | None = None

    def pieces(self, length: int = 16) -> Iterator[tuple[int, Gaussians]]:
        """(index of the first frame, Gaussians [at most length, N]) over all frames."""
        for start in range(0, self.num_frames, length):
            yield start, self.frames(start, min(start + length, self.num_frames))

    def whole(self) -> GaussianSequence:
        """All frames at once."""
        from l4gm.gaussians.types import GaussianSequence

        return GaussianSequence(self.frames(0, self.num_frames), self.fps, self.cameras)

    @cached_property
    def framing(self) -> Framing:
        """From where orbit cameras show it."""
        from l4gm.gaussians.framing import measure_framing

        return measure_framing(self.num_frames, lambda index: self.frames(index, index + 1)[0])

    @property
    def size_bytes(self) -> int:
        """Size on disk; of a folder, of all its files."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())


def open_asset(path: Path, *, fps: float | None = None, up: Up = "y") -> Asset:
    """Open anything `load` reads: a file of one set or of a sequence, or a folder.

    A folder's lossless sequence is preferred to its frames. Of `.safetensors` and `.l4gm` files
    frames are read when they are asked for, the others are read whole.

    Args:
        path: the asset.
        fps: frames per second of a folder of frames from elsewhere, which says none.
        up: the up axis of a file of one set from elsewhere.

    Raises:
        InputError: nothing there, nothing of ours, or damaged.
    """
    from l4gm.files import load
    from l4gm.gaussians.compact_file import SUFFIX, read_compact_frames, read_compact_info
    from l4gm.gaussians.sequence_file import read_frames, read_sequence_info
    from l4gm.gaussians.types import Gaussians

    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; expected a result of `l4gm reconstruct`, a .ply, "
            ".splat, .spz, .sog or .glb file, or a .safetensors, .l4gm or .usdc sequence"
        )
    inner = path / SEQUENCE_NAME if path.is_dir() else path
    if inner.suffix.lower() == ".safetensors" and inner.is_file():
        info = read_sequence_info(inner)
        kind = "sequence" if inner == path else "folder with a lossless sequence"
        return Asset(
            path,
            kind,
            info.num_frames,
            info.num_gaussians,
            info.fps,
            lambda start, stop: read_frames(inner, start, stop),
            info.cameras,
        )
    if path.suffix.lower() == SUFFIX and path.is_file():
        compact = read_compact_info(path)
        return Asset(
            path,
            "compact sequence",
            compact.num_frames,
            compact.num_gaussians,
            compact.fps,
            lambda start, stop: read_compact_frames(path, start, stop),
        )
    loaded = load(path, fps=fps, up=up if path.is_file() else None)
    if isinstance(loaded, Gaussians):
        still = loaded.reshape(1)
        return Asset(path, "one set", 1, still.num_gaussians, 1.0, lambda a, b: still[a:b])
    frames = loaded.gaussians
    return Asset(
        path,
        "folder of frames" if path.is_dir() else "sequence",
        len(loaded),
        frames.num_gaussians,
        loaded.fps,
        lambda start, stop: frames[start:stop],
    )
