import dataclasses

import numpy as np
import pytest
import torch

from l4gm.data.clip import Clip, ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.geometry.cameras import orbit_cameras
from l4gm.train.batches import (
    BatchSampler,
    copy_first_frame_views,
    draw_present,
    is_alpha_told,
    surface_points,
    with_alpha,
)
from l4gm.train.config import position_after
from l4gm.train.presets import debug_preset


def test_a_batch_depends_on_seed_stage_and_step_alone(counting):
    config = debug_preset()
    first = BatchSampler(config, 1, counting)
    second = BatchSampler(config, 1, counting)
    second.batch(0)  # another history
    for step in (2, 0, 5):
        a, b = first.batch(step), second.batch(step)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.present, b.present)
    steps = {
        tuple(first.batch(step).images[0, :, :, 0, 0, 0].flatten().tolist()) for step in range(12)
    }
    assert len(steps) > 3  # and different steps draw different clips


def test_views_and_frames_land_where_the_network_expects_them(counting):
    config = debug_preset()
    batch = BatchSampler(config, 1, counting).batch(0)
    frame = (batch.images[:, :, :, 1, 0, 0] * 255).round()
    view = (batch.images[:, :, :, 2, 0, 0] * 255).round()
    assert view[0, 0].tolist() == [0, 1, 2, 3]
    assert (frame[0, 1:, 0] == frame[0, 0, 0] + 1).all()  # the front view moves
    assert (frame[0, 1:, 1:] == frame[0, :1, 1:]).all()  # the others stay at the first frame
    target_view = (batch.target_image[0, 0, :, 2, 0, 0] * 255).round()
    assert target_view.tolist() == [4, 5, 6, 7]
    assert batch.cameras.shape == batch.images.shape[:3]
    assert batch.target_cameras.shape == batch.target_image.shape[:3]


def test_parts_of_a_batch_are_together_the_batch(counting):
    config = debug_preset()
    stage = dataclasses.replace(config.stages[0], batch_size=6)
    sampler = BatchSampler(dataclasses.replace(config, stages=(stage,)), 0, counting)
    whole = sampler.batch(3)
    parts = [sampler.batch(3, part, 3) for part in range(3)]
    assert [len(part.images) for part in parts] == [2, 2, 2]
    joined = torch.stack([part.images for part in parts], 1).flatten(0, 1)
    assert torch.equal(joined, whole.images)


def test_clips_that_are_not_kept_are_asked_for_as_long_as_needed(counting):
    config = debug_preset()
    stage = dataclasses.replace(config.stages[0], keep_clips=False, batch_size=1, num_clips=1)
    sampler = BatchSampler(dataclasses.replace(config, stages=(stage,)), 0, counting)
    assert sampler.batch(0).images.shape[1] == sampler.request.num_frames == 1
    sampler.batch(1)
    assert counting.rendered == [0, 0]


def test_only_side_views_are_distorted_and_only_their_cameras_turned(discs):
    config = debug_preset()
    model = dataclasses.replace(config.model, head="xyz")
    plain = dataclasses.replace(config, model=model)
    changed = dataclasses.replace(plain, distortion_probability=1.0, jitter_probability=1.0)
    before, after = (BatchSampler(c, 1, discs).batch(0) for c in (plain, changed))
    assert torch.equal(before.images[:, :, 0], after.images[:, :, 0])
    assert not torch.equal(before.images[:, :, 1], after.images[:, :, 1])
    assert torch.equal(after.images[:, 0, 1:], after.images[:, 1, 1:])  # alike at all times
    poses = [batch.cameras.world_from_camera for batch in (before, after)]
    assert torch.equal(poses[0][:, :, 0], poses[1][:, :, 0])
    assert (poses[0][:, :, 1:] - poses[1][:, :, 1:]).abs().amax((-2, -1)).min() > 1e-3
    assert torch.equal(before.target_image, after.target_image)
    with pytest.raises(ValueError, match="ray head"):
        dataclasses.replace(config, jitter_probability=0.5)


def test_each_clip_is_rendered_once(counting):
    sampler = BatchSampler(debug_preset(), 0, counting)
    for step in range(20):
        sampler.batch(step)
    assert len(counting.rendered) == len(set(counting.rendered)) == 4


def test_pictures_are_on_white():
    pixel = torch.tensor([[[[200, 100, 0, 51]]]], dtype=torch.uint8)
    color, alpha = with_alpha(pixel).split([3, 1], -3)
    assert alpha.item() == pytest.approx(0.2)
    assert color.flatten().tolist() == pytest.approx(
        [200 / 255 * 0.2 + 0.8, 100 / 255 * 0.2 + 0.8, 0.8]
    )


def test_missing_views_follow_the_stated_odds():
    generator = np.random.default_rng(0)
    drawn = np.stack([draw_present(0.5, 0.6, generator, 4) for _ in range(4000)])
    assert drawn[:, 0].all()
    only_first = (drawn.sum(1) == 1).mean()
    everything = drawn.all(1).mean()
    assert only_first == pytest.approx(0.5 * (0.6 + 0.4 / 8), abs=0.03)
    assert everything == pytest.approx(0.5 + 0.5 * 0.4 / 8, abs=0.03)


def test_copy_first_frame_views_leaves_its_input_alone():
    images = torch.arange(2 * 3 * 4, dtype=torch.float32).reshape(2, 3, 4, 1, 1, 1)
    before = images.clone()
    copied = copy_first_frame_views(images)
    assert torch.equal(images, before)
    assert torch.equal(copied[:, :, 0], images[:, :, 0])
    assert torch.equal(copied[:, 2, 1:], images[:, 0, 1:])


def test_positions_cover_every_stage():
    stages = debug_preset().stages
    seen = [position_after(stages, done) for done in range(8)]
    assert [(p.stage, p.step) for p in seen] == [
        (0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (2, 0),
    ]  # fmt: skip


class SlidingSource:
    """A square that moves from frame to frame and view to view, white on transparent."""

    def clip(self, index, request):
        size, views = request.size_px, 4 + request.num_supervision_views
        images = np.zeros((request.num_frames, views, size, size, 4), np.uint8)
        images[..., :3] = 255
        for frame in range(request.num_frames):
            for view in range(views):
                images[frame, view, 4:12, 1 + frame + view : 9 + frame + view, 3] = 255
        return Clip(images, orbit_cameras(np.arange(views) * 90.0, size=size), request.fps)


def test_alpha_goes_the_way_of_the_pictures():
    config = dataclasses.replace(debug_preset(), unknown_alpha_probability=0.0)
    source = SlidingSource()
    batch = BatchSampler(config, 1, source).batch(0)
    assert (batch.images == 1).all()  # the colours alone show nothing
    shown = torch.from_numpy(source.clip(0, BatchSampler(config, 1, source).request).images)
    shown = shown[..., 3].float() / 255
    expected = copy_first_frame_views(shown[None, :, :4])
    assert torch.equal(batch.alpha, expected)


def test_alpha_of_side_views_is_distorted_with_their_colours(discs):
    config = dataclasses.replace(debug_preset(), unknown_alpha_probability=0.0)
    plain = BatchSampler(config, 1, discs).batch(0)
    changed = dataclasses.replace(config, distortion_probability=1.0)
    batch = BatchSampler(changed, 1, discs).batch(0)
    assert torch.equal(batch.alpha[:, :, 0], plain.alpha[:, :, 0])
    assert not torch.equal(batch.alpha[:, :, 1], plain.alpha[:, :, 1])
    # A disc of one colour: wherever it is moved to, colour and alpha say the same.
    color = plain.images[0, 0, 0, :, 16, 16].view(3, 1, 1)
    alpha = batch.alpha[:, :, :, None]
    torch.testing.assert_close(batch.images, color * alpha + 1 - alpha, atol=1e-5, rtol=0)


def test_the_stated_share_of_the_steps_is_not_told_alpha(discs):
    config = debug_preset()
    told = np.array([is_alpha_told(config, 0, step) for step in range(2000)])
    assert told.mean() == pytest.approx(1 - config.unknown_alpha_probability, abs=0.03)
    sampler = BatchSampler(config, 0, discs)
    for step in range(8):
        for part in range(2):  # all parts of a batch alike
            assert (sampler.batch(step, part, 2).alpha is not None) == told[step]
    # Independent of which clip is drawn first: one stream of random numbers must not serve both.
    picks = [
        int(np.random.default_rng([config.seed, 0, step, 0]).integers(0, 4)) for step in range(2000)
    ]
    shares = [told[np.array(picks) == pick].mean() for pick in range(4)]
    assert max(shares) - min(shares) < 0.12


@pytest.fixture(scope="module")
def tracked():
    """A procedural object that moves, and where what its views show goes."""
    return ProceduralClips().clip(3, ClipRequest(size_px=32, num_frames=3, fps=2.0, tracks=True))


def test_old_side_views_are_followed_where_the_network_can(tracked):
    surface = surface_points(tracked, slice(0, 3), sides_move=True)
    assert surface.shape == (3, 4, 32, 32, 3)
    tracks = torch.from_numpy(tracked.tracks).float()
    torch.testing.assert_close(surface[1:, 1:], tracks[1:, 1:], equal_nan=True)
    # In the first frame both say the same, but for the outline and for half precision.
    both = surface[0].isfinite() & tracks[0].isfinite()
    assert both[..., 0].sum() > 0.9 * tracks[0, ..., 0].isfinite().sum()
    assert (surface[0] - tracks[0])[both].abs().median() < 2e-3
    # The front view moves: its pixels show another surface at every time.
    shown = torch.from_numpy(tracked.depth[:, 0]) > 0
    assert torch.equal(surface[:, 0].isfinite().all(-1), shown)


def test_points_at_depth_project_to_their_pixels(tracked):
    surface = surface_points(tracked, slice(1, 2), sides_move=False)[0]
    for view in range(4):
        camera = tracked.cameras[view]
        pose, matrix = camera.camera_from_world, camera.intrinsics
        seen = torch.from_numpy(tracked.depth[1, view]) > 0
        points = surface[view][seen] @ pose[:3, :3].T + pose[:3, 3]
        places = (points @ matrix.T)[:, :2] / points[:, 2:]
        rows, columns = seen.nonzero().unbind(1)
        expected = torch.stack([columns, rows], 1) + 0.5
        torch.testing.assert_close(places, expected, atol=1e-3, rtol=0)


def test_where_old_views_are_not_followed_they_say_nothing_of_later_times(tracked):
    late = surface_points(tracked, slice(1, 3), sides_move=True)
    assert late[0].isfinite().any((1, 2, 3)).all()
    assert late[1, 0].isfinite().any()
    assert late[1, 1:].isnan().all()
    untracked = dataclasses.replace(tracked, tracks=None)
    assert surface_points(untracked, slice(0, 3), sides_move=True)[1:, 1:].isnan().all()
    assert surface_points(dataclasses.replace(tracked, depth=None), slice(0, 3), True) is None


def test_tracks_are_asked_for_where_the_network_follows_them():
    config = debug_preset()
    follows = dataclasses.replace(config.model, ray_offset=True)
    config = dataclasses.replace(config, model=follows)
    source = ProceduralClips()
    assert not BatchSampler(config, 0, source).request.tracks  # T = 1: nothing gets old
    sampler = BatchSampler(config, 1, source)
    assert sampler.request.tracks
    assert sampler.batch(0).surface[:, 1, 1:].isfinite().any()


class CountingGenerator:
    """Views that are plain green, cyan and yellow squares in the middle, at 256 px."""

    colors = ((0.0, 1.0, 0.0), (0.0, 1.0, 1.0), (1.0, 1.0, 0.0))

    def __init__(self):
        self.shown = []

    def __call__(self, image, *, elevation=0.0, seed=0):
        self.shown.append(image)
        views = torch.ones(4, 3, 256, 256)
        for view, color in enumerate(self.colors, 1):
            views[view, :, 64:192, 64:192] = torch.tensor(color)[:, None, None]
        return views


def with_generated_views(share, **stage):
    config = dataclasses.replace(debug_preset(), unknown_alpha_probability=0.0)
    changes = {"generated_view_probability": share, "missing_view_probability": 0.5} | stage
    stages = [dataclasses.replace(one, **changes) for one in config.stages]
    return dataclasses.replace(config, stages=tuple(stages))


def test_generated_views_take_the_place_of_true_ones(discs):
    generator = CountingGenerator()
    config = with_generated_views(1.0)
    batch = BatchSampler(config, 1, discs, generator).batch(0)
    plain = BatchSampler(dataclasses.replace(with_generated_views(0.0)), 1, discs).batch(0)
    assert batch.present.all()  # as of a user's video: none is withheld
    assert torch.equal(batch.images[:, :, 0], plain.images[:, :, 0])
    assert torch.equal(batch.target_image, plain.target_image)
    assert torch.equal(generator.shown[0], plain.images[0, 0, 0])  # the first of the sample
    for view, color in enumerate(generator.colors, 1):
        assert batch.images[0, :, view, :, 16, 16].tolist() == [list(color)] * 2
        assert batch.alpha[0, :, view, 16, 16].tolist() == [1.0, 1.0]
        assert (batch.images[0, :, view, :, 0, 0] == 1).all()
        assert (batch.alpha[0, :, view, 0, 0] == 0).all()
    # The surface is the true one, of pixels that show the object.
    shown = batch.surface.isfinite().all(-1)
    assert torch.equal(shown[:, :, 0], plain.surface.isfinite().all(-1)[:, :, 0])
    assert shown[:, 0, 1:].any()
    assert not (shown & (batch.alpha < 0.5))[:, :, 1:].any()


def test_views_are_generated_once_and_for_the_stated_share(discs):
    generator = CountingGenerator()
    sampler = BatchSampler(with_generated_views(0.4), 0, discs, generator)
    plain = BatchSampler(with_generated_views(0.0), 0, discs)
    count = 0
    for step in range(100):
        batch, before = sampler.batch(step), plain.batch(step)
        for index in range(2):
            made = batch.images[index, 0, 1, :, 8, 8].tolist() == [0.0, 1.0, 0.0]
            count += made
            if not made:  # all else is what it was
                assert torch.equal(batch.images[index], before.images[index])
                assert torch.equal(batch.present[index], before.present[index])
    assert 0.25 < count / 200 < 0.55
    assert len(generator.shown) <= 4 * 2  # the stage's clips times where they may begin
    fresh = BatchSampler(with_generated_views(0.4), 0, discs, generator)
    assert torch.equal(fresh.batch(7).images, sampler.batch(7).images)


def test_generated_views_want_a_generator(discs):
    with pytest.raises(ValueError, match="no generator"):
        BatchSampler(with_generated_views(0.4), 0, discs)
