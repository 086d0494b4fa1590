"""A sequence as USD: one ParticleField3DGaussianSplat whose attributes have a time sample a frame.

The schema came with OpenUSD 26.03 (UsdVol). Scales and opacities are stored as they are, the colour
as the degree-0 harmonic. Needs usd-core: `pip install "l4gm[usd]"`.

Between two time samples USD blends arrays of one length row by row, and holds the first where their
lengths differ. Rows of consecutive frames need not be the same part of the object, so consecutive
frames are given lengths that differ.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from l4gm.errors import InputError
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

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".usd", ".usdc", ".usda")

_PRIM = "/object"
_STILL_FPS = 24.0
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
            if frame.num_gaussians == previous:
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
    left out.

    Raises:
        InputError: usd-core is not installed, no file, not USD, no such prim, transforms on it, or
            values that are not finite.
    """
    path = existing_file(path, "a USD file")
    _need_usd(path)
    from pxr import Tf, Usd, UsdGeom

    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException:
        stage = None
    if not stage:
        raise InputError(f"{path}: not a USD file, or damaged ({what_it_is(path)})")
    prims = [p for p in stage.Traverse() if p.GetTypeName() == "ParticleField3DGaussianSplat"]
    if not prims:
        meshes = any(p.GetTypeName() == "Mesh" for p in stage.Traverse())
        what = "meshes, not Gaussians" if meshes else "no Gaussians"
        raise InputError(f"{path}: holds {what} (no ParticleField3DGaussianSplat)")
    up: Up = "z" if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z else "y"
    positions = _attribute(prims[0], "positions", path)
    times = positions.GetTimeSamples() or [Usd.TimeCode.Default()]
    place = UsdGeom.Xformable(prims[0])
    if any(
        np.any(np.array(place.ComputeLocalToWorldTransform(time)) != np.eye(4)) for time in times
    ):
        raise InputError(f"{path}: the splats are moved or turned; apply their transform first")
    sets = [from_file_axes(without_padding(_frame(prims[0], time, path)), up) for time in times]
    fps = float(stage.GetTimeCodesPerSecond()) if len(times) > 1 else _STILL_FPS
    return GaussianSequence(stack_padded(sets), fps)


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


def _attribute(prim: Any, name: str, path: Path) -> Any:
    """An attribute, or its half-precision twin where only that has values."""
    for candidate in (name, f"{name}h"):
        attribute = prim.GetAttribute(candidate)
        if attribute and attribute.HasAuthoredValue():
            return attribute
    raise InputError(f"{path}: the splats have no {name}")


def _frame(prim: Any, time: Any, path: Path) -> Gaussians:
    def column(name: str, width: int) -> Tensor:
        values = np.array(_attribute(prim, name, path).Get(time), np.float32)
        return torch.from_numpy(values.reshape(-1, width))

    coefficients = (int(prim.GetAttribute(_DEGREE).Get(time)) + 1) ** 2
    try:
        quats = column("orientations", 4)  # NumPy's order of a GfQuatf: x y z w
        frame = Gaussians(
            means=column("positions", 3),
            quats=unit_quats(quats[:, [3, 0, 1, 2]]),
            scales=column("scales", 3),
            opacities=column("opacities", 1)[:, 0],
            colors=(column(_HARMONICS, 3)[::coefficients] * HARMONIC_DEGREE_0 + 0.5).clamp(0, 1),
        )
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the attributes do not fit each other ({error})") from None
    return checked(frame, path)
