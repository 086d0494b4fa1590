"""Formats of one set: how far values move, renderings before and after, and files that do harm."""

from __future__ import annotations

import gzip
import io
import json
import math
import struct
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import plyfile
import pytest
import torch
import zstandard
from PIL import Image

from l4gm.errors import InputError
from l4gm.evaluation.metrics import psnr
from l4gm.gaussians.compressed_ply import write_compressed_ply
from l4gm.gaussians.glb import read_glb, write_glb
from l4gm.gaussians.ply import read_ply
from l4gm.gaussians.sog import read_sog, write_sog
from l4gm.gaussians.splat import read_splat, write_splat
from l4gm.gaussians.spz import read_spz, write_spz
from l4gm.gaussians.still import join_smallest_three, split_smallest_three
from l4gm.gaussians.still_formats import STILL_FORMATS, still_format_of
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render

FIELDS = ("means", "quats", "scales", "opacities", "colors")

# At most so far do values move: means in object sizes, scales as a factor, rotations in radians,
# the others as they are. From each format's definition.
MOVES = {
    "ply": (1e-6, 1e-6, 1e-3, 1e-6, 1e-6),
    "compressed-ply": (0.5 / 1023, 0.002, 0.006, 0.5 / 255, 0.5 / 255),
    "splat": (0.0, 0.0, 0.03, 0.5 / 255, 0.5 / 255),
    "spz": (1e-6, 1 / 32, 0.007, 0.5 / 255, 0.5 / 135),
    "sog": (1e-4, 0.015, 0.02, 0.5 / 255, 0.5 / 255),
    "glb": (1e-7, 1e-7, 1e-3, 1e-7, 1e-6),
}
# Rendered, dB; docs/formats.md has those of real clips.
RENDERED = {"ply": 90, "compressed-ply": 46, "splat": 50, "spz": 46, "sog": 50, "glb": 90}


@pytest.fixture(scope="session")
def one(clip: GaussianSequence) -> Gaussians:
    """1024 Gaussians; 300 are no multiple of anything."""
    return clip.gaussians[3]


CASES = Path(__file__).resolve().parents[3] / "shared" / "cases" / "splats"


def test_others_files_that_were_read_wrongly_once() -> None:
    if not CASES.is_dir():
        pytest.skip(f"no {CASES}")
    spz = read_spz(CASES / "public_minimal_v4.spz")
    assert spz.num_gaussians == 4
    assert spz.means.tolist() == [[-1, 0, 1], [0, 0, 1], [-1, 0, 0], [0, 0, 0]]
    nerfstudio = read_ply(CASES / "nerfstudio_rgb.ply")
    assert nerfstudio.num_gaussians == 200
    vertex = plyfile.PlyData.read(str(CASES / "nerfstudio_rgb.ply"))["vertex"]
    np.testing.assert_allclose(nerfstudio.colors[:, 1] * 255, vertex["green"], atol=1e-4)


def first(gaussians: Gaussians, count: int) -> Gaussians:
    return gaussians.map(lambda tensor: tensor[:count])


def angles(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Radians between rotations, exact for small ones too."""
    left, right = left.double(), right.double()
    sign = (left * right).sum(-1, keepdim=True).sign()
    return 4 * torch.asin(((left - sign * right).norm(dim=-1) / 2).clamp(max=1))


@pytest.mark.parametrize("count", [1, 255, 257, 1024])
@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_values_move_no_farther_than_they_may(
    tmp_path: Path, one: Gaussians, kind: str, count: int
) -> None:
    gaussians = first(one, count)
    path = tmp_path / f"a{STILL_FORMATS[kind].suffix}"
    STILL_FORMATS[kind].write(path, gaussians)
    back = STILL_FORMATS[kind].read(path)
    means, scales, rotation, opacity, color = MOVES[kind]
    slack = 1.001
    size = float((gaussians.means.amax(0) - gaussians.means.amin(0)).max())
    assert (back.means - gaussians.means).abs().max() <= slack * means * size + 1e-6
    assert (back.scales / gaussians.scales).log().abs().max() <= slack * scales + 1e-6
    assert angles(back.quats, gaussians.quats).max() <= slack * rotation
    assert (back.opacities - gaussians.opacities).abs().max() <= slack * opacity + 1e-7
    assert (back.colors - gaussians.colors).abs().max() <= slack * color + 1e-6
    assert all(getattr(back, name).dtype == torch.float32 for name in FIELDS)


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_renderings_before_and_after_agree(tmp_path: Path, one: Gaussians, kind: str) -> None:
    path = tmp_path / f"a{STILL_FORMATS[kind].suffix}"
    STILL_FORMATS[kind].write(path, one)
    cameras = orbit_cameras([0, 70, 200], 20, size=128)
    before, after = (
        render(g.reshape(1), cameras).image for g in (one, STILL_FORMATS[kind].read(path))
    )
    assert psnr(after, before).min() > RENDERED[kind]


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_extremes(tmp_path: Path, kind: str) -> None:
    """Flat and large ones, opacities of 0 and 1, all in one place, quaternions of any length."""
    extreme = Gaussians(
        means=torch.full((3, 3), 0.25),
        quats=torch.tensor([[0.0, 0, 0, 0], [0, -3, 0, 0], [1, 1, 1, 1]]),
        scales=torch.tensor([[0.0, 0.0, 0.0], [1, 0, 1], [5, 5, 5]]),
        opacities=torch.tensor([0.0, 1.0, 0.5]),
        colors=torch.tensor([[0.0, 0, 0], [1, 1, 1], [0, 1, 0]]),
    )
    path = tmp_path / f"a{STILL_FORMATS[kind].suffix}"
    STILL_FORMATS[kind].write(path, extreme)
    back = STILL_FORMATS[kind].read(path)
    assert all(getattr(back, name).isfinite().all() for name in FIELDS)
    torch.testing.assert_close(back.means, extreme.means, atol=1e-4, rtol=0)
    torch.testing.assert_close(back.opacities, extreme.opacities, atol=2e-3, rtol=0)
    torch.testing.assert_close(back.colors, extreme.colors, atol=4e-3, rtol=0)
    torch.testing.assert_close(back.scales[2], extreme.scales[2], atol=0, rtol=0.05)
    assert (back.scales[1, 1], back.scales[0, 0]) < (1e-3, 1e-3)
    unit = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0.5, 0.5, 0.5, 0.5]])
    assert angles(back.quats, unit).max() < 0.03


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_what_cannot_be_written(tmp_path: Path, clip: GaussianSequence, kind: str) -> None:
    still = STILL_FORMATS[kind]
    path = tmp_path / f"a{still.suffix}"
    with pytest.raises(ValueError, match="leading dims"):
        still.write(path, clip.gaussians)
    for name in FIELDS:
        bad = clip.gaussians[0].map(torch.clone)
        getattr(bad, name)[7] = math.nan
        with pytest.raises(ValueError, match=f"{name} hold values that are not finite"):
            still.write(path, bad)
    with pytest.raises(InputError, match="folder"):
        still.write(tmp_path, clip.gaussians[0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_every_cut_is_noticed(tmp_path: Path, one: Gaussians, kind: str) -> None:
    still = STILL_FORMATS[kind]
    path = tmp_path / f"a{still.suffix}"
    with pytest.raises(InputError, match="no such file"):
        still.read(path)
    still.write(path, first(one, 20))
    whole = path.read_bytes()
    for length in {*range(0, len(whole), max(len(whole) // 40, 1)), len(whole) - 1}:
        if kind == "splat" and length % 32 == 0:
            continue  # any whole number of records is a file of its own
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            still.read(path)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_noise_is_no_file(tmp_path: Path, kind: str) -> None:
    still = STILL_FORMATS[kind]
    path = tmp_path / f"a{still.suffix}"
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, 1001, np.uint8).tobytes()
        path.write_bytes(noise)
        with pytest.raises(InputError):
            still.read(path)


@pytest.mark.parametrize("kind", STILL_FORMATS)
def test_flipped_bits_give_a_set_or_one_line(tmp_path: Path, one: Gaussians, kind: str) -> None:
    still = STILL_FORMATS[kind]
    path = tmp_path / f"a{still.suffix}"
    still.write(path, first(one, 12))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 3):
            damaged[place] ^= 1 << generator.integers(0, 8)
        path.write_bytes(damaged)
        with suppress(InputError):  # anything else is a traceback for somebody
            back = still.read(path)
            assert all(getattr(back, name).isfinite().all() for name in FIELDS)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.ply", "ply"),
        ("A.PLY", "ply"),
        ("a.compressed.ply", "compressed-ply"),
        ("a.b.Splat", "splat"),
        ("a.spz", "spz"),
        ("a.sog", "sog"),
        ("a.glb", "glb"),
        ("ply", None),
        ("a.gltf", None),
    ],
)
def test_names_say_the_format(name: str, kind: str | None) -> None:
    assert still_format_of(Path("some.ply") / name) == kind


def test_smallest_three_of_every_largest() -> None:
    quats = torch.nn.functional.normalize(
        torch.randn(200, 4, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    largest, three = split_smallest_three(quats)
    assert set(largest) == {0, 1, 2, 3}
    assert np.abs(three).max() <= 0.5**0.5 + 1e-6
    assert angles(join_smallest_three(largest, three), quats).max() < 1e-5


def test_spz_of_old_versions_and_with_harmonics(tmp_path: Path, one: Gaussians) -> None:
    """Version 2 stores x, y, z of the quaternion in bytes; harmonics follow everything else."""
    write_spz(tmp_path / "a.spz", first(one, 5))
    body = bytearray(gzip.decompress((tmp_path / "a.spz").read_bytes()))
    three = torch.where(one.quats[:5, :1] < 0, -one.quats[:5], one.quats[:5])[:, 1:]
    old = body[:-20] + ((three + 1) * 127.5).round().numpy().astype(np.uint8).tobytes()
    old[4:8] = struct.pack("<I", 2)
    old[12] = 1  # degree
    (tmp_path / "old.spz").write_bytes(gzip.compress(bytes(old) + bytes(9 * 5)))
    new, back = read_spz(tmp_path / "a.spz"), read_spz(tmp_path / "old.spz")
    assert torch.equal(new.means, back.means)
    assert torch.equal(new.colors, back.colors)
    assert angles(new.quats, back.quats).max() < 0.08  # w is small here, and found from the rest


@pytest.mark.parametrize("count", [0, 1, 300])
def test_spz_version_4_holds_what_version_3_holds(
    tmp_path: Path, one: Gaussians, count: int
) -> None:
    for version in (3, 4):
        write_spz(tmp_path / f"{version}.spz", first(one, count), version=version)
    assert (tmp_path / "4.spz").read_bytes()[:8] == b"NGSP" + struct.pack("<I", 4)
    three, four = read_spz(tmp_path / "3.spz"), read_spz(tmp_path / "4.spz")
    for name in FIELDS:
        assert torch.equal(getattr(three, name), getattr(four, name))


def test_spz_version_4_of_others(tmp_path: Path, one: Gaussians) -> None:
    """Extensions before the table, and a stream of harmonics."""
    write_spz(tmp_path / "a.spz", first(one, 7), version=4)
    content = bytearray((tmp_path / "a.spz").read_bytes())
    table, frames = content[32 : 32 + 5 * 16], content[32 + 5 * 16 :]
    harmonics = zstandard.ZstdCompressor().compress(bytes(9 * 7))
    content[12], content[14], content[15] = 1, 2, 6
    struct.pack_into("<I", content, 16, 32 + 12)
    table += struct.pack("<QQ", len(harmonics), 9 * 7)
    extension = struct.pack("<III", 0xADBE0003, 4, 7)
    (tmp_path / "b.spz").write_bytes(content[:32] + extension + table + frames + harmonics)
    for name in FIELDS:
        assert torch.equal(
            getattr(read_spz(tmp_path / "b.spz"), name),
            getattr(read_spz(tmp_path / "a.spz"), name),
        )


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (16, 2**32 - 1, "cut off"),  # the table lies beyond the file
        (8, 10_000, "cut off"),
        (15, 9, "cut off"),
        (32, 2**62, "cut off"),
        (40, 2**62, "cut off"),
        (112, 0, "damaged"),
    ],
)
def test_spz_version_4_that_lies(
    tmp_path: Path, one: Gaussians, offset: int, value: int, message: str
) -> None:
    write_spz(tmp_path / "a.spz", first(one, 5), version=4)
    content = bytearray((tmp_path / "a.spz").read_bytes())
    kind = {15: "<B", 32: "<Q", 40: "<Q"}.get(offset, "<I")
    struct.pack_into(kind, content, offset, value)
    (tmp_path / "bad.spz").write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.spz.*{message}"):
        read_spz(tmp_path / "bad.spz")


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (4, 5, "version 5.*splat-transform"),
        (8, 2**31, "damaged"),
        (8, 10_000, "cut off"),
        (12, 9, "damaged"),
        (0, 0, "NGSP"),
    ],
)
def test_spz_headers_that_lie(
    tmp_path: Path, one: Gaussians, offset: int, value: int, message: str
) -> None:
    write_spz(tmp_path / "a.spz", first(one, 5))
    body = bytearray(gzip.decompress((tmp_path / "a.spz").read_bytes()))
    struct.pack_into("<I" if offset != 12 else "<B", body, offset, value)
    (tmp_path / "bad.spz").write_bytes(gzip.compress(bytes(body)))
    with pytest.raises(InputError, match=rf"bad\.spz.*{message}"):
        read_spz(tmp_path / "bad.spz")


def test_spz_keeps_places_of_any_size(tmp_path: Path, one: Gaussians) -> None:
    for factor in (1e-3, 1.0, 1e3, 1e6):
        means = one.means * factor
        write_spz(
            tmp_path / "a.spz",
            Gaussians(means, one.quats, one.scales, one.opacities, one.colors),
        )
        back = read_spz(tmp_path / "a.spz").means
        assert (back - means).abs().max() < max(means.abs().max() * 3e-7, 2e-7)
    with pytest.raises(InputError, match="8 million"):
        write_spz(
            tmp_path / "a.spz",
            Gaussians(one.means * 1e8, one.quats, one.scales, one.opacities, one.colors),
        )


def rewritten_sog(tmp_path: Path, one: Gaussians, **changes: Any) -> Path:
    """A good SOG file with parts of meta.json, or members, replaced."""
    write_sog(tmp_path / "good.sog", first(one, 20))
    with zipfile.ZipFile(tmp_path / "good.sog") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(members.pop("meta.json"))
    for name, value in changes.items():
        if name in members or name.endswith("_webp"):
            members[name.replace("_webp", ".webp")] = value
        else:
            meta[name] = value
    with zipfile.ZipFile(tmp_path / "bad.sog", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name, content in members.items():
            archive.writestr(name, content)
    return tmp_path / "bad.sog"


def huge_picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4000, 4000)).save(stream, "WEBP", lossless=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "version 1.*splat-transform"),
        ({"count": 10**9}, "count"),
        ({"count": "20"}, "count"),
        ({"count": 4000}, "pixels for 4000"),
        ({"means": {}}, "meta.json"),
        (
            {"means": {"mins": [0, 0], "maxs": [1, 1, 1], "files": ["means_l.webp"] * 2}},
            "3 numbers",
        ),
        ({"quats": {"files": ["../../etc/passwd"]}}, "missing"),
        ({"quats": {"files": ["x" * 5000]}}, "missing"),
        ({"sh0": {"files": ["sh0.webp"], "codebook": [0.0]}}, "256 numbers"),
        ({"scales": {"files": ["scales.webp"], "codebook": [math.nan] * 256}}, "not finite"),
        ({"scales_webp": b"RIFF"}, "not a whole picture"),
        ({"scales_webp": bytes(5 * 10**6)}, "larger than"),
        ({"scales_webp": huge_picture()}, "4000 x 4000 pixels"),
    ],
)
def test_hostile_sog(tmp_path: Path, one: Gaussians, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=rf"bad\.sog.*{message}") as caught:
        read_sog(rewritten_sog(tmp_path, one, **changes))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def glb_chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    return json.loads(content[20 : 20 + length]), content[28 + length :]


@pytest.mark.parametrize("model", ["antialiased", "2dgs"])
def test_sog_of_newer_writers_is_read(tmp_path: Path, one: Gaussians, model: str) -> None:
    """splat-transform names the kind of scene since 3.2."""
    plain = read_sog(rewritten_sog(tmp_path, one))
    named = read_sog(rewritten_sog(tmp_path, one, model=model, later="unknown"))
    for name in FIELDS:
        assert torch.equal(getattr(plain, name), getattr(named, name))


def edited_glb(tmp_path: Path, one: Gaussians, edit: Any) -> Path:
    write_glb(tmp_path / "good.glb", first(one, 20))
    content = (tmp_path / "good.glb").read_bytes()
    (length,) = struct.unpack_from("<I", content, 12)
    document = json.loads(content[20 : 20 + length])
    edit(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + length :]
    head = struct.pack("<III", 0x46546C67, 2, 20 + len(text) + len(rest))
    (tmp_path / "bad.glb").write_bytes(
        head + struct.pack("<II", len(text), 0x4E4F534A) + text + rest
    )
    return tmp_path / "bad.glb"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d["meshes"][0]["primitives"][0].pop("extensions"), "a model of meshes"),
        (lambda d: d["meshes"].append(d["meshes"][0]), "found 2"),
        (lambda d: d["nodes"][0].update(scale=[2, 2, 2]), "apply their transforms"),
        (lambda d: d["meshes"][0]["primitives"][0]["attributes"].pop("POSITION"), "no POSITION"),
        (lambda d: d["accessors"][0].update(count=10**12), "beyond the data"),
        (lambda d: d["accessors"][0].update(count=-1), "beyond the data"),
        (lambda d: d["accessors"][2].update(type="VEC3"), "VEC4"),
        (lambda d: d["accessors"][0].update(componentType=1), "KeyError"),
        (lambda d: d["accessors"][0].update(count=5), "bad glTF"),
        (lambda d: d["bufferViews"][0].update(byteOffset=10**9), "beyond the data"),
        (lambda d: d["bufferViews"][0].update(byteStride=-4), "beyond the data"),
        (lambda d: d.update(meshes=3), "bad glTF"),
        (lambda d: d.update(nodes=[3]), "bad glTF"),
    ],
)
def test_hostile_glb(tmp_path: Path, one: Gaussians, edit: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"bad\.glb.*{message}"):
        read_glb(edited_glb(tmp_path, one, edit))


def test_glb_of_other_programs_has_shorts_and_strides(tmp_path: Path, one: Gaussians) -> None:
    """Rotations as normalised 16-bit integers, interleaved with two bytes of something else."""
    gaussians = first(one, 20)
    write_glb(tmp_path / "a.glb", gaussians)
    document, binary = glb_chunks(tmp_path / "a.glb")
    rows = np.zeros(20, [("q", "<i2", 4), ("other", "<i4")])
    rows["q"] = (gaussians.quats[:, [1, 2, 3, 0]] * 32767).round().numpy()
    accessor = document["accessors"][2]
    accessor.update(componentType=5122, normalized=True)
    view = document["bufferViews"][accessor["bufferView"]]
    view.update(byteOffset=len(binary), byteLength=rows.nbytes, byteStride=12)
    binary += rows.tobytes()
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(binary))
    (tmp_path / "b.glb").write_bytes(
        head
        + struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(binary), 0x004E4942)
        + binary
    )
    back = read_glb(tmp_path / "b.glb")
    assert angles(back.quats, gaussians.quats).max() < 2e-4
    assert torch.equal(back.means, gaussians.means)


def test_glb_points_have_linear_colors(tmp_path: Path, one: Gaussians) -> None:
    """What viewers without the extension show: glTF's vertex colours are linear light."""
    gaussians = first(one, 3)
    gaussians.colors[:] = torch.tensor([0.0, 0.5, 1.0])
    write_glb(tmp_path / "a.glb", gaussians)
    document, binary = glb_chunks(tmp_path / "a.glb")
    accessor = document["accessors"][
        document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
    ]
    assert (accessor["componentType"], accessor["normalized"]) == (5123, True)
    start = document["bufferViews"][accessor["bufferView"]]["byteOffset"]
    rgba = np.frombuffer(binary, "<u2", 12, start).reshape(3, 4) / 65535
    np.testing.assert_allclose(rgba[:, :3], [[0, 0.21404, 1]] * 3, atol=1e-4)
    np.testing.assert_allclose(rgba[:, 3], gaussians.opacities, atol=1e-5)


def test_compressed_ply_of_other_programs(tmp_path: Path, one: Gaussians) -> None:
    """Without colours in the chunks, with harmonics beside, and too few chunks."""
    write_compressed_ply(tmp_path / "a.compressed.ply", first(one, 300))
    data = plyfile.PlyData.read(str(tmp_path / "a.compressed.ply"))
    chunk, vertex = data["chunk"].data, data["vertex"].data
    plain = np.zeros(len(chunk), [(name, "<f4") for name in chunk.dtype.names[:12]])
    for name in plain.dtype.names:
        plain[name] = chunk[name]
    colors = (one.colors[:300] * 255).round().to(torch.int64)
    word = colors[:, 0] << 24 | colors[:, 1] << 16 | colors[:, 2] << 8 | 255
    packed = vertex.copy()
    packed["packed_color"] = word.numpy()
    harmonics = np.zeros(300, [(f"f_rest_{i}", "u1") for i in range(9)])

    def write(name: str, chunks: np.ndarray) -> Path:
        elements = [
            plyfile.PlyElement.describe(chunks, "chunk"),
            plyfile.PlyElement.describe(packed, "vertex"),
            plyfile.PlyElement.describe(harmonics, "sh"),
        ]
        plyfile.PlyData(elements).write(str(tmp_path / name))
        return tmp_path / name

    back = read_ply(write("b.ply", plain))
    torch.testing.assert_close(back.colors, colors / 255)
    assert (back.opacities == 1).all()
    with pytest.raises(InputError, match="1 chunks of 256 are too few for 300"):
        read_ply(write("few.ply", plain[:1]))
    plain["max_x"] = np.nan
    with pytest.raises(InputError, match="means are not finite"):
        read_ply(write("nan.ply", plain))


def test_splat_with_values_that_are_not_finite(tmp_path: Path, one: Gaussians) -> None:
    write_splat(tmp_path / "a.splat", first(one, 20))
    content = bytearray((tmp_path / "a.splat").read_bytes())
    struct.pack_into("<f", content, 3 * 32 + 16, math.inf)
    (tmp_path / "a.splat").write_bytes(content)
    with pytest.raises(InputError, match=r"scales are not finite for 1 of 20.*number 3"):
        read_splat(tmp_path / "a.splat")
