"""Small files that claim to be large ones: refused before memory or time goes."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4gm.errors import InputError
from l4gm.gaussians.compact_codec import TILES, picture_rows, picture_width
from l4gm.gaussians.ply import PROPERTIES
from l4gm.io.budget import MEMORY_VARIABLE, Budget, memory_limit_bytes

MAX_EXTRA_BYTES = 400 * 2**20


@pytest.fixture
def kilobyte(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(bytes(1000))
    return tmp_path / "file"


def test_ratio_counts_beyond_what_is_free(kilobyte: Path) -> None:
    budget = Budget(free_bytes=5000, ratio=10)
    budget.check(kilobyte, 5000)
    budget.check(kilobyte, 10_000)
    budget.check(kilobyte, 20_000, ratio=20)
    with pytest.raises(InputError, match="file: 1000 bytes that claim"):
        budget.check(kilobyte, 10_001)


def test_the_limit_is_the_machines_or_what_is_set(
    kilobyte: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_limit_bytes.cache_clear()
    assert 2**28 < memory_limit_bytes() < 2**50
    monkeypatch.setenv(MEMORY_VARIABLE, "0.001")
    memory_limit_bytes.cache_clear()
    with pytest.raises(InputError, match=f"set {MEMORY_VARIABLE}"):
        Budget(ratio=10**9).check(kilobyte, 1_000_001)
    for wrong in ("lots", "-1", "nan"):
        monkeypatch.setenv(MEMORY_VARIABLE, wrong)
        memory_limit_bytes.cache_clear()
        with pytest.raises(InputError, match=MEMORY_VARIABLE):
            memory_limit_bytes()
    monkeypatch.undo()
    memory_limit_bytes.cache_clear()


def flat_image(width: int, height: int, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA" if kind == "PNG" else "RGB", (width, height)).save(
        stream, kind, **({"lossless": True} if kind == "WEBP" else {})
    )
    return stream.getvalue()


def compact_bomb(path: Path) -> None:
    """A kilobyte: one flat image of 14 million Gaussians."""
    count = 14_000_000
    width = picture_width(count)
    index = {
        **{"format": "l4gm-compact", "version": 1, "fps": 24, "num_frames": 1},
        **{"num_gaussians": count, "width": width, "key_every": 8, "bits": {}},
        "means": {"lower": [0, 0, 0], "upper": [1, 1, 1]},
        "log_scales": {"lower": -5, "upper": -1},
        "rotations": {"reference": [1, 0, 0, 0]},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.json", json.dumps(index))
        picture = flat_image(width, TILES * picture_rows(count, width), "WEBP")
        archive.writestr("frame_0000.webp", picture)


def spz_bomb(path: Path) -> None:
    """A megabyte: 49 million splats, all zero."""
    count = 49_000_000
    head = struct.pack("<4sIIBBBB", b"NGSP", 3, count, 0, 12, 0, 0)
    with gzip.open(path, "wb", 9) as stream:
        stream.write(head)
        for _ in range(20):
            stream.write(bytes(count))


def sog_bomb(path: Path) -> None:
    """Five flat PNG images of 59 million pixels."""
    side = 7700
    picture = flat_image(side, side, "PNG")
    names = ("means_l", "means_u", "scales", "quats", "sh0")
    meta = {
        "version": 2,
        "count": side * side,
        "means": {"mins": [0] * 3, "maxs": [1] * 3, "files": ["means_l", "means_u"]},
        "scales": {"codebook": [0] * 256, "files": ["scales"]},
        "quats": {"files": ["quats"]},
        "sh0": {"codebook": [0] * 256, "files": ["sh0"]},
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", json.dumps(meta))
        for name in names:
            archive.writestr(name, picture)


def ply_of_lists(path: Path) -> None:
    lines = ["ply", "format binary_little_endian 1.0", "element vertex 2000000000"]
    lines += [f"property list uchar float {name}" for name in PROPERTIES]
    path.write_text("\n".join([*lines, "end_header\n"]))


def ply_of_nothing(path: Path) -> None:
    """Rows without a single property take no room."""
    path.write_text("ply\nformat ascii 1.0\nelement vertex 2000000000\nend_header\n")


def sequence_of_nothing(path: Path) -> None:
    """A million million frames without Gaussians."""
    shapes = {"means": [3], "quats": [4], "scales": [3], "opacities": [], "colors": [3]}
    header: dict[str, object] = {
        name: {"dtype": "F32", "shape": [10**12, 0, *rest], "data_offsets": [0, 0]}
        for name, rest in shapes.items()
    }
    header["__metadata__"] = {
        "l4gm.format": "l4gm-gaussian-sequence",
        "l4gm.format_version": "1",
        "l4gm.fps": "24.0",
    }
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def folder_with_a_gap(path: Path) -> None:
    path.mkdir()
    (path / "frame_0000.ply").write_text("ply")
    (path / "frame_9999999999.ply").write_text("ply")


def glb_of_one_point(path: Path) -> None:
    """Two thousand million points that all are the same bytes."""
    names = ("POSITION", "ROTATION", "SCALE", "OPACITY", "SH_DEGREE_0_COEF_0")
    prefix = "KHR_gaussian_splatting"
    attributes = {n if n == "POSITION" else f"{prefix}:{n}": i for i, n in enumerate(names)}
    kinds = ("VEC3", "VEC4", "VEC3", "SCALAR", "VEC3")
    document = {
        "asset": {"version": "2.0"},
        "meshes": [{"primitives": [{"attributes": attributes, "extensions": {prefix: {}}}]}],
        "bufferViews": [{"buffer": 0, "byteLength": 16, "byteStride": 0}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 2 * 10**9, "type": kind}
            for kind in kinds
        ],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", 16, 0x004E4942) + bytes(16)
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)


BOMBS: dict[str, Callable[[Path], None]] = {
    "a.l4gm": compact_bomb,
    "a.spz": spz_bomb,
    "a.sog": sog_bomb,
    "lists.ply": ply_of_lists,
    "nothing.ply": ply_of_nothing,
    "a.safetensors": sequence_of_nothing,
    "folder": folder_with_a_gap,
    "a.glb": glb_of_one_point,
}

# Not ru_maxrss: a child begins with its parent's.
_MEASURE = """
import sys, time
import numpy, torch
from l4gm.cli.main import main
def peak():
    status = open("/proc/self/status").read()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
before, began = peak(), time.process_time()
code = main(["inspect", sys.argv[1], "--fps", "12"])
print(code, peak() - before, time.process_time() - began)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_neither_memory_nor_time(tmp_path: Path, name: str) -> None:
    """In its own process, so that its peak of memory can be seen."""
    path = tmp_path / name
    BOMBS[name](path)
    if path.is_file():
        assert path.stat().st_size < 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    code, extra_bytes, seconds = done.stdout.split()
    assert int(code) == 2, done
    assert len(done.stderr.splitlines()) == 1
    assert int(extra_bytes) < MAX_EXTRA_BYTES
    assert float(seconds) < 20


def test_honest_files_of_what_stands_still_are_read(tmp_path: Path) -> None:
    """Nothing moves and most is invisible: as small as an honest file gets."""
    import torch

    from l4gm.files import load, save
    from l4gm.gaussians.types import Gaussians, GaussianSequence

    still = Gaussians(
        torch.zeros(1, 65536, 3),
        torch.tensor([1.0, 0, 0, 0]).expand(1, 65536, 4),
        torch.full((1, 65536, 3), 0.1),
        torch.full((1, 65536), 0.9) * (torch.arange(65536) < 9000),
        torch.full((1, 65536, 3), 0.5),
    )
    still.means[0, :9000] = torch.from_numpy(np.random.default_rng(0).random((9000, 3), np.float32))
    sequence = GaussianSequence(still.map(lambda t: t.expand(40, *t.shape[1:])), 24.0)
    for name in ("a.l4gm", "a.safetensors", "folder"):
        save(sequence, tmp_path / name, prune=False)
        assert len(load(tmp_path / name)) == 40  # type: ignore[arg-type]
    save(still[0], tmp_path / "v4.spz", prune=False, layout="v4")
    for name in ("a.spz", "a.sog", "a.compressed.ply", "a.glb", "a.splat"):
        save(still[0], tmp_path / name, prune=False)
    for name in ("v4.spz", "a.spz", "a.sog", "a.compressed.ply", "a.glb", "a.splat"):
        assert load(tmp_path / name).num_gaussians == 65536  # type: ignore[union-attr]
