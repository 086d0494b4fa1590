"""A sequence as USD: one ParticleField3DGaussianSplat whose attributes have a time sample a frame.

The schema came with OpenUSD 26.03 (UsdVol). Scales and opacities are stored as they are, the colour
as the degree-0 harmonic. Needs usd-core: `pip install "l4gm[usd]"`.

Between two time samples USD blends arrays of one length row by row, and holds the first where their
lengths differ. Rows of consecutive frames need not be the same part of the object, so consecutive
frames are given lengths that differ.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians import usd_worker
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.identify import what_it_is
from l4gm.gaussians.orientation import Up, from_file_axes, to_file_axes
from l4gm.gaussians.still import (
    HARMONIC_DEGREE_0,
    checked,
    existing_file,
    prepared,
    unit_quats,
)
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import padded, stack_padded, without_invisible, without_padding
from l4gm.io.budget import memory_limit_bytes
from l4gm.io.sandbox import isolated

SUFFIXES = (".usd", ".usdc", ".usda")

_PRIM = "/object"
_STILL_FPS = 24.0
_PROCESS_BYTES = 2 * 10**9  # address space of Python, NumPy and usd-core themselves
_READ_SECONDS = 300
_HARMONICS = "radiance:sphericalHarmonicsCoefficients"
_DEGREE = "radiance:sphericalHarmonicsDegree"


def write_usd(
    path: str | os.PathLike[str],
    sequence: GaussianSequence,
    *,
    up: Up = "y",
    scale: float = 1.0,
    prune: bool = True,
) -> None:
    """Write a sequence, whole or not at all; frame k is at time code k and held until the next.

    Args:
        path: a .usd or .usdc file (binary) or .usda (text, large); replaced if it exists.
        sequence: [T, N].
        up: "y" or "z"; the stage says which.
        scale: the stage's units in one of ours.
        prune: leave out what is invisible; else every frame holds all Gaussians in order, and USD
            blends between the frames.

    Raises:
        ValueError: values that are not finite.
        InputError: usd-core is not installed, another up axis, or the file cannot be made there.
    """
    stage = new_stage(path, sequence.fps, up)
    from pxr import UsdVol, Vt

    stage.SetEndTimeCode(len(sequence) - 1)
    splats = UsdVol.ParticleField3DGaussianSplat.Define(stage, _PRIM)
    prim = splats.GetPrim()
    stage.SetDefaultPrim(prim)
    prim.GetAttribute(_DEGREE).Set(0)
    previous = 0
    for index in range(len(sequence)):
        frame = prepared(to_file_axes(sequence.gaussians[index].to("cpu"), up, scale), path)
        if prune:
            frame = without_invisible(frame)
            if frame.num_gaussians == previous > 0:
                frame = padded(frame, 1)
            previous = frame.num_gaussians
        harmonics = (frame.colors - 0.5) / HARMONIC_DEGREE_0
        columns = {
            "positions": Vt.Vec3fArray.FromNumpy(_array(frame.means)),
            "orientations": Vt.QuatfArray.FromNumpy(_array(frame.quats[:, [1, 2, 3, 0]])),
            "scales": Vt.Vec3fArray.FromNumpy(_array(frame.scales)),
            "opacities": Vt.FloatArray.FromNumpy(_array(frame.opacities)),
            _HARMONICS: Vt.Vec3fArray.FromNumpy(_array(harmonics)),
            "extent": Vt.Vec3fArray.FromNumpy(_extent(frame)),
        }
        for name, values in columns.items():
            prim.GetAttribute(name).Set(values, index)
    export_stage(stage, path)


def new_stage(path: str | os.PathLike[str], fps: float, up: Up) -> Any:
    """An empty stage in memory that starts at time code 0, a frame at each.

    Raises:
        InputError: usd-core is not installed, or another up axis than y and z.
    """
    _need_usd(path)
    from pxr import Usd, UsdGeom

    if up not in ("y", "z"):
        raise InputError(f"{path}: USD knows the up axes y and z, not {up}")
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y if up == "y" else UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    stage.SetStartTimeCode(0)
    return stage


def export_stage(stage: Any, path: str | os.PathLike[str]) -> None:
    """Write a stage, whole or not at all.

    Raises:
        InputError: the file cannot be made there.
    """
    from pxr import Sdf

    with atomic_file(path) as partial:
        # An anonymous copy of that name's format; only Export writes to disk.
        layer = Sdf.Layer.CreateAnonymous(partial.name)
        layer.TransferContent(stage.GetRootLayer())
        if not layer.Export(str(partial)):
            raise InputError(f"{path}: USD could not write there")


def read_usd(path: str | os.PathLike[str]) -> GaussianSequence:
    """Read the first ParticleField3DGaussianSplat of a stage, float32; y is up in the result.

    Each time sample of the positions is a frame; a prim without any is a sequence of one. Frames of
    fewer Gaussians than the largest are filled up with invisible ones. Harmonics above degree 0 are
    left out. usd-core crashes on some damaged files: it reads in a process of its own, with limits
    on memory and time.

    Raises:
        InputError: usd-core is not installed, no file, not USD, one that refers to other files, no
            such prim, transforms on it, values that are not finite, or more than can be read here.
    """
    path = existing_file(path, "a USD file").absolute()
    _need_usd(path)
    limit = memory_limit_bytes()
    with isolated(
        Path(usd_worker.__file__),
        [str(path), what_it_is(path), str(limit // 4)],
        subject=str(path),
        memory_bytes=limit + _PROCESS_BYTES,
        seconds=_READ_SECONDS,
        file_bytes=limit,
    ) as folder:
        about = json.loads((folder / usd_worker.ABOUT_NAME).read_text())
        table = np.fromfile(folder / usd_worker.FRAMES_NAME, "<f4")
    up: Up = "z" if about["z_is_up"] else "y"
    fps = _STILL_FPS if about["is_still"] else about["fps"]
    counts = about["counts"]
    rows = np.split(table, np.cumsum(counts)[:-1] * sum(usd_worker.WIDTHS.values()))
    sets = [
        from_file_axes(without_padding(_frame(row, count, path)), up)
        for row, count in zip(rows, counts, strict=True)
    ]
    try:
        return GaussianSequence(stack_padded(sets), fps)
    except ValueError as error:
        raise InputError(f"{path}: {error}; mend the stage's time codes per second") from None


def _need_usd(path: str | os.PathLike[str]) -> None:
    if find_spec("pxr") is None:
        raise InputError(f'{path}: USD needs usd-core; install it with pip install "l4gm[usd]"')
    from pxr import UsdVol

    if not hasattr(UsdVol, "ParticleField3DGaussianSplat"):
        raise InputError(
            f"{path}: this usd-core is older than 26.3, which brought Gaussian splats; "
            'update it with pip install -U "l4gm[usd]"'
        )


def _array(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy(), np.float32)


def _extent(frame: Gaussians) -> np.ndarray:
    """[2, 3]: a box around three standard deviations of every Gaussian."""
    if frame.num_gaussians == 0:
        return np.zeros((2, 3), np.float32)
    reach = 3 * frame.scales.amax(-1, keepdim=True)
    return _array(torch.stack([(frame.means - reach).amin(0), (frame.means + reach).amax(0)]))


def _frame(row: np.ndarray, count: int, path: Path) -> Gaussians:
    """The Gaussians [N] of what `usd_worker` wrote of a frame."""
    widths = usd_worker.WIDTHS.values()
    pieces = np.split(row, np.cumsum([count * width for width in widths])[:-1])
    means, quats, scales, opacities, harmonics = (
        torch.from_numpy(piece.reshape(count, width))
        for piece, width in zip(pieces, widths, strict=True)
    )
    frame = Gaussians(
        means=means,
        quats=unit_quats(quats[:, [3, 0, 1, 2]]),  # NumPy's order of a GfQuatf: x y z w
        scales=scales,
        opacities=opacities[:, 0],
        colors=(harmonics * HARMONIC_DEGREE_0 + 0.5).clamp(0, 1),
    )
    return checked(frame, path)
