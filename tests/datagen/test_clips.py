from __future__ import annotations

import logging

import numpy as np
import pytest

from l4gm.data.clip import ClipRequest
from l4gm.datagen.clips import (
    MixedClips,
    ModelClips,
    ProceduralClips,
    heldout_model_names,
)
from l4gm.datagen.contact_sheet import contact_sheet
from l4gm.errors import InputError
from l4gm.geometry.cameras import orbit_cameras

SMALL = ClipRequest(size_px=24, num_frames=2, num_supervision_views=2)


@pytest.fixture
def folder(new_builder, tmp_path):
    """Four models that move, named so that one is held out; one without animation, one broken."""
    for k, name in enumerate(["a", "b", "c", "quat_animal_Fox"]):
        builder = new_builder()
        points = [[0, 0, 0], [1, 0, 0], [0, 1, 0.1 * k], [0.3, 0.4, 1.0]]
        faces = builder.accessor([0, 1, 2, 0, 1, 3, 1, 2, 3], np.uint16)
        mesh = builder.triangle(points, indices=faces, material=0)
        color = [0.2 + 0.2 * k, 0.5, 0.9 - 0.2 * k, 1]
        builder.append("materials", {"pbrMetallicRoughness": {"baseColorFactor": color}})
        builder.append("nodes", {"mesh": mesh})
        builder.animate(0, "scale", [0, 1], [[1, 1, 1], [1, 1 + k, 1]])
        builder.write(tmp_path, f"{name}.glb")
    still = new_builder()
    still.append("nodes", {"mesh": still.triangle()})
    still.write(tmp_path, "still.glb")
    (tmp_path / "torn.glb").write_bytes(b"glTF")
    (tmp_path / "notes.txt").write_text("not a model")
    return tmp_path


def same(first, second):
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.depth, second.depth)
    assert first.name == second.name


@pytest.fixture(params=["procedural", "models", "mixed"])
def source(request, folder):
    models = ModelClips([folder / f"{name}.glb" for name in "abc"], seed=3)
    procedural = ProceduralClips(seed=3)
    mixed = MixedClips([procedural, models], [1, 1])
    return {"procedural": procedural, "models": models, "mixed": mixed}[request.param]


def test_a_clip_is_what_was_asked_for(source):
    request = ClipRequest(
        size_px=32, num_frames=3, fps=12.0, num_supervision_views=5, elevation_degrees=(10.0, 20.0)
    )
    clip = source.clip(1, request)
    assert clip.images.shape == (3, 9, 32, 32, 4)
    assert clip.depth.shape == (3, 9, 32, 32)
    assert clip.fps == 12.0
    assert clip.num_input_views == 4
    assert clip.name
    rig = orbit_cameras([0, 90, 180, 270], size=32)
    np.testing.assert_array_equal(
        clip.cameras.world_from_camera[:4].numpy(), rig.world_from_camera.numpy()
    )
    heights = clip.cameras.world_from_camera[4:, 1, 3].numpy() / 1.5
    elevations = np.degrees(np.arcsin(heights))
    assert ((elevations > 10) & (elevations < 20)).all()
    np.testing.assert_array_equal(clip.depth > 0, clip.images[..., 3] > 0)
    assert 0.02 < (clip.images[..., 3] > 0).mean() < 0.8
    surface = clip.depth[clip.depth > 0]
    assert surface.min() > 1.5 - 0.87
    assert surface.max() < 1.5 + 0.87


def test_the_same_request_gives_the_same_bytes(source):
    first = source.clip(4, SMALL)
    source.clip(2, SMALL)
    same(first, source.clip(4, SMALL))


def test_neighbouring_indices_differ(source):
    pictures = [source.clip(k, SMALL).images.tobytes() for k in range(6)]
    assert len(set(pictures)) == 6


def test_resolution_changes_nothing_else(source):
    """Halving the large clip gives the small one, up to how edges and textures are sampled."""
    large = source.clip(0, ClipRequest(size_px=64, num_frames=2))
    small = source.clip(0, ClipRequest(size_px=32, num_frames=2))
    assert large.name == small.name
    pixels = large.images.astype(float)
    alpha = pixels[..., 3:] / 255
    on_white = np.concatenate([pixels[..., :3] * alpha + 255 * (1 - alpha), pixels[..., 3:]], -1)
    halved = on_white.reshape(2, 8, 32, 2, 32, 2, 4).mean((3, 5))
    pixels = small.images.astype(float)
    alpha = pixels[..., 3:] / 255
    expected = np.concatenate([pixels[..., :3] * alpha + 255 * (1 - alpha), pixels[..., 3:]], -1)
    assert np.abs(halved - expected).mean() < 4


def test_more_views_and_frames_begin_with_the_same(source):
    few = source.clip(5, ClipRequest(size_px=24, num_frames=1, num_supervision_views=1))
    many = source.clip(5, ClipRequest(size_px=24, num_frames=1, num_supervision_views=6))
    np.testing.assert_array_equal(many.images[:, :5], few.images)
    longer = source.clip(5, ClipRequest(size_px=24, num_frames=4, num_supervision_views=1))
    assert longer.name == few.name


def test_seeds_and_splits_are_different_sets():
    seeds = {
        ProceduralClips(seed, split).object_seed(k)
        for seed in (0, 1)
        for split in ("train", "heldout")
        for k in range(500)
    }
    assert len(seeds) == 2000


def test_wrong_splits_are_refused(folder):
    for make in (lambda: ProceduralClips(split="test"), lambda: ModelClips(folder, split="test")):
        with pytest.raises(ValueError, match="split must be"):
            make()


def test_held_out_names_are_spread():
    names = heldout_model_names()
    assert len(names) == len(set(names)) == 20
    assert list(names) == sorted(names)
    assert len({name.split("_")[1] for name in names}) >= 12


def test_splits_of_a_folder(folder):
    train, heldout, both = (ModelClips(folder, split=s) for s in ("train", "heldout", "all"))
    assert [path.stem for path in heldout.paths] == ["quat_animal_Fox"]
    assert {path.stem for path in train.paths} == {"a", "b", "c", "still", "torn"}
    assert len(both.paths) == 6
    assert ModelClips(folder, exclude_names=["a", "still"]).paths[0].stem == "b"


def test_each_round_shows_every_model_once(folder):
    models = ModelClips([folder / f"{name}.glb" for name in "abc"])
    rounds = [
        [models.clip(3 * r + k, SMALL).name.split("/")[0] for k in range(3)] for r in range(4)
    ]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1


def test_models_that_cannot_be_shown_are_logged_once_and_left_out(folder, caplog):
    models = ModelClips(folder)
    with caplog.at_level(logging.WARNING):
        names = [models.clip(k, SMALL).name.split("/")[0] for k in range(15)]
    assert set(names) == {"a", "b", "c"}
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert any("still.glb has no animation" in message for message in messages)
    assert any("torn.glb is cut off" in message for message in messages)
    assert {path.stem for path in models.refused} == {"still", "torn"}


def test_what_an_index_shows_does_not_depend_on_earlier_requests(folder):
    forward, backward = ModelClips(folder), ModelClips(folder)
    ahead = [forward.clip(k, SMALL) for k in range(6)]
    behind = [backward.clip(k, SMALL) for k in reversed(range(6))][::-1]
    for first, second in zip(ahead, behind, strict=True):
        same(first, second)


def test_a_small_cache_changes_nothing(folder):
    large, small = ModelClips(folder), ModelClips(folder, cache_size=1)
    for k in range(6):
        same(large.clip(k, SMALL), small.clip(k, SMALL))
    assert len(small._scenes) == 1


def test_folders_without_models_are_refused(tmp_path, folder):
    with pytest.raises(InputError, match="is not a folder"):
        ModelClips(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no .glb or .gltf model"):
        ModelClips(tmp_path / "empty")
    with pytest.raises(InputError, match="none of 1 models can be shown"):
        ModelClips([folder / "torn.glb"]).clip(0, SMALL)


def test_mixed_clips_follow_their_weights():
    class Named:
        def __init__(self, name):
            self.name = name

        def clip(self, index, request):
            return self.name, index

    mixed = MixedClips([Named("a"), Named("b")], [3.0, 1.0], seed=1)
    drawn = [mixed.clip(k, SMALL) for k in range(2000)]
    assert [index for _, index in drawn] == list(range(2000))
    assert abs(sum(name == "a" for name, _ in drawn) / 2000 - 0.75) < 0.03
    assert drawn == [mixed.clip(k, SMALL) for k in range(2000)]


@pytest.mark.parametrize("weights", [[], [1.0], [1.0, 0.0], [1.0, -1.0]])
def test_mixed_clips_need_a_positive_weight_each(weights):
    with pytest.raises(ValueError, match="positive weight"):
        MixedClips([ProceduralClips(), ProceduralClips()], weights)


def test_contact_sheet():
    sheet = contact_sheet(ProceduralClips(), rows=2, columns=3, size_px=32, num_frames=2)
    assert sheet.shape == (64, 192, 3)
    assert sheet.dtype == np.uint8
    assert (sheet[0] == 255).all()
    tiles = sheet.reshape(2, 32, 6, 32, 3).transpose(0, 2, 1, 3, 4)
    assert (tiles < 200).any((2, 3, 4)).all()
    again = contact_sheet(ProceduralClips(), 1, 1, size_px=32, num_frames=2, first_index=4)
    np.testing.assert_array_equal(again, sheet[32:, 64:128])


def test_tracks_follow_the_surface(folder):
    """The triangles grow along y: what a pixel shows stays above the same x and z."""
    source = ModelClips([folder / "b.glb"], seed=3)
    asked = ClipRequest(size_px=24, num_frames=3, num_supervision_views=1, fps=3.0, tracks=True)
    clip = source.clip(0, asked)
    tracks = clip.tracks.astype(np.float32)
    assert tracks.shape == (3, 4, 24, 24, 3)
    shown = np.isfinite(tracks[0, ..., 0])
    assert (np.isfinite(tracks).all(-1) == shown).all()
    assert (shown == (clip.depth[0, :4] > 0)).mean() > 0.97
    change = tracks[1:, shown] - tracks[:1, shown]
    np.testing.assert_allclose(change[..., [0, 2]], 0, atol=2e-3)
    assert np.abs(change[..., 1]).max() > 0.02
    assert source.clip(0, SMALL).tracks is None
