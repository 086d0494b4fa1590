"""One set of Gaussians as a PLY file, in the layout of 3D Gaussian splatting.

The `vertex` element holds, all float32: x y z; f_dc_0..2, the colour as the degree-0 spherical
harmonic, (rgb - 0.5) / C0; opacity, its logit; scale_0..2, natural logarithms; rot_0..3, w first.
The released code writes exactly these 14 properties in this order, in our world axes (y up), and
leaves out Gaussians with an opacity below 0.005. Viewers made for scenes from COLMAP take y down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import plyfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.rotations import quat_multiply

Up = Literal["y", "-y"]

PRUNE_BELOW_OPACITY = 0.005  # as the released code
HARMONIC_DEGREE_0 = 0.28209479177387814  # C0 = 1 / (2 sqrt(pi))
_MIN_SCALE = 1e-8  # its logarithm stays finite
_MAX_LOGIT = 16.0  # sigmoid(16) is 1 to within one part in 10^7

_COLUMNS = {
    "means": ("x", "y", "z"),
    "colors": ("f_dc_0", "f_dc_1", "f_dc_2"),
    "opacities": ("opacity",),
    "scales": ("scale_0", "scale_1", "scale_2"),
    "quats": ("rot_0", "rot_1", "rot_2", "rot_3"),
}
PROPERTIES = tuple(name for names in _COLUMNS.values() for name in names)


def write_ply(
    path: str | os.PathLike[str], gaussians: Gaussians, *, prune: bool = True, up: Up = "y"
) -> None:
    """Write one set of Gaussians as a binary little-endian PLY, whole or not at all.

    Args:
        path: the file to write; replaced if it exists.
        gaussians: [N]. Quaternions are normalised.
        prune: leave out Gaussians with an opacity below 0.005, as the released code does. Without
            it every Gaussian is written, in order.
        up: the file's up axis. "y" (our world, and the released code); "-y" turns the object by
            180 degrees about x, for viewers that take y down.

    Raises:
        ValueError: leading dimensions, values that are not finite, or an unknown `up`.
        InputError: the file cannot be made there.
    """
    if gaussians.shape:
        raise ValueError(f"write_ply takes one set [N], got leading dims {list(gaussians.shape)}")
    gaussians = _turned(gaussians.detach().to("cpu", torch.float32), up, direction=1)
    if prune:
        keep = gaussians.opacities >= PRUNE_BELOW_OPACITY
        gaussians = gaussians.map(lambda tensor: tensor[keep])
    columns = {
        "means": gaussians.means,
        "colors": (gaussians.colors - 0.5) / HARMONIC_DEGREE_0,
        "opacities": gaussians.opacities.double().logit().clamp(-_MAX_LOGIT, _MAX_LOGIT)[:, None],
        "scales": gaussians.scales.clamp(min=_MIN_SCALE).log(),
        "quats": torch.nn.functional.normalize(gaussians.quats, dim=-1),
    }
    for name, column in columns.items():
        if not column.isfinite().all():
            raise ValueError(f"{name} hold values that are not finite; refusing to write {path}")
    table = torch.cat([columns[name].float() for name in _COLUMNS], -1).contiguous().numpy()
    vertex = table.astype("<f4", copy=False).view([(name, "<f4") for name in PROPERTIES])[:, 0]
    element = plyfile.PlyElement.describe(vertex, "vertex")
    with atomic_file(path) as partial, partial.open("wb") as stream:
        plyfile.PlyData([element], byte_order="<").write(stream)


def read_ply(path: str | os.PathLike[str], *, up: Up = "y") -> Gaussians:
    """Read one set of Gaussians [N], float32, from any PLY in the 3D Gaussian splatting layout.

    ASCII and binary of either byte order; harmonics above degree 0 and any other property are
    ignored. Colours are clamped to [0, 1]; a quaternion of length zero becomes the identity.

    Args:
        path: the file to read.
        up: the file's up axis; "-y" turns the object so that y is up again.

    Raises:
        InputError: no file, not a PLY, cut off, missing properties (named), values that are not
            finite (the property is named).
    """
    path = Path(path)
    vertex = _read_vertex(path)
    missing = [name for name in PROPERTIES if name not in (vertex.dtype.names or ())]
    if missing:
        hint = (
            "it is a compressed PLY; decompress it first"
            if "packed_position" in (vertex.dtype.names or ())
            else "is it a point cloud or a mesh?"
        )
        raise InputError(
            f"{path}: a Gaussian splat PLY needs the properties {', '.join(missing)}; {hint}"
        )
    table = {name: _column(vertex, names, path) for name, names in _COLUMNS.items()}
    lengths = table["quats"].norm(dim=-1, keepdim=True)
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0])
    gaussians = Gaussians(
        means=table["means"],
        quats=torch.where(lengths > 0, table["quats"] / lengths.clamp(min=1e-30), identity),
        scales=table["scales"].exp(),
        opacities=table["opacities"][:, 0].sigmoid(),
        colors=(table["colors"] * HARMONIC_DEGREE_0 + 0.5).clamp(0, 1),
    )
    return _turned(gaussians, up, direction=-1)


def _turned(gaussians: Gaussians, up: str, direction: int) -> Gaussians:
    """Half a turn about x, where the up axis is -y; direction -1 undoes 1, quaternion signs too."""
    if up == "y":
        return gaussians
    if up != "-y":
        raise ValueError(f"up must be 'y' or '-y', got {up!r}")
    half_turn = torch.tensor([0.0, float(direction), 0.0, 0.0]).expand_as(gaussians.quats)
    return Gaussians(
        means=gaussians.means * torch.tensor([1.0, -1.0, -1.0]),
        quats=quat_multiply(half_turn, gaussians.quats),
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=gaussians.colors,
    )


def _read_vertex(path: Path) -> NDArray[np.void]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a PLY file of Gaussians")
    with path.open("rb") as stream:
        if stream.read(3) != b"ply":
            raise InputError(f"{path}: not a PLY file (it does not start with 'ply')")
    try:
        data = plyfile.PlyData.read(str(path))
    # A bad header shows itself as any of these: a bad line, a count that no memory holds, text
    # that is not ASCII. plyfile's parse errors are not a ValueError.
    except (plyfile.PlyParseError, ValueError, TypeError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: the PLY is damaged or cut off ({reason}); get it anew") from None
    if "vertex" not in data:
        names = ", ".join(element.name for element in data.elements) or "none"
        raise InputError(f"{path}: expected a PLY with a 'vertex' element, found {names}")
    return data["vertex"].data


def _column(vertex: NDArray[np.void], names: tuple[str, ...], path: Path) -> Tensor:
    """[N, len(names)] float32, checked."""
    out = np.empty((len(vertex), len(names)), np.float32)
    for index, name in enumerate(names):
        if vertex.dtype[name].kind not in "fiu":
            raise InputError(f"{path}: property {name} must be one number per Gaussian, not a list")
        values = vertex[name]
        # An opacity of exactly 0 or 1 has an infinite logit and a scale of 0 the logarithm -inf:
        # other writers, the released code among them, store those.
        bad = np.isnan(values) if name == "opacity" else ~np.isfinite(values)
        if name.startswith("scale_"):
            bad &= values != -np.inf
        if bad.any():
            raise InputError(
                f"{path}: property {name} is not finite for {int(bad.sum())} of {len(vertex)} "
                f"Gaussians (first: number {int(bad.argmax())}); mend or remove those"
            )
        out[:, index] = values
    return torch.from_numpy(out)
