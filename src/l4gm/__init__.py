"""l4gm: one video of a moving object in, one set of 3D Gaussians per frame out.

The ten public names are loaded when they are first used, so that `import l4gm` is fast and
imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Gaussians": "l4gm.gaussians.types",
    "GaussianSequence": "l4gm.gaussians.types",
    "Cameras": "l4gm.geometry.cameras",
    "orbit_cameras": "l4gm.geometry.cameras",
    "render": "l4gm.splat.render",
    "L4GM": "l4gm.model.l4gm",
    "L4GMConfig": "l4gm.model.config",
    "VideoTo4D": "l4gm.pipeline.video_to_4d",
    "load": "l4gm.files",
    "save": "l4gm.files",
}

__all__ = [*_HOME, "__version__"]  # resolved by __getattr__

if TYPE_CHECKING:
    from l4gm.files import load, save
    from l4gm.gaussians.types import Gaussians, GaussianSequence
    from l4gm.geometry.cameras import Cameras, orbit_cameras
    from l4gm.model.config import L4GMConfig
    from l4gm.model.l4gm import L4GM
    from l4gm.pipeline.video_to_4d import VideoTo4D
    from l4gm.splat.render import render


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'l4gm' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
