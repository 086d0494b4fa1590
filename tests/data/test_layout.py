from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from l4gm.data.layout import (
    BLOCK,
    DamagedClipError,
    ShardWriter,
    clip_bytes,
    clip_key,
    headers,
    is_key,
    open_tar,
    pack_depth,
    read_clip,
    read_header,
    read_views,
    shard_writer,
    unpack_depth,
    write_clip,
)
from l4gm.errors import InputError

ADD = ShardWriter.add


def reader(data: bytes):
    return lambda offset, size: data[offset : offset + size]


def test_a_clip_comes_back_as_it_was_written(make_clip, tmp_path):
    clip = make_clip(3, depth=True, licence="CC0", details={"seed": 5})
    write_clip(tmp_path / "c.tar", clip)
    back = read_clip(tmp_path / "c.tar")
    assert back.facts == clip.facts
    assert back.views == clip.views
    for name in ("world_from_camera", "intrinsics"):
        np.testing.assert_array_equal(getattr(back.cameras, name), getattr(clip.cameras, name))
    rest = ("width", "height", "near", "far", "num_fixed")
    assert [getattr(back.cameras, n) for n in rest] == [getattr(clip.cameras, n) for n in rest]
    assert list(tmp_path.iterdir()) == [tmp_path / "c.tar"]


def test_equal_clips_are_equal_bytes(make_clip, tmp_path):
    write_clip(tmp_path / "a.tar", make_clip(1))
    write_clip(tmp_path / "b.tar", make_clip(1))
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_shards_are_tars_and_webdataset_samples(make_clip, tmp_path):
    with shard_writer(tmp_path / "s.tar") as writer:
        places = [writer.add(make_clip(k)) for k in range(3)]
    assert places[1][0] == places[0][1]
    with tarfile.open(tmp_path / "s.tar") as tar:
        names = tar.getnames()
        description = json.load(tar.extractfile("object-1_0_000.json"))
    assert description["facts"]["uid"] == "object-1"
    assert names[:3] == [f"object-0_0_000.{x}" for x in ("json", "view00.webp", "view01.webp")]
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"object-{k}_0_000" for k in range(3)]
    assert samples[2]["view01.webp"] == make_clip(2).views[1].pictures[0]


def test_some_views_are_read_without_the_others(make_clip):
    data = clip_bytes(make_clip(0, depth=True))
    touched = []

    def read(offset, size):
        touched.append((offset, size))
        return data[offset : offset + size]

    header = read_header(read)
    touched.clear()
    clip = read_views(read, header, [4, 1], depth=False)
    assert clip.view_numbers == (4, 1)
    assert clip.views[1].pictures == make_clip(0).views[1].pictures
    assert clip.views[0].depth is None
    assert sum(size for _, size in touched) == sum(len(view.pictures[0]) for view in clip.views)


def test_pictures_may_come_one_by_one(make_clip, tmp_path):
    clip = make_clip(0, num_frames=2)
    views = tuple(replace(v, pictures=(b"first", b"second"), suffix="png") for v in clip.views)
    write_clip(tmp_path / "c.tar", replace(clip, views=views))
    assert read_clip(tmp_path / "c.tar").views == views
    three = tuple(replace(v, pictures=(b"1", b"2", b"3")) for v in views)
    with pytest.raises(ValueError, match="3 pictures for 2 frames"):
        clip_bytes(replace(clip, views=three))


@pytest.mark.parametrize(
    ("uid", "animation"),
    [
        ("../../etc/passwd", 0),
        ("a/b", "walk"),
        ("a.b", "walk"),
        ("", ""),
        ("x" * 300, 0),
        ("Pferd läuft", "größe"),
        ("nul\0byte", "new\nline"),
        ("a_b", "c"),
    ],
)
def test_hostile_names_become_harmless_ones(uid, animation, make_clip, tmp_path):
    key = clip_key(uid, animation, 2)
    assert is_key(key)
    clip = make_clip(0, uid=uid)
    write_clip(tmp_path / "c.tar", clip)
    assert read_clip(tmp_path / "c.tar").facts.uid == uid


def test_keys_tell_clips_apart():
    names = ["a/b", "a-b", "a.b", "a_b", "a", "x" * 99, "x" * 98]
    keys = {clip_key(a, b, c) for a in names for b in [*names, 0, 1] for c in range(3)}
    assert len(keys) == len(names) * (len(names) + 2) * 3
    assert clip_key("000abc", 0, 1) == "000abc_0_001"


def test_a_name_that_is_a_path_is_neither_written_nor_read(make_clip):
    clip = make_clip(0)
    bad = replace(clip, facts=replace(clip.facts, key="../up"))
    with pytest.raises(ValueError, match="no key"):
        clip_bytes(bad)
    data = clip_bytes(clip).replace(b"object-0_0_000", b"../../../../up")
    # The tar header's own checksum must agree for the name to be looked at.
    info = tarfile.TarInfo.frombuf(clip_bytes(clip)[:BLOCK], "utf-8", "strict")
    info.name = "../../../../up.json"
    data = info.tobuf(tarfile.USTAR_FORMAT) + data[BLOCK:]
    with pytest.raises(DamagedClipError, match=r"\.\./up"):
        read_header(reader(data))


def test_every_truncation_and_every_flipped_byte_is_noticed(make_clip):
    clip = make_clip(0, num_frames=1, fixed=1, free=0, depth=True)
    data = clip_bytes(clip)
    header = read_header(reader(data))
    ends = [offset + size for offset, size, _ in header.files.values()]

    def outcome(changed: bytes):
        try:
            back = read_views(reader(changed), read_header(reader(changed)))
        except DamagedClipError:
            return "noticed"
        return "same" if (back.facts, back.views) == (clip.facts, clip.views) else "wrong"

    for length in range(0, max(ends), 97):
        assert outcome(data[:length]) == "noticed", length
    generator = np.random.default_rng(0)
    for offset, size, _ in header.files.values():
        for place in offset + generator.integers(0, size, 40):
            changed = bytearray(data)
            changed[place] ^= 1 << generator.integers(8)
            assert outcome(bytes(changed)) == "noticed", place


def test_headers_of_a_cut_shard_come_up_to_the_cut(make_clip, tmp_path):
    with shard_writer(tmp_path / "s.tar") as writer:
        places = [writer.add(make_clip(k)) for k in range(3)]
    whole = (tmp_path / "s.tar").read_bytes()
    with open_tar(tmp_path / "s.tar") as read:
        assert [offset for offset, _ in headers(read)] == [offset for offset, _ in places]
    seen = []
    cut = headers(reader(whole[: places[2][0] + 100]))
    with pytest.raises(DamagedClipError, match="cut off"):
        seen.extend(offset for offset, _ in cut)
    assert seen == [offset for offset, _ in places[:2]]


def test_later_versions_are_refused_by_name(make_clip):
    data = clip_bytes(make_clip(0)).replace(b'"format":1', b'"format":9')
    with pytest.raises(DamagedClipError, match="later version"):
        read_header(reader(data))


def test_a_full_disk_leaves_nothing(make_clip, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    def add(self, clip):
        return ADD(replace(self, file=Full()), clip)

    monkeypatch.setattr(ShardWriter, "add", add)
    with pytest.raises(OSError, match="No space"):
        write_clip(tmp_path / "s.tar", make_clip(0))
    assert not list(tmp_path.iterdir())


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.tar"):
        read_clip(tmp_path / "no.tar")
    (tmp_path / "x.tar").write_bytes(b"hello" * 300)
    with pytest.raises(DamagedClipError, match=r"x\.tar"):
        read_clip(tmp_path / "x.tar")


def test_depth_keeps_its_steps_and_its_zeros():
    generator = np.random.default_rng(0)
    depth = generator.uniform(0.5, 2.5, (3, 8, 9)) * (generator.random((3, 8, 9)) < 0.5)
    back = unpack_depth(pack_depth(depth))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, depth, atol=0.5 / 4096 + 1e-7)
    np.testing.assert_array_equal(back == 0, depth == 0)
    np.testing.assert_array_equal(unpack_depth(pack_depth(depth), [0, 2, 2]), back[[0, 2, 2]])
    with pytest.raises(DamagedClipError, match="3 frames, no 3"):
        unpack_depth(pack_depth(depth), [1, 3])
    for bad in (-depth, depth * np.nan, depth + 20):
        with pytest.raises(ValueError, match="depth must be"):
            pack_depth(bad)
    for damaged in (b"", pack_depth(depth)[:-9], b"\xff" * 12 + pack_depth(depth)[12:]):
        with pytest.raises(DamagedClipError, match="damaged depth"):
            unpack_depth(damaged)


def test_the_layout_needs_numpy_alone():
    """Blender's Python has no torch, no Pillow."""
    code = (
        "import sys, l4gm.data.layout; "
        "print([m for m in ('torch', 'PIL', 'av', 'numba', 'pyarrow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
