"""The formats that hold one set of Gaussians, in one table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from l4gm.gaussians.compressed_ply import write_compressed_ply
from l4gm.gaussians.glb import read_glb, write_glb
from l4gm.gaussians.ply import read_ply, write_ply
from l4gm.gaussians.sog import read_sog, write_sog
from l4gm.gaussians.splat import read_splat, write_splat
from l4gm.gaussians.spz import read_spz, write_spz
from l4gm.gaussians.types import Gaussians

_AnyPath = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class StillFormat:
    """How one set of Gaussians is written and read.

    Args:
        suffix: of the file names, in lower case.
        write: (path, Gaussians [N]); every Gaussian, in order, in the axes it has.
        read: (path) -> Gaussians [N], in the axes of the file.
        layouts: other ways to write it, by name.
    """

    suffix: str
    write: Callable[[_AnyPath, Gaussians], None]
    read: Callable[[_AnyPath], Gaussians]
    layouts: Mapping[str, Callable[[_AnyPath, Gaussians], None]] = field(default_factory=dict)

    def writer(self, layout: str | None) -> Callable[[_AnyPath, Gaussians], None]:
        """`write`, or that of a layout.

        Raises:
            ValueError: the format has no such layout.
        """
        if layout is None:
            return self.write
        if layout not in self.layouts:
            known = ", ".join(self.layouts) or "none"
            raise ValueError(f"{self.suffix} files have the layouts: {known}; got {layout!r}")
        return self.layouts[layout]


STILL_FORMATS = {
    "ply": StillFormat(
        suffix=".ply",
        write=partial(write_ply, prune=False),
        read=read_ply,
        layouts={"full": partial(write_ply, prune=False, full=True)},
    ),
    "compressed-ply": StillFormat(
        suffix=".compressed.ply", write=write_compressed_ply, read=read_ply
    ),
    "splat": StillFormat(suffix=".splat", write=write_splat, read=read_splat),
    "spz": StillFormat(
        suffix=".spz",
        write=write_spz,
        read=read_spz,
        layouts={"v4": partial(write_spz, version=4)},
    ),
    "sog": StillFormat(suffix=".sog", write=write_sog, read=read_sog),
    "glb": StillFormat(suffix=".glb", write=write_glb, read=read_glb),
}


def still_format_of(path: _AnyPath) -> str | None:
    """The name of the format that a file name asks for, or None."""
    name = Path(path).name.lower()
    found = [kind for kind, still in STILL_FORMATS.items() if name.endswith(still.suffix)]
    return max(found, key=lambda kind: len(STILL_FORMATS[kind].suffix), default=None)
