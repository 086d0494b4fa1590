"""Reads a foreign USD stage in a process of its own: usd-core crashes on damaged ones.

Run by `l4gm.io.sandbox` as a plain file: `usd_worker.py STAGE KIND LIMIT FOLDER`. Writes
`frames.f32`, for each frame the columns of `WIDTHS` one after the other, and `about.json`; or one
line to `error.txt`. Imports nothing of this package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

WIDTHS = {"positions": 3, "orientations": 4, "scales": 3, "opacities": 1, "harmonics": 3}
ABOUT_NAME, FRAMES_NAME = "about.json", "frames.f32"

_HARMONICS = "radiance:sphericalHarmonicsCoefficients"
_DEGREE = "radiance:sphericalHarmonicsDegree"
_ATTRIBUTES = {name: name for name in WIDTHS} | {"harmonics": _HARMONICS}


class StageError(Exception):
    """What is wrong with a stage, in words."""


def main(stage_path: str, kind: str, limit_bytes: int, folder: Path) -> None:
    """Write the frames, or what is wrong.

    Args:
        stage_path: the file to read.
        kind: what it is by its first bytes, for messages.
        limit_bytes: that the frames may take.
        folder: to write to.
    """
    try:
        stage = _open(stage_path, kind)
        prim = _splats(stage)
        with (folder / FRAMES_NAME).open("wb") as stream:
            about = _write(stage, prim, limit_bytes, stream)
        (folder / ABOUT_NAME).write_text(json.dumps(about))
    except StageError as error:
        (folder / "error.txt").write_text(str(error))
    except Exception:  # the edge of the process: whatever usd-core makes of a damaged stage
        (folder / "error.txt").write_text(_not_usd(kind))


def _not_usd(kind: str) -> str:
    return f"not a USD file, or damaged ({kind})"


def _open(path: str, kind: str) -> Any:
    from pxr import Sdf, Usd

    layer = Sdf.Layer.FindOrOpen(path)
    if not layer:
        raise StageError(_not_usd(kind))
    # A stage can be put together from any file that this user can read.
    if layer.GetExternalReferences() or layer.GetCompositionAssetDependencies():
        raise StageError("it refers to other files; make it one with usdcat --flatten")
    stage = Usd.Stage.Open(layer)
    if any(prim.HasAuthoredMetadata("clips") for prim in stage.Traverse()):
        raise StageError("it takes its values from other files; make it one with usdcat --flatten")
    return stage


def _splats(stage: Any) -> Any:
    from pxr import Usd, UsdGeom

    prims = [p for p in stage.Traverse() if p.GetTypeName() == "ParticleField3DGaussianSplat"]
    if not prims:
        meshes = any(prim.GetTypeName() == "Mesh" for prim in stage.Traverse())
        what = "meshes, not Gaussians" if meshes else "no Gaussians"
        raise StageError(f"holds {what} (no ParticleField3DGaussianSplat)")
    place = UsdGeom.Xformable(prims[0])
    for time in _times(prims[0]) or [Usd.TimeCode.Default()]:
        if np.any(np.array(place.ComputeLocalToWorldTransform(time)) != np.eye(4)):
            raise StageError("the splats are moved or turned; apply their transform first")
    return prims[0]


def _times(prim: Any) -> list[float]:
    return _attribute(prim, "positions").GetTimeSamples()


def _write(stage: Any, prim: Any, limit_bytes: int, stream: BinaryIO) -> dict[str, Any]:
    from pxr import Usd, UsdGeom

    times = _times(prim)
    counts = []
    for time in times or [Usd.TimeCode.Default()]:
        columns = _frame(prim, time)
        counts.append(len(columns["positions"]))
        if max(len(times), 1) * max(counts) * 4 * sum(WIDTHS.values()) > limit_bytes:
            raise StageError(f"{len(times)} frames of {max(counts)} Gaussians need too much memory")
        for name in WIDTHS:
            stream.write(columns[name].tobytes())
    return {
        "counts": counts,
        "is_still": len(times) <= 1,
        "fps": float(stage.GetTimeCodesPerSecond()),
        "z_is_up": bool(UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z),
    }


def _frame(prim: Any, time: Any) -> dict[str, NDArray[np.float32]]:
    """The columns [N, width]; of the harmonics those of degree 0."""
    try:
        columns = {
            name: np.array(_attribute(prim, _ATTRIBUTES[name]).Get(time), np.float32).reshape(
                -1, width
            )
            for name, width in WIDTHS.items()
        }
        columns["harmonics"] = columns["harmonics"][:: _coefficients(prim, time)]
    except (ValueError, TypeError) as error:
        raise StageError(f"the attributes do not fit each other ({error})") from None
    sizes = {name: len(column) for name, column in columns.items()}
    if len(set(sizes.values())) > 1:
        raise StageError(f"the attributes do not fit each other ({sizes})")
    return columns


def _coefficients(prim: Any, time: Any) -> int:
    """How many harmonics a Gaussian has."""
    attribute = prim.GetAttribute(_DEGREE)
    degree = attribute.Get(time) if attribute else 0
    if degree is None:
        degree = 0
    if not 0 <= degree <= 8:
        raise ValueError(f"degree {degree}")
    return (degree + 1) ** 2


def _attribute(prim: Any, name: str) -> Any:
    """An attribute, or its half-precision twin where only that has values."""
    for candidate in (name, f"{name}h"):
        attribute = prim.GetAttribute(candidate)
        if attribute and attribute.HasAuthoredValue():
            return attribute
    raise StageError(f"the splats have no {name}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
