from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from l4gm.data.gather import find_clips
from l4gm.data.layout import ShardWriter, StoredView, read_clip, write_clip
from l4gm.data.manifest import manifest_rows, read_manifest
from l4gm.data.pack import PackOptions, pack_clips, split_of
from l4gm.data.pictures import decode_view
from l4gm.data.statistics import set_statistics, verify_set
from l4gm.errors import InputError

SMALL = PackOptions(shard_bytes=20_000, heldout_share=0.0)
COUNT = 7


@pytest.fixture
def clips(make_clip):
    return [make_clip(k, num_frames=1, uid=f"object-{k // 2}/{k}") for k in range(COUNT)]


def names(clips):
    return [clip.facts.key for clip in clips]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_set_is_shards_manifest_and_report(clips, tmp_path):
    seen = []
    report = pack_clips(
        names(clips), lambda k: clips[k], tmp_path / "set", SMALL, lambda *done: seen.append(done)
    )
    assert (report.clips, report.skipped) == (COUNT, {})
    assert seen == [(k + 1, COUNT) for k in range(COUNT)]
    rows = manifest_rows(read_manifest(tmp_path / "set"))
    assert [row.key for row in rows] == names(clips)
    shards = sorted({row.shard for row in rows})
    assert len(shards) > 2
    assert sorted(contents(tmp_path / "set")) == sorted(
        [*shards, "manifest.parquet", "report.json"]
    )
    first = rows[0]
    assert (first.uid, first.size_px, first.num_views, first.num_fixed) == ("object-0/0", 16, 6, 4)
    # Each shard but the last is as large as asked for, and no larger than by one clip.
    for shard in shards[:-1]:
        size = sum(row.size for row in rows if row.shard == shard)
        assert 20_000 <= size < 20_000 + max(row.size for row in rows)
    statistics = set_statistics(str(tmp_path / "set"))
    assert (statistics.clips, statistics.objects, statistics.shards) == (COUNT, COUNT, len(shards))
    assert verify_set(str(tmp_path / "set")) == {}


@pytest.mark.parametrize("stop_at", [0, 1, 3, 4, COUNT - 1])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(clips, tmp_path, stop_at):
    pack_clips(names(clips), lambda k: clips[k], tmp_path / "whole", SMALL)
    loaded = []

    def load(k, until=COUNT):
        if k >= until:
            raise KeyboardInterrupt
        loaded.append(k)
        return clips[k]

    with pytest.raises(KeyboardInterrupt):
        pack_clips(names(clips), lambda k: load(k, stop_at), tmp_path / "set", SMALL)
    done = loaded.copy()
    loaded.clear()
    pack_clips(names(clips), load, tmp_path / "set", SMALL)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")
    assert len(done) + len(loaded) < COUNT + 3  # at most one shard is made again
    loaded.clear()
    again = pack_clips(names(clips), load, tmp_path / "set", SMALL)
    assert not loaded
    assert again.clips == COUNT


def test_a_full_disk_stops_cleanly_and_the_next_run_goes_on(clips, tmp_path, monkeypatch):
    add, left = ShardWriter.add, [4]

    def full(self, clip):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return add(self, clip)

    monkeypatch.setattr(ShardWriter, "add", full)
    with pytest.raises(OSError, match="No space"):
        pack_clips(names(clips), lambda k: clips[k], tmp_path / "set", SMALL)
    left_over = sorted(contents(tmp_path / "set"))
    assert "manifest.parquet" not in left_over
    assert not [name for name in left_over if "partial" in name]
    monkeypatch.undo()
    pack_clips(names(clips), lambda k: clips[k], tmp_path / "set", SMALL)
    pack_clips(names(clips), lambda k: clips[k], tmp_path / "whole", SMALL)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_what_cannot_be_had_is_left_out_by_name(clips, tmp_path, caplog):
    def load(k):
        if k == 2:
            raise InputError("clip 2: torn")
        return clips[k]

    with caplog.at_level(logging.WARNING, "l4gm"):
        report = pack_clips(names(clips), load, tmp_path / "set", SMALL)
    assert report.clips == COUNT - 1
    assert report.skipped == {names(clips)[2]: "clip 2: torn"}
    assert caplog.messages == ["left out: clip 2: torn"]
    assert "clip 2: torn" in (tmp_path / "set" / "report.json").read_text()
    with pytest.raises(InputError, match="no clip could be packed"):
        pack_clips(["x"], lambda k: load(2), tmp_path / "none", SMALL)


def test_another_set_or_other_files_are_not_touched(clips, tmp_path):
    pack_clips(names(clips)[:3], lambda k: clips[k], tmp_path / "set", SMALL)
    before = contents(tmp_path / "set")
    for items, options in ((names(clips), SMALL), (names(clips)[:3], PackOptions())):
        with pytest.raises(InputError, match="another set or other files"):
            pack_clips(items, lambda k: clips[k], tmp_path / "set", options)
    assert contents(tmp_path / "set") == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot write there"):
        pack_clips(names(clips), lambda k: clips[k], tmp_path / "file", SMALL)


def test_all_clips_of_an_object_are_in_one_split():
    splits = [split_of(f"object {k}", PackOptions(heldout_share=0.2)) for k in range(2000)]
    assert splits.count("heldout") == pytest.approx(400, abs=60)
    again = [split_of(f"object {k}", PackOptions(heldout_share=0.2)) for k in range(2000)]
    assert splits == again
    # A larger share holds out these and more.
    more = [split_of(f"object {k}", PackOptions(heldout_share=0.4)) for k in range(2000)]
    assert all(b == "heldout" for a, b in zip(splits, more, strict=True) if a == "heldout")


def test_clip_files_and_sets_are_gathered(clips, make_clip, pictures, tmp_path):
    for clip in clips[:3]:
        write_clip(tmp_path / "farm" / clip.facts.key[:1] / f"{clip.facts.key}.tar", clip)
    (tmp_path / "farm" / ".scratch").mkdir()
    write_clip(tmp_path / "farm" / ".scratch" / "unfinished.tar", clips[6])
    pack_clips(names(clips)[3:], lambda k: clips[3 + k], tmp_path / "set", SMALL)
    found = find_clips([tmp_path / "farm", str(tmp_path / "set")])
    assert sorted(clip.key for clip in found) == sorted(names(clips))
    assert found == find_clips([tmp_path / "set", tmp_path / "farm"])
    assert found != find_clips([tmp_path / "farm", tmp_path / "set"], seed=1)
    by_key = {clip.facts.key: clip for clip in clips}
    for clip in found:
        assert clip.load().views == by_key[clip.key].views
    with pytest.raises(InputError, match="is also in"):
        find_clips([tmp_path / "farm", tmp_path / "farm"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no clips in it"):
        find_clips([tmp_path / "empty"])
    with pytest.raises(InputError, match="not a folder"):
        find_clips([tmp_path / "nothing"])


def test_single_pictures_become_animations(make_clip, pictures, png, tmp_path):
    clip = make_clip(0, num_frames=3)
    views = tuple(
        StoredView(pictures=tuple(png(frame) for frame in pictures(view, 3)), suffix="png")
        for view in range(6)
    )
    write_clip(tmp_path / f"{clip.facts.key}.tar", replace(clip, views=views))
    (found,) = find_clips([tmp_path])
    loaded = found.load()
    assert [len(view.pictures) for view in loaded.views] == [1] * 6
    for view in range(6):
        assert (decode_view(loaded.views[view], 3, 16) == pictures(view, 3)).all()


def test_torn_clips_are_named(clips, tmp_path):
    key = clips[0].facts.key
    write_clip(tmp_path / f"{key}.tar", clips[0])
    data = (tmp_path / f"{key}.tar").read_bytes()
    (tmp_path / f"{key}.tar").write_bytes(data[: len(data) // 2])
    write_clip(tmp_path / "other_name.tar", clips[1])
    problems = []
    for clip in find_clips([tmp_path]):
        with pytest.raises(InputError) as problem:
            clip.load()
        problems.append(str(problem.value))
    assert any(f"{key}.tar: {key}: view" in text and "cut off" in text for text in problems)
    assert any("other_name.tar: holds object-0-1" in text for text in problems)
    assert read_clip(tmp_path / "other_name.tar").facts.key == clips[1].facts.key


def test_verify_names_what_is_damaged(clips, tmp_path):
    pack_clips(names(clips), lambda k: clips[k], tmp_path / "set", SMALL)
    path = tmp_path / "set" / "shard-00001.tar"
    row = next(r for r in manifest_rows(read_manifest(tmp_path / "set")) if r.shard == path.name)
    data = bytearray(path.read_bytes())
    data[row.offset + row.size - 600] ^= 1
    path.write_bytes(data)
    damaged = verify_set(str(tmp_path / "set"))
    assert list(damaged) == [row.key]
    assert "checksum" in damaged[row.key]
    path.unlink()
    assert len(verify_set(str(tmp_path / "set"))) > 1


def test_leftovers_of_a_killed_run_are_removed(clips, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / ".shard_0000-ab12cd34.partial.tar").write_bytes(bytes(100))
    (folder / ".mine.partial.tar").write_bytes(bytes(100))
    (folder / ".link-ab12cd34.partial").symlink_to(tmp_path)
    pack_clips(names(clips), lambda k: clips[k], folder, SMALL)
    assert not (folder / ".shard_0000-ab12cd34.partial.tar").exists()
    kept = {path.name for path in folder.iterdir()}
    assert {".mine.partial.tar", ".link-ab12cd34.partial"} <= kept


def test_two_runs_do_not_write_one_set(clips, tmp_path):
    def load(index):
        with pytest.raises(InputError, match="another run is writing there"):
            pack_clips(names(clips), lambda k: clips[k], tmp_path / "set", SMALL)
        return clips[index]

    assert pack_clips(names(clips), load, tmp_path / "set", SMALL).clips == COUNT
