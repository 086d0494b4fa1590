"""One set of Gaussians as a PLY file, in the layout of 3D Gaussian splatting.

The `vertex` element holds, all float32: x y z; f_dc_0..2, the colour as the degree-0 spherical
harmonic, (rgb - 0.5) / C0; opacity, its logit; scale_0..2, natural logarithms; rot_0..3, w first.
The released code writes exactly these 14 properties in this order, in our world axes (y up), and
leaves out Gaussians with an opacity below 0.005. Viewers made for scenes from COLMAP take y down.
The first code of 3D Gaussian splatting wrote 62: normals and 45 harmonics above degree 0 too, which
some importers ask for.
"""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import plyfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.compressed_ply import is_compressed, unpack
from l4gm.gaussians.identify import what_it_is
from l4gm.gaussians.orientation import Up, from_file_axes, to_file_axes
from l4gm.gaussians.ply_header import check_ply_header
from l4gm.gaussians.still import HARMONIC_DEGREE_0, checked, unit_quats
from l4gm.gaussians.types import Gaussians

PRUNE_BELOW_OPACITY = 0.005  # as the released code
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
_FULL_PROPERTIES = (
    *_COLUMNS["means"],
    *("nx", "ny", "nz"),
    *_COLUMNS["colors"],
    *(f"f_rest_{index}" for index in range(45)),
    *_COLUMNS["opacities"],
    *_COLUMNS["scales"],
    *_COLUMNS["quats"],
)
_COUNT = re.compile(rb"(\s*element\s+\S+\s+)(\d+)")
_RGB = ("red", "green", "blue")  # nerfstudio's instead of the harmonics
_FLAT = 0.01  # thickness that 2D Gaussians get, of the smaller of their two scales


def write_ply(
    path: str | os.PathLike[str],
    gaussians: Gaussians,
    *,
    prune: bool = True,
    up: Up = "y",
    full: bool = False,
) -> None:
    """Write one set of Gaussians as a binary little-endian PLY, whole or not at all.

    Args:
        path: the file to write; replaced if it exists.
        gaussians: [N]. Quaternions are normalised.
        prune: leave out Gaussians with an opacity below 0.005, as the released code does. Without
            it every Gaussian is written, in order.
        up: the file's up axis. "y" (our world, and the released code); "-y" turns the object by
            180 degrees about x, for viewers that take y down; "z" and "-z" by 90.
        full: write all 62 properties of the first code of 3D Gaussian splatting; normals and
            harmonics above degree 0 are zero.

    Raises:
        ValueError: leading dimensions, values that are not finite, or an unknown `up`.
        InputError: the file cannot be made there.
    """
    if gaussians.shape:
        raise ValueError(f"write_ply takes one set [N], got leading dims {list(gaussians.shape)}")
    gaussians = to_file_axes(gaussians.detach().to("cpu", torch.float32), up)
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
    names = _FULL_PROPERTIES if full else PROPERTIES
    vertex = np.zeros(gaussians.num_gaussians, [(name, "<f4") for name in names])
    for name, properties in _COLUMNS.items():
        for index, values in zip(properties, columns[name].float().T.numpy(), strict=True):
            vertex[index] = values
    element = plyfile.PlyElement.describe(vertex, "vertex")
    with atomic_file(path) as partial, partial.open("wb") as stream:
        plyfile.PlyData([element], byte_order="<").write(stream)


def read_ply(path: str | os.PathLike[str], *, up: Up = "y") -> Gaussians:
    """Read one set of Gaussians [N], float32, from any PLY in the 3D Gaussian splatting layout.

    ASCII and binary of either byte order; harmonics above degree 0 and any other property are
    ignored. Colours may be red, green and blue instead (nerfstudio's), and are clamped to [0, 1]; a
    quaternion of length zero becomes the identity. 2D Gaussians, which have two scales, become
    thin ones. Compressed PLY (`compressed_ply`) is read as well.

    Args:
        path: the file to read.
        up: the file's up axis; the object is turned so that y is up again.

    Raises:
        InputError: no file, not a PLY, cut off, missing properties (named), values that are not
            finite (the property is named).
    """
    path = Path(path)
    elements = _read_elements(path)
    vertex = elements["vertex"]
    if is_compressed(vertex) and "chunk" in elements:
        return from_file_axes(unpack(elements["chunk"], vertex, path), up)
    names = vertex.dtype.names or ()
    is_flat = "scale_2" not in names
    columns = _COLUMNS | {"scales": _COLUMNS["scales"][:2] if is_flat else _COLUMNS["scales"]}
    has_rgb = "f_dc_0" not in names and set(_RGB) <= set(names)
    if has_rgb:
        columns["colors"] = _RGB
    missing = [name for part in columns.values() for name in part if name not in names]
    if missing:
        raise InputError(
            f"{path}: {_what(elements)}; Gaussians also have the properties {', '.join(missing)}"
        )
    table = {name: _column(vertex, part, path) for name, part in columns.items()}
    scales = table["scales"].exp()
    if is_flat:
        scales = torch.cat([scales, _FLAT * scales.amin(-1, keepdim=True)], -1)
    colors = table["colors"]
    colors = colors / _largest(vertex, "red") if has_rgb else colors * HARMONIC_DEGREE_0 + 0.5
    gaussians = Gaussians(  # a finite logarithm may be of an infinite scale
        means=table["means"],
        quats=unit_quats(table["quats"]),
        scales=scales,
        opacities=table["opacities"][:, 0].sigmoid(),
        colors=colors.clamp(0, 1),
    )
    return from_file_axes(checked(gaussians, path), up)


def _what(elements: dict[str, NDArray[np.void]]) -> str:
    """What a PLY that holds no Gaussians is."""
    count = len(elements["vertex"])
    if "face" in elements and len(elements["face"]):
        return f"a mesh of {count} vertices and {len(elements['face'])} faces, not Gaussians"
    if {"x", "y", "z"} <= set(elements["vertex"].dtype.names or ()):
        return f"a point cloud of {count} points, not Gaussians"
    return "not Gaussians"


def _largest(vertex: NDArray[np.void], name: str) -> float:
    """What 1 is stored as: the largest of an integer type."""
    kind = vertex.dtype[name]
    return float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0


def _read_elements(path: Path) -> dict[str, NDArray[np.void]]:
    """The tables of a PLY by the names of their elements; there is a 'vertex' among them."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a PLY file of Gaussians")
    with path.open("rb") as stream:
        if stream.read(3) != b"ply":
            raise InputError(f"{path}: not a PLY file, {what_it_is(path)}")
    check_ply_header(path)
    try:
        elements = _read_tables(path)
    # A bad header shows itself as any of these: a bad line, a count that no memory holds, text
    # that is not ASCII. plyfile's parse errors are not a ValueError.
    except (plyfile.PlyParseError, ValueError, TypeError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: the PLY is damaged or cut off ({reason}); get it anew") from None
    if "vertex" not in elements:
        names = ", ".join(elements) or "none"
        raise InputError(f"{path}: expected a PLY with a 'vertex' element, found {names}")
    return elements


def _read_tables(path: Path) -> dict[str, NDArray[np.void]]:
    """All elements of a PLY.

    plyfile is fast where it maps the file, but a mapped file that shrinks meanwhile ends the
    process; what it reads otherwise it reads number by number. So it parses the header alone, and
    rows of fixed size are read at once.
    """
    with path.open("rb") as stream:
        lines: list[bytes] = []
        for line in iter(stream.readline, b""):
            lines.append(line)
            if line.strip() == b"end_header":
                break
        header = b"".join(_COUNT.sub(rb"\g<1>0", line) for line in lines)
        empty = plyfile.PlyData.read(BytesIO(header))
        properties = [part for element in empty.elements for part in element.properties]
        if empty.text or any(isinstance(part, plyfile.PlyListProperty) for part in properties):
            data = plyfile.PlyData.read(str(path), mmap=False)
            return {element.name: element.data for element in data.elements}
        counts = [int(found[2]) for line in lines if (found := _COUNT.match(line))]
        tables = {}
        for element, count in zip(empty.elements, counts, strict=True):
            rows = np.fromfile(stream, element.dtype(empty.byte_order), count)
            if len(rows) < count:
                raise ValueError(f"element {element.name!r}: {len(rows)} of {count} rows")
            tables[element.name] = rows
        return tables


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
