"""The filter on small sets of procedural clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from l4gm.data.clip import ClipRequest
from l4gm.data.layout import with_facts
from l4gm.data.manifest import manifest_rows, read_manifest
from l4gm.data.pack import PackOptions, pack_clips
from l4gm.data.packed import PackedClips
from l4gm.datagen.clips import ProceduralClips
from l4gm.datagen.motion import DIS, EXACT
from l4gm.datagen.motion_filter import filter_set
from l4gm.datagen.stored import StoredRequest, procedural_clip
from l4gm.errors import InputError

REQUEST = StoredRequest(size_px=32, num_frames=3, num_fixed=4, num_free=1)


@pytest.fixture(scope="module")
def clips():
    source = ProceduralClips(1)
    return [procedural_clip(source, k, REQUEST) for k in range(6)]


@pytest.fixture
def folder(clips, tmp_path):
    """A set of six clips, of the last two of which the motion is not known."""
    made = [*clips[:4], *(with_facts(c, motion=None, motion_method="") for c in clips[4:])]
    options = PackOptions(heldout_share=0.0)
    pack_clips([c.facts.key for c in made], lambda k: made[k], tmp_path / "set", options)
    return tmp_path / "set"


def test_a_stored_clip_is_the_clip_that_is_rendered(clips, tmp_path):
    """Read back it shows the same pictures as `ProceduralClips`, with depth and cameras."""
    options = PackOptions(heldout_share=0.0)
    pack_clips(["a"], lambda k: clips[2], tmp_path / "set", options)
    request = ClipRequest(size_px=32, num_frames=3, fps=24.0, num_supervision_views=1)
    stored = PackedClips(tmp_path / "set").clip(0, request)
    made = ProceduralClips(1).clip(2, request)
    first = next(k for k in range(4) if (made.images[:, k] == stored.images[:, 0]).all())
    order = [(first + k) % 4 for k in range(4)] + [4]
    np.testing.assert_array_equal(stored.images, made.images[:, order])
    np.testing.assert_allclose(stored.depth, made.depth[:, order[:4]], atol=1e-3)
    assert clips[2].facts.motion > 0
    assert clips[2].facts.motion_method == EXACT


def test_half_is_kept_and_scores_stay(folder, clips):
    pytest.importorskip("cv2")
    seen = []
    outcome = filter_set(folder, on_clip=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    assert (outcome.clips, outcome.kept, outcome.unmeasured) == (6, 3, 0)
    rows = manifest_rows(read_manifest(folder))
    assert [row.motion_method for row in rows] == [EXACT] * 4 + [DIS] * 2
    exact = [clip.facts.motion for clip in clips[:4]]
    assert [row.kept for row in rows[:4]] == [m >= sorted(exact)[2] for m in exact]
    assert len(PackedClips(folder)) == 3
    seen.clear()
    assert filter_set(folder, keep=1.0).kept == 6
    assert not seen
    assert filter_set(folder, threshold=max(exact)).kept >= 1
    assert filter_set(folder, threshold=1e9).kept == 0
    with pytest.raises(InputError, match="none of its 6 clips is kept"):
        PackedClips(folder)


def test_a_damaged_clip_is_not_kept(folder, caplog):
    pytest.importorskip("cv2")
    row = manifest_rows(read_manifest(folder))[5]
    path = folder / row.shard
    data = bytearray(path.read_bytes())
    data[row.offset + row.size // 4 : row.offset + row.size // 2] = bytes(
        row.size // 2 - row.size // 4
    )
    path.write_bytes(data)
    outcome = filter_set(folder, keep=1.0)
    assert (outcome.kept, outcome.unmeasured) == (5, 1)
    assert row.key in caplog.text
    assert not manifest_rows(read_manifest(folder))[5].kept


def test_more_fixed_views_begin_with_the_same_free_ones(clips):
    wide = procedural_clip(ProceduralClips(1), 0, replace(REQUEST, num_fixed=8))
    assert wide.views[8].pictures == clips[0].views[4].pictures
    assert wide.views[2].pictures == clips[0].views[1].pictures
