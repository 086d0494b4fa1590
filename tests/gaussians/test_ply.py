"""PLY: against the released code's own file, and against files of others."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch
from safetensors.torch import load_file

from l4gm.errors import InputError
from l4gm.gaussians.ply import PROPERTIES, read_ply, write_ply
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.rotations import matrix_from_quat


def some_gaussians(count: int = 50, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    return Gaussians(
        means=uniform(count, 3) * 2 - 1,
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        scales=uniform(count, 3) * 0.1 + 1e-4,
        opacities=uniform(count),
        colors=uniform(count, 3),
    )


def assert_same(left: Gaussians, right: Gaussians, tolerance: float = 1e-6) -> None:
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(
            getattr(left, name), getattr(right, name), rtol=tolerance, atol=tolerance
        )


def official(parity_dir: Path) -> Gaussians:
    channels = load_file(parity_dir / "frame1_gaussians.safetensors")["gaussians"]
    means, opacities, scales, quats, colors = channels.split([3, 1, 3, 4, 3], -1)
    return Gaussians(means, quats, scales, opacities[:, 0], colors)


def test_writes_what_the_released_code_writes(parity_dir: Path, tmp_path: Path) -> None:
    write_ply(tmp_path / "ours.ply", official(parity_dir))
    ours = plyfile.PlyData.read(str(tmp_path / "ours.ply"))
    theirs = plyfile.PlyData.read(str(parity_dir / "frame1_official.ply"))
    assert str(ours) == str(theirs)  # the whole header
    for name in PROPERTIES:
        np.testing.assert_allclose(ours["vertex"][name], theirs["vertex"][name], atol=1e-6)


def test_reads_what_the_released_code_writes(parity_dir: Path) -> None:
    assert_same(read_ply(parity_dir / "frame1_official.ply"), official(parity_dir))


@pytest.mark.parametrize("up", ["y", "-y"])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_round_trip(tmp_path: Path, up: str, count: int) -> None:
    gaussians = some_gaussians(count)
    write_ply(tmp_path / "a.ply", gaussians, prune=False, up=up)
    assert_same(read_ply(tmp_path / "a.ply", up=up), gaussians)


def test_y_down_turns_places_and_shapes_alike(tmp_path: Path) -> None:
    gaussians = some_gaussians()
    write_ply(tmp_path / "a.ply", gaussians, prune=False, up="-y")
    turned = read_ply(tmp_path / "a.ply")
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(turned.means, gaussians.means @ flip)

    def covariance(g: Gaussians) -> torch.Tensor:
        axes = matrix_from_quat(g.quats) * g.scales[:, None, :]
        return axes @ axes.mT

    torch.testing.assert_close(covariance(turned), flip @ covariance(gaussians) @ flip)


def test_pruning_drops_exactly_the_transparent(tmp_path: Path) -> None:
    gaussians = some_gaussians(4)
    opacities = torch.tensor([0.5, 0.00499, 0.00501, 0.0])
    gaussians = Gaussians(
        gaussians.means, gaussians.quats, gaussians.scales, opacities, gaussians.colors
    )
    write_ply(tmp_path / "a.ply", gaussians)
    write_ply(tmp_path / "b.ply", gaussians, prune=False)
    torch.testing.assert_close(read_ply(tmp_path / "a.ply").opacities, opacities[[0, 2]])
    torch.testing.assert_close(
        read_ply(tmp_path / "b.ply").opacities, opacities, atol=1e-6, rtol=1e-5
    )


def test_extremes_stay_finite(tmp_path: Path) -> None:
    gaussians = Gaussians(
        means=torch.zeros(2, 3),
        quats=torch.tensor([[2.0, 0, 0, 0], [0, 0, 0, 3.0]]),
        scales=torch.zeros(2, 3),
        opacities=torch.tensor([0.0, 1.0]),
        colors=torch.tensor([[0.0, 0, 0], [1, 1, 1]]),
    )
    write_ply(tmp_path / "a.ply", gaussians, prune=False)
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    assert all(np.isfinite(vertex[name]).all() for name in PROPERTIES)
    back = read_ply(tmp_path / "a.ply")
    torch.testing.assert_close(back.opacities, gaussians.opacities, atol=2e-7, rtol=0)
    torch.testing.assert_close(back.colors, gaussians.colors, atol=0, rtol=0)
    torch.testing.assert_close(back.quats.norm(dim=-1), torch.ones(2))


def foreign(
    path: Path,
    count: int = 20,
    harmonics: int = 0,
    drop: tuple[str, ...] = (),
    text: bool = False,
    byte_order: str = "<",
    kind: str = "f4",
    **values: float,
) -> np.ndarray:
    """A PLY as other programs write it: normals, higher harmonics, shuffled order."""
    names = ["nx", "ny", "nz", *reversed(PROPERTIES), *(f"f_rest_{i}" for i in range(harmonics))]
    vertex = np.zeros(count, [(name, kind) for name in names if name not in drop])
    generator = np.random.default_rng(1)
    for name in vertex.dtype.names:
        vertex[name] = generator.normal(size=count)
    for name, value in values.items():
        vertex[name][3] = value
    faces = np.array([([0, 1, 2],)], dtype=[("vertex_indices", "i4", (3,))])
    elements = [
        plyfile.PlyElement.describe(vertex, "vertex"),
        plyfile.PlyElement.describe(faces, "face"),
    ]
    plyfile.PlyData(elements, text=text, byte_order="=" if text else byte_order).write(str(path))
    return vertex


@pytest.mark.parametrize("harmonics", [0, 9, 24, 45])
@pytest.mark.parametrize(
    ("text", "byte_order", "kind"),
    [(True, "=", "f4"), (False, ">", "f4"), (False, "<", "f4"), (False, ">", "f8")],
)
def test_foreign_files(
    tmp_path: Path, harmonics: int, text: bool, byte_order: str, kind: str
) -> None:
    vertex = foreign(
        tmp_path / "a.ply", harmonics=harmonics, text=text, byte_order=byte_order, kind=kind
    )
    read = read_ply(tmp_path / "a.ply")
    np.testing.assert_allclose(read.means[:, 1], vertex["y"], rtol=1e-6)
    np.testing.assert_allclose(read.scales[:, 2], np.exp(vertex["scale_2"]), rtol=1e-5)
    np.testing.assert_allclose(read.opacities, 1 / (1 + np.exp(-vertex["opacity"])), rtol=1e-5)
    expected = np.clip(0.5 + vertex["f_dc_0"] / (2 * np.sqrt(np.pi)), 0, 1)
    np.testing.assert_allclose(read.colors[:, 0], expected, atol=1e-6)
    quats = np.stack([vertex[f"rot_{i}"] for i in range(4)], 1)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    np.testing.assert_allclose(read.quats, quats, atol=1e-6)


def test_full_layout_is_the_first_code_of_3d_gaussian_splatting(tmp_path: Path) -> None:
    gaussians = some_gaussians(20)
    write_ply(tmp_path / "a.ply", gaussians, prune=False, full=True)
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    names = [prop.name for prop in vertex.properties]
    rest = [f"f_rest_{index}" for index in range(45)]
    assert names == [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *rest,
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    assert not any(vertex[name].any() for name in ("nx", "ny", "nz", *rest))
    assert_same(read_ply(tmp_path / "a.ply"), gaussians, 1e-5)


def rewritten(path: Path, columns: dict[str, np.ndarray], *, text: bool = False) -> Path:
    """A PLY with these vertex properties."""
    rows = np.zeros(
        len(next(iter(columns.values()))), [(n, v.dtype.str) for n, v in columns.items()]
    )
    for name, values in columns.items():
        rows[name] = values
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")], text=text).write(str(path))
    return path


def columns_of(path: Path) -> dict[str, np.ndarray]:
    vertex = plyfile.PlyData.read(str(path))["vertex"]
    return {prop.name: np.array(vertex[prop.name]) for prop in vertex.properties}


@pytest.mark.parametrize("kind", ["u1", "<u2", "<f4"])
@pytest.mark.parametrize("text", [False, True])
def test_rgb_instead_of_harmonics(tmp_path: Path, kind: str, text: bool) -> None:
    """nerfstudio's, with colours in bytes, or in whatever else."""
    gaussians = some_gaussians(30)
    write_ply(tmp_path / "a.ply", gaussians, prune=False)
    columns = columns_of(tmp_path / "a.ply")
    largest = 1.0 if kind == "<f4" else float(np.iinfo(kind).max)
    for index, name in enumerate(("red", "green", "blue")):
        del columns[f"f_dc_{index}"]
        values = gaussians.colors[:, index].numpy() * largest
        columns[name] = (values if kind == "<f4" else np.rint(values)).astype(kind)
    back = read_ply(rewritten(tmp_path / "b.ply", columns, text=text))
    torch.testing.assert_close(back.colors, gaussians.colors, atol=0.51 / 255, rtol=0)
    torch.testing.assert_close(back.means, gaussians.means)


def test_2d_gaussians_become_thin_ones(tmp_path: Path) -> None:
    gaussians = some_gaussians(30)
    write_ply(tmp_path / "a.ply", gaussians, prune=False)
    columns = columns_of(tmp_path / "a.ply")
    del columns["scale_2"]
    back = read_ply(rewritten(tmp_path / "b.ply", columns))
    torch.testing.assert_close(back.scales[:, :2], gaussians.scales[:, :2])
    torch.testing.assert_close(back.scales[:, 2], 0.01 * gaussians.scales[:, :2].amin(-1))


def test_what_holds_no_gaussians_is_named(tmp_path: Path) -> None:
    points = {name: np.zeros(7, np.float32) for name in "xyz"}
    with pytest.raises(InputError, match=r"a point cloud of 7 points, not Gaussians.*f_dc_0"):
        read_ply(rewritten(tmp_path / "cloud.ply", points))
    faces = np.zeros(2, [("vertex_indices", "<i4", 3)])
    vertices = np.zeros(4, [(name, "<f4") for name in "xyz"])
    elements = [
        plyfile.PlyElement.describe(vertices, "vertex"),
        plyfile.PlyElement.describe(faces, "face"),
    ]
    plyfile.PlyData(elements).write(str(tmp_path / "mesh.ply"))
    with pytest.raises(InputError, match="a mesh of 4 vertices and 2 faces, not Gaussians"):
        read_ply(tmp_path / "mesh.ply")
    for content, words in (
        (b"glTF" + bytes(30), "it is a binary glTF"),
        (b"PK\x03\x04" + bytes(30), "it is a zip file"),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
    ):
        (tmp_path / "other.ply").write_bytes(content)
        with pytest.raises(InputError, match=f"not a PLY file, {words}|{words}"):
            read_ply(tmp_path / "other.ply")


def test_infinite_logits_and_zero_quaternions_of_other_writers(tmp_path: Path) -> None:
    zero = {f"rot_{i}": 0.0 for i in range(4)}
    foreign(tmp_path / "a.ply", opacity=np.inf, scale_1=-np.inf, **zero)
    read = read_ply(tmp_path / "a.ply")
    assert read.opacities[3] == 1
    assert read.scales[3, 1] == 0
    assert read.quats[3].tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["x", "f_dc_1", "scale_0", "rot_3"])
def test_not_finite_names_the_property(tmp_path: Path, name: str, value: float) -> None:
    foreign(tmp_path / "a.ply", **{name: value})
    with pytest.raises(InputError, match=rf"a\.ply: property {name} .*1 of 20 .*number 3"):
        read_ply(tmp_path / "a.ply")


def test_missing_properties_are_all_named(tmp_path: Path) -> None:
    foreign(tmp_path / "a.ply", drop=("opacity", "rot_2"))
    with pytest.raises(InputError, match="opacity, rot_2"):
        read_ply(tmp_path / "a.ply")


HEADER = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nend_header\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"ply\n",
        b"ply\nformat ascii 1.0\ncomment \xff\xfe\n",
        HEADER.format("ascii", 10**12).encode(),
        HEADER.format("ascii", 2).encode() + b"1\nabc\n",
        HEADER.format("binary_little_endian", -5).encode(),
        HEADER.format("binary_little_endian", 10**18).encode() + bytes(8),
        HEADER.format("binary_little_endian", 10**26).encode() + bytes(8),
        b"ply\nformat ascii 1.0\nelement face 0\nproperty float x\nend_header\n",
        HEADER.format("ascii", 1).replace("end_", "property float x\nend_").encode() + b"1 1\n",
    ],
)
def test_damaged_files_give_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.ply").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.ply") as caught:
        read_ply(tmp_path / "bad.ply")
    assert "\n" not in str(caught.value)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", some_gaussians(10), prune=False)
    whole = (tmp_path / "a.ply").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.ply").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_ply(tmp_path / "cut.ply")


def test_no_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_ply(tmp_path / "none.ply")
    with pytest.raises(InputError):
        read_ply(tmp_path)
    with pytest.raises(InputError, match="folder"):
        write_ply(tmp_path, some_gaussians())


@pytest.mark.slow
def test_a_million_points_with_harmonics(tmp_path: Path) -> None:
    """248 MB, read and not mapped: a mapped file that shrinks meanwhile ends the process. Beside
    it there are the columns that are needed, and no more."""
    count = 1_000_000
    names = [*PROPERTIES, *(f"f_rest_{i}" for i in range(45))]
    header = [f"property float {name}" for name in names]
    with (tmp_path / "a.ply").open("wb") as stream:
        lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}", *header]
        stream.write("\n".join([*lines, "end_header\n"]).encode())
        rows = np.tile(np.arange(len(names), dtype="<f4") / len(names), (count // 10, 1))
        for part in range(10):
            rows[:, 0] = part + np.arange(len(rows)) / len(rows)
            stream.write(rows.tobytes())
    tracemalloc.start()
    read = read_ply(tmp_path / "a.ply")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.num_gaussians == count
    np.testing.assert_allclose(read.means[[0, 123_456, 999_999], 0], [0, 1.23456, 9.99999])
    assert peak < 248e6 + 56e6


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", some_gaussians())
    before = (tmp_path / "a.ply").read_bytes()
    bad = some_gaussians().map(lambda tensor: tensor * float("nan"))
    with pytest.raises(ValueError, match="means"):
        write_ply(tmp_path / "a.ply", bad, prune=False)
    assert (tmp_path / "a.ply").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]
