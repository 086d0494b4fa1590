"""The lossless sequence file: bits in, bits out, a few frames at a time, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from l4gm.errors import InputError
from l4gm.gaussians.sequence_file import (
    SequenceWriter,
    read_frames,
    read_sequence,
    read_sequence_info,
    write_sequence,
)
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras

FIELDS = ("means", "quats", "scales", "opacities", "colors")


def sequence(
    frames: int = 5, count: int = 11, dtype: torch.dtype = torch.float32, cameras: bool = True
) -> GaussianSequence:
    torch.manual_seed(frames * 100 + count)
    gaussians = Gaussians(
        torch.randn(frames, count, 3),
        torch.randn(frames, count, 4),
        torch.rand(frames, count, 3),
        torch.rand(frames, count),
        torch.rand(frames, count, 3),
    )
    rig = orbit_cameras(torch.arange(frames) * 7.0, size=64) if cameras else None
    return GaussianSequence(gaussians.to(dtype), 12.5, rig)


def assert_same_bits(left: Gaussians, right: Gaussians) -> None:
    for name in FIELDS:
        a, b = getattr(left, name), getattr(right, name)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert torch.equal(a, b), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_same_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    original = sequence(dtype=dtype)
    write_sequence(tmp_path / "a.safetensors", original, metadata={"source": "cat.mp4 <é>"})
    back = read_sequence(tmp_path / "a.safetensors")
    assert_same_bits(back.gaussians, original.gaussians)
    assert back.fps == 12.5
    assert back.cameras is not None
    assert original.cameras is not None
    assert torch.equal(back.cameras.world_from_camera, original.cameras.world_from_camera)
    assert torch.equal(back.cameras.intrinsics, original.cameras.intrinsics)
    for name in ("width", "height", "near", "far"):
        assert getattr(back.cameras, name) == getattr(original.cameras, name)
    info = read_sequence_info(tmp_path / "a.safetensors")
    assert (info.num_frames, info.num_gaussians) == (5, 11)
    assert info.metadata == {"source": "cat.mp4 <é>"}


def test_any_reader_of_safetensors_opens_it(tmp_path: Path) -> None:
    original = sequence(cameras=False)
    write_sequence(tmp_path / "a.safetensors", original)
    tensors = load_file(tmp_path / "a.safetensors")
    assert set(tensors) == set(FIELDS)
    assert torch.equal(tensors["quats"], original.gaussians.quats)
    assert read_sequence(tmp_path / "a.safetensors").cameras is None


@settings(max_examples=30, deadline=None)
@given(data=st.data(), frames=st.integers(1, 9), count=st.integers(0, 5))
def test_streaming_in_any_pieces_is_the_same_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, frames: int, count: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    original = sequence(frames, count)
    write_sequence(folder / "whole.safetensors", original)
    path = folder / "pieces.safetensors"
    with SequenceWriter(path, frames, count, original.fps, original.cameras) as writer:
        done = 0
        while done < frames:
            step = data.draw(st.integers(1, frames - done))
            writer.append(original.gaussians[done : done + step])
            done += step
    assert path.read_bytes() == (folder / "whole.safetensors").read_bytes()
    start = data.draw(st.integers(0, frames - 1))
    stop = data.draw(st.integers(start + 1, frames))
    assert_same_bits(read_frames(path, start, stop), original.gaussians[start:stop])


def test_failure_keeps_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_sequence(path, sequence(2))
    before = path.read_bytes()

    def interrupted() -> None:
        with SequenceWriter(path, 5, 11, 24.0) as writer:
            writer.append(sequence(3).gaussians)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(ValueError, match="3 of 5 frames"),
        SequenceWriter(path, 5, 11, 24.0) as writer,
    ):
        writer.append(sequence(3).gaussians)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_wrong_appends(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    frames = sequence(3).gaussians
    writer = SequenceWriter(path, 5, 11, 24.0)
    with pytest.raises(ValueError, match="with block"):
        writer.append(frames)
    with pytest.raises(ValueError, match="do not fit"), SequenceWriter(path, 2, 11, 24.0) as writer:
        writer.append(frames)
    with pytest.raises(ValueError, match="12"), SequenceWriter(path, 5, 12, 24.0) as writer:
        writer.append(frames)

    def mixed_types() -> None:
        with SequenceWriter(path, 6, 11, 24.0) as writer:
            writer.append(frames)
            writer.append(frames.to(torch.float16))

    with pytest.raises(ValueError, match="another type"):
        mixed_types()
    with pytest.raises(ValueError, match="not finite"):
        write_sequence(path, GaussianSequence(frames.map(lambda t: t / 0), 24.0))
    with pytest.raises(ValueError, match=r"l4gm\."):
        write_sequence(path, sequence(), metadata={"l4gm.fps": "3"})
    assert not list(tmp_path.iterdir())


def test_range_outside(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a.safetensors", sequence(4))
    for start, stop in [(-1, 2), (2, 2), (3, 5)]:
        with pytest.raises(ValueError, match="start < stop"):
            read_frames(tmp_path / "a.safetensors", start, stop)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a.safetensors", sequence(2, 3))
    whole = (tmp_path / "a.safetensors").read_bytes()
    for length in range(0, len(whole), 41):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.safetensors"):
            read_sequence(tmp_path / "cut.safetensors")


def good_metadata() -> dict[str, str]:
    return {
        "l4gm.format": "l4gm-gaussian-sequence",
        "l4gm.format_version": "1",
        "l4gm.fps": "24.0",
        "l4gm.cameras.width": "64",
        "l4gm.cameras.height": "64",
        "l4gm.cameras.near": "0.5",
        "l4gm.cameras.far": "2.5",
    }


def good_tensors() -> dict[str, torch.Tensor]:
    gaussians = sequence(3, 4).gaussians
    return {name: getattr(gaussians, name) for name in FIELDS}


@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"l4gm.format": "other"}, {}, "not a Gaussian sequence"),
        ({"l4gm.format_version": "2"}, {}, "update l4gm"),
        ({"l4gm.fps": "fast"}, {}, "fps"),
        ({"l4gm.fps": "nan"}, {}, "fps"),
        ({"l4gm.fps": "-3"}, {}, "fps"),
        ({}, {"colors": None}, "missing: colors"),
        ({}, {"quats": torch.zeros(3, 4, 3)}, "quats must be"),
        ({}, {"scales": torch.zeros(2, 4, 3)}, "scales must be"),
        ({}, {"means": torch.zeros(3)}, "must be"),
        ({}, {"means": torch.zeros(3, 4, 3, dtype=torch.int32)}, "floating point"),
        ({}, {"scales": torch.full((3, 4, 3), float("nan"))}, "scales hold"),
        ({}, {"cameras.intrinsics": torch.zeros(3, 3)}, "cameras"),
        (
            {"l4gm.cameras.near": "9"},
            {
                "cameras.intrinsics": torch.eye(3),
                "cameras.world_from_camera": torch.eye(4),
            },
            "near",
        ),
        (
            {},
            {
                "cameras.intrinsics": torch.zeros(2, 3, 3),
                "cameras.world_from_camera": torch.zeros(2, 4, 4),
            },
            "cameras",
        ),
    ],
)
def test_wrong_content(
    tmp_path: Path,
    metadata: dict[str, str],
    tensors: dict[str, torch.Tensor | None],
    message: str,
) -> None:
    content = {k: v for k, v in (good_tensors() | tensors).items() if v is not None}
    save_file(content, tmp_path / "a.safetensors", good_metadata() | metadata)
    with pytest.raises(InputError, match=message) as caught:
        read_sequence(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_good_content_of_another_writer(tmp_path: Path) -> None:
    """The counterpart of the test above: without the fault the same file is read."""
    save_file(good_tensors(), tmp_path / "a.safetensors", good_metadata())
    assert len(read_sequence(tmp_path / "a.safetensors")) == 3


def test_header_is_aligned(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a.safetensors", sequence(2, 3, torch.float16))
    raw = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert length % 8 == 0
    header = json.loads(raw[8 : 8 + length])
    for name, entry in header.items():
        if name != "__metadata__":
            width = 4 if entry["dtype"] == "F32" else 2
            assert entry["data_offsets"][0] % width == 0
