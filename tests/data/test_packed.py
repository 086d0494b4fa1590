from __future__ import annotations

import gc
import logging
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from l4gm.data.clip import ClipRequest
from l4gm.data.layout import read_header
from l4gm.data.pack import PackOptions, pack_clips
from l4gm.data.packed import PackedClips
from l4gm.errors import InputError
from l4gm.geometry.cameras import orbit_cameras

REQUEST = ClipRequest(size_px=16, num_frames=2, fps=12.0, num_supervision_views=2)
ALL_TRAIN = PackOptions(heldout_share=0.0)


@pytest.fixture
def make_set(make_clip, tmp_path):
    """make_set(count, ...) -> folder of a set of the clips `make_clip(k, ...)`."""

    def make(count=3, name="set", options=ALL_TRAIN, **clip):
        clip = {"fixed": 8, "free": 3, "num_frames": 5} | clip
        folder = tmp_path / name
        names = [str(k) for k in range(count)]
        pack_clips(names, lambda k: make_clip(k, **clip), folder, options)
        return folder

    return make


def number(clip):
    """The k of `make_clip(k)` that a clip is."""
    return int(clip.name.split("_")[0].removeprefix("object-"))


def spoil(folder, key_number):
    """Flip a byte of a picture in clip `key_number` of the only shard."""
    path = folder / "shard-00000.tar"
    data = bytearray(path.read_bytes())
    place = data.index(f"object-{key_number}_0_000.json".encode())
    header = read_header(lambda offset, size: bytes(data[offset : offset + size]), place)
    for offset, size, _ in header.files.values():
        data[offset + size // 2] ^= 255
    path.write_bytes(data)


def test_views_and_cameras_are_the_rig_whatever_the_start(make_set, pictures):
    source = PackedClips(make_set(1, depth=True))
    rig = orbit_cameras([0, 90, 180, 270], size=16)
    stored = [pictures(view, 5) for view in range(11)]
    starts = set()
    for index in range(12):
        clip = source.clip(index, REQUEST)
        np.testing.assert_allclose(
            clip.cameras.world_from_camera[:4], rig.world_from_camera, atol=1e-6
        )
        np.testing.assert_allclose(clip.cameras.intrinsics[:4], rig.intrinsics, atol=1e-4)
        shown = [
            next(v for v in range(11) if (stored[v] == frame).all((1, 2, 3)).any())
            for frame in clip.images[0]
        ]
        start = shown[0]
        starts.add(start)
        assert shown[:4] == [(start + 2 * k) % 8 for k in range(4)]
        # Free cameras turned by as much: azimuth 17 (k + 1) at elevation 5 + k in the file.
        for camera, view in zip(clip.cameras.world_from_camera[4:], shown[4:], strict=True):
            expected = orbit_cameras([17.0 * (view - 7) - 45.0 * start], 5.0 + view - 8, size=16)
            np.testing.assert_allclose(camera, expected.world_from_camera[0], atol=1e-5)
        assert clip.depth.shape == (2, 4, 16, 16)
        for k in range(4):
            surface = clip.images[:, k, ..., 3] > 0
            np.testing.assert_array_equal(clip.depth[:, k] > 0, surface)
            np.testing.assert_allclose(clip.depth[:, k][surface], 1 + 0.01 * shown[k], atol=1e-3)
    assert len(starts) > 4


def test_frames_are_those_of_the_rate(make_set, pictures):
    source = PackedClips(make_set(1))
    firsts = set()
    for index in range(12):
        clip = source.clip(index, REQUEST)  # 12 a second of 24: every other frame
        stored = [pictures(view, 5) for view in range(8)]
        found = [
            (view, t)
            for view in range(8)
            for t in range(5)
            if (stored[view][t] == clip.images[0, 0]).all()
        ]
        ((view, first),) = found
        firsts.add(first)
        np.testing.assert_array_equal(clip.images[1, 0], stored[view][first + 2])
    assert firsts == {0, 1, 2}
    whole = source.clip(0, replace(REQUEST, num_frames=5, fps=24.0))
    assert len(whole.images) == 5
    with pytest.raises(InputError, match="too few for 4 at 12"):
        source.clip(0, replace(REQUEST, num_frames=4))


def test_a_round_shows_every_clip_once_and_rounds_differ(make_set):
    source = PackedClips(make_set(7, num_frames=1, fixed=4))
    request = ClipRequest(size_px=16, num_supervision_views=0)
    rounds = [[number(source.clip(7 * r + k, request)) for k in range(7)] for r in range(3)]
    assert all(sorted(shown) == list(range(7)) for shown in rounds)
    assert len({tuple(shown) for shown in rounds}) == 3


def test_the_same_index_is_the_same_clip_from_any_thread_and_reader(make_set):
    folder = make_set(3)
    source, other = PackedClips(folder, seed=5), PackedClips(folder, seed=5)
    with ThreadPoolExecutor(3) as pool:
        clips = list(pool.map(lambda k: source.clip(k % 5, REQUEST), range(15)))
    for k, clip in enumerate(clips):
        again = other.clip(k % 5, REQUEST)
        assert clip.name == again.name
        np.testing.assert_array_equal(clip.images, again.images)
    more = source.clip(2, replace(REQUEST, num_supervision_views=3))
    np.testing.assert_array_equal(more.images[:, :6], clips[2].images)
    seeds = [number(PackedClips(folder, seed=s).clip(0, REQUEST)) for s in range(8)]
    assert len(set(seeds)) > 1


def test_other_sizes(make_set):
    source = PackedClips(make_set(1, depth=True))
    small = source.clip(0, replace(REQUEST, size_px=8))
    large = source.clip(0, REQUEST)
    alpha = large.images[..., 3].reshape(2, 6, 8, 2, 8, 2).mean((3, 5))
    np.testing.assert_allclose(small.images[..., 3], alpha, atol=1.0)
    np.testing.assert_allclose(small.cameras.intrinsics[0, 0, 2], 4.0)
    blocks = large.depth.reshape(2, 4, 8, 2, 8, 2)
    np.testing.assert_allclose(small.depth, blocks.max((3, 5)), atol=1e-3)
    assert source.clip(0, replace(REQUEST, size_px=24)).depth.shape == (2, 4, 24, 24)


def test_damaged_clips_are_counted_named_and_skipped_up_to_a_hundredth(make_set, caplog):
    folder = make_set(101, num_frames=1, fixed=4)
    request = ClipRequest(size_px=16, num_supervision_views=0)
    before = [number(PackedClips(folder).clip(k, request)) for k in range(101)]
    spoil(folder, 42)
    source = PackedClips(folder)
    with caplog.at_level(logging.WARNING, "l4gm"):
        after = [number(source.clip(k, request)) for k in range(202)]
    place = before.index(42)
    follower = before[(place + 1) % 101]
    assert after[:101] == [follower if shown == 42 else shown for shown in before]
    assert list(source.damaged) == ["object-42_0_000"]
    (line,) = caplog.messages
    assert "shard-00000.tar: object-42_0_000: view" in line
    assert "checksum" in line

    spoil(folder, 17)  # more than a hundredth
    source = PackedClips(folder)
    with pytest.raises(InputError, match=r"2 of 101 clips are damaged, more than 1%.*object-"):
        [source.clip(k, request) for k in range(101)]


@pytest.mark.parametrize("fault", ["cut off", "missing", "garbage"])
def test_a_shard_that_is_not_whole(make_set, fault):
    folder = make_set(4)
    path = folder / "shard-00000.tar"
    if fault == "cut off":
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"object-3_0_000.view04")])
    elif fault == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\xff" * path.stat().st_size)
    source = PackedClips(folder, max_damaged_share=0.25)
    if fault == "cut off":
        shown = {number(source.clip(k, REQUEST)) for k in range(40)}
        assert shown == {0, 1, 2} or not source.damaged
    else:
        with pytest.raises(InputError, match=r"2 of 4 clips are damaged"):
            source.clip(0, REQUEST)


def test_splits_and_kept_clips(make_set):
    folder = make_set(40, num_frames=1, fixed=4, options=PackOptions(heldout_share=0.3))
    request = ClipRequest(size_px=16, num_supervision_views=0)
    train, heldout = PackedClips(folder), PackedClips(folder, split="heldout")
    assert len(train) + len(heldout) == 40
    assert 4 <= len(heldout) <= 20
    names = [{s.clip(k, request).name for k in range(len(s))} for s in (train, heldout)]
    assert len(names[0] | names[1]) == 40


def test_sets_behind_a_url(make_set):
    fsspec = pytest.importorskip("fsspec")
    folder = make_set(2)
    memory = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    local, remote = PackedClips(folder), PackedClips("memory://bucket")
    for k in range(4):
        np.testing.assert_array_equal(remote.clip(k, REQUEST).images, local.clip(k, REQUEST).images)
    with pytest.raises(InputError, match=r"memory://nothing: holds no manifest"):
        PackedClips("memory://nothing")
    with pytest.raises(InputError, match="nosuch"):
        PackedClips("nosuch://bucket")


def test_what_is_no_set_is_refused(make_set, tmp_path):
    with pytest.raises(InputError, match="holds no manifest"):
        PackedClips(tmp_path)
    folder = make_set(1)
    with pytest.raises(InputError, match="none of its 1 clips"):
        PackedClips(folder, split="heldout")
    with pytest.raises(InputError, match="multiple of 4 fixed"):
        PackedClips(make_set(1, "odd", fixed=6)).clip(0, REQUEST)
    with pytest.raises(InputError, match="9 free"):
        PackedClips(folder).clip(0, replace(REQUEST, num_supervision_views=9))
    (folder / "manifest.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="damaged or not ours"):
        PackedClips(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(make_set):
    from l4gm.data.manifest import manifest_rows, read_manifest, write_manifest

    folder = make_set(1)
    rows = manifest_rows(read_manifest(folder))
    write_manifest(folder / "manifest.parquet", [replace(rows[0], shard="../../secret.tar")])
    with pytest.raises(InputError, match="no name of a file in this folder"):
        PackedClips(folder).clip(0, REQUEST)


def test_memory_does_not_grow(make_set):
    """Over many rounds nothing is kept but the order of the last ones."""
    source = PackedClips(make_set(4, num_frames=1, fixed=4))
    request = ClipRequest(size_px=16, num_supervision_views=0)

    def memory_after(indices):
        for k in indices:
            source.clip(k, request)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = memory_after(range(40))
        after = memory_after(range(40, 160))
    finally:
        tracemalloc.stop()
    assert (after - before) / 120 < 500  # the pictures of a clip alone are 4 KB
