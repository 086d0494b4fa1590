"""Meshes of an animation's frames as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from l4gm.errors import InputError
from l4gm.gaussians.orientation import Up, to_file_axes
from l4gm.gaussians.types import Gaussians
from l4gm.meshes.fuse import MAX_TRIANGLES, Mesher, measure_box
from l4gm.meshes.glb import write_mesh_glb
from l4gm.meshes.mesh import Mesh
from l4gm.meshes.obj import write_obj
from l4gm.meshes.usd import write_mesh_usd

MeshFormat = Literal["glb-mesh", "usd-mesh", "obj"]
MESH_FORMATS: tuple[MeshFormat, ...] = get_args(MeshFormat)


@dataclass(frozen=True, kw_only=True)
class MeshSource:
    """An animation to make meshes of.

    Args:
        num_frames: T.
        fps: frames per second.
        frame: index -> Gaussians [N], in our world's axes; asked for twice each.
        max_triangles: of a frame at most.
        on_frame: called with (frames done, T).
    """

    num_frames: int
    fps: float
    frame: Callable[[int], Gaussians]
    max_triangles: int = MAX_TRIANGLES
    on_frame: Callable[[int, int], None] = field(default=lambda done, total: None)

    def meshes(self, up: Up = "y", scale: float = 1.0) -> Iterator[Mesh | None]:
        """The mesh of each frame, in a file's axes; None where nothing solid is to be seen."""
        box = measure_box(self.num_frames, self.frame)
        mesher = None if box is None else Mesher(box, self.max_triangles)
        for index in range(self.num_frames):
            mesh = None if mesher is None else mesher.mesh(self.frame(index))
            yield mesh if mesh is None else _placed(mesh, up, scale)
            self.on_frame(index + 1, self.num_frames)


def export_meshes(
    path: str | os.PathLike[str],
    kind: MeshFormat,
    source: MeshSource,
    *,
    up: Up = "y",
    scale: float = 1.0,
) -> list[int]:
    """Write an animation as meshes: one file, or for "obj" a folder of frame_0000.obj ...

    Args:
        path: the file; of "obj" a folder, or a file if there is one frame.
        kind: "glb-mesh", "usd-mesh" or "obj".
        source: the animation.
        up, scale: the file's up axis and units in one of ours. glTF is y up, USD y or z.

    Returns:
        the triangles of each frame.

    Raises:
        InputError: nothing solid in any frame, an axis that the format does not have, a package
            that is missing, or a place that cannot be written to.
    """
    counts: list[int] = []

    def counted() -> Iterator[Mesh | None]:
        for mesh in source.meshes(up, scale):
            counts.append(0 if mesh is None else len(mesh.faces))
            yield mesh

    if kind == "glb-mesh":
        if up != "y":
            raise InputError(f"{path}: glTF is y up by definition; leave out up {up!r}")
        write_mesh_glb(path, counted(), source.fps)
    elif kind == "usd-mesh":
        write_mesh_usd(path, counted(), source.fps, up=up)
    else:
        _write_objs(Path(path), counted(), source.num_frames)
    return counts


def _write_objs(path: Path, meshes: Iterator[Mesh | None], num_frames: int) -> None:
    """A file, or a folder of them; frames in which nothing is to be seen have none."""
    is_file = path.suffix.lower() == ".obj" and not path.is_dir()
    if is_file and num_frames > 1:
        raise InputError(f"{path}: an .obj holds one frame of {num_frames}; give a folder")
    written = set()
    for index, mesh in enumerate(meshes):
        if mesh is not None:
            target = path if is_file else path / f"frame_{index:04d}.obj"
            write_obj(target, mesh)
            written.add(target)
    if not written:
        raise InputError(f"{path}: nothing solid is to be seen in any frame, so there is no mesh")
    if not is_file:
        for earlier in set(path.glob("frame_*.obj")) - written:
            earlier.unlink()


def _placed(mesh: Mesh, up: Up, scale: float) -> Mesh:
    """In the axes of a file, by the rule for Gaussians."""
    import torch

    count = len(mesh.positions)
    points = Gaussians(
        torch.from_numpy(mesh.positions),
        torch.ones(count, 4),
        torch.ones(count, 3),
        torch.ones(count),
        torch.from_numpy(mesh.colors),
    )
    return Mesh(to_file_axes(points, up, scale).means.numpy(), mesh.faces, mesh.colors)
