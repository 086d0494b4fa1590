"""Meshes of an animation as USD: one Mesh whose points and triangles have a time sample a frame."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from l4gm.errors import InputError
from l4gm.gaussians.orientation import Up
from l4gm.gaussians.srgb import srgb_decoded
from l4gm.gaussians.usd import export_stage, new_stage
from l4gm.meshes.mesh import Mesh, vertex_normals

_PRIM = "/object"


def write_mesh_usd(
    path: str | os.PathLike[str], meshes: Iterable[Mesh | None], fps: float, *, up: Up = "y"
) -> None:
    """Write the meshes of all frames, whole or not at all; frame k is held from time code k on.

    Args:
        path: a .usd or .usdc file (binary) or .usda (text, large); replaced if it exists.
        meshes: of each frame in order, in the stage's axes; None where there is nothing to see.
        fps: frames per second.
        up: "y" or "z"; the stage says which.

    Raises:
        InputError: usd-core is not installed, another up axis, nothing to see in any frame, or the
            file cannot be made there.
    """
    stage = new_stage(path, fps, up)
    from pxr import UsdGeom, Vt

    prim = UsdGeom.Mesh.Define(stage, _PRIM)
    stage.SetDefaultPrim(prim.GetPrim())
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    colors = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
        "displayColor", _color_type(), UsdGeom.Tokens.vertex
    )
    count = previous = 0
    seen = False
    for mesh in meshes:
        shown = _EMPTY if mesh is None else mesh
        seen = seen or mesh is not None
        if len(shown.positions) == previous:
            shown = _with_loose_vertex(shown)  # USD would blend between points of equal number
        previous = len(shown.positions)
        normals = vertex_normals(shown.positions, shown.faces)
        linear = srgb_decoded(shown.colors).astype(np.float32)
        prim.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(shown.positions), count)
        prim.GetNormalsAttr().Set(Vt.Vec3fArray.FromNumpy(normals), count)
        colors.Set(Vt.Vec3fArray.FromNumpy(linear), count)
        sizes = np.full(len(shown.faces), 3, np.int32)
        prim.GetFaceVertexCountsAttr().Set(Vt.IntArray.FromNumpy(sizes), count)
        prim.GetFaceVertexIndicesAttr().Set(Vt.IntArray.FromNumpy(shown.faces.ravel()), count)
        extent = np.stack([shown.positions.min(0), shown.positions.max(0)])
        prim.GetExtentAttr().Set(Vt.Vec3fArray.FromNumpy(extent), count)
        count += 1
    if not seen:
        raise InputError(f"{path}: nothing solid is to be seen in any frame, so there is no mesh")
    stage.SetEndTimeCode(count - 1)
    export_stage(stage, path)


def _color_type() -> object:
    from pxr import Sdf

    return Sdf.ValueTypeNames.Color3fArray


_EMPTY = Mesh(
    np.zeros((1, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((1, 3), np.float32)
)


def _with_loose_vertex(mesh: Mesh) -> Mesh:
    """One vertex more, of no face."""
    return Mesh(
        np.concatenate([mesh.positions, mesh.positions[-1:]]),
        mesh.faces,
        np.concatenate([mesh.colors, mesh.colors[-1:]]),
    )
