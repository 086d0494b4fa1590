"""A mesh as Wavefront OBJ with vertex colours behind the places, as many programs read them."""

from __future__ import annotations

import os

import numpy as np

from l4gm.gaussians.atomic import atomic_file
from l4gm.meshes.mesh import Mesh, vertex_normals


def write_obj(path: str | os.PathLike[str], mesh: Mesh) -> None:
    """Write one mesh, whole or not at all; colours are display values.

    Raises:
        InputError: the file cannot be made there.
    """
    vertices = np.concatenate([mesh.positions, mesh.colors], 1).tolist()
    normals = vertex_normals(mesh.positions, mesh.faces).tolist()
    with atomic_file(path) as partial, partial.open("w", encoding="ascii") as stream:
        stream.write("# l4gm\n")
        for x, y, z, r, g, b in vertices:
            stream.write(f"v {x:.6g} {y:.6g} {z:.6g} {r:.4g} {g:.4g} {b:.4g}\n")
        for x, y, z in normals:
            stream.write(f"vn {x:.4f} {y:.4f} {z:.4f}\n")
        for i, j, k in (mesh.faces + 1).tolist():
            stream.write(f"f {i}//{i} {j}//{j} {k}//{k}\n")
