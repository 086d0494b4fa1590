import dataclasses

import pytest
import torch

from l4gm.train.batches import BatchSampler, copy_first_frame_views, with_alpha
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
    plain = debug_preset()
    changed = dataclasses.replace(plain, distortion_probability=1.0, jitter_probability=1.0)
    before, after = (BatchSampler(c, 1, discs).batch(0) for c in (plain, changed))
    assert torch.equal(before.images[:, :, 0], after.images[:, :, 0])
    assert not torch.equal(before.images[:, :, 1], after.images[:, :, 1])
    assert torch.equal(after.images[:, 0, 1:], after.images[:, 1, 1:])  # alike at all times
    poses = [batch.cameras.world_from_camera for batch in (before, after)]
    assert torch.equal(poses[0][:, :, 0], poses[1][:, :, 0])
    assert (poses[0][:, :, 1:] - poses[1][:, :, 1:]).abs().amax((-2, -1)).min() > 1e-3
    assert torch.equal(before.target_image, after.target_image)


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
