"""What the interpolation network is shown, what it is asked for, and how it is judged."""

import dataclasses
import os
import signal

import pytest
import torch

from l4gm.data.clip import ClipRequest
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import clip_images
from l4gm.gaussians.types import Gaussians
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.pipeline.chunks import ChunkState, reconstruct_chunk
from l4gm.pipeline.rig import InputRig
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.train.config import Stage
from l4gm.train.interpolation import (
    PairSampler,
    blend_gaussians,
    interpolate_clip,
    summarize_interpolation,
)
from l4gm.train.presets import debug_interpolation_preset


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return L4GM(debug_interpolation_preset().model).eval()


def sampler(source, network, **changes):
    return PairSampler(
        dataclasses.replace(debug_interpolation_preset(), **changes), 0, source, network
    )


def codes(pictures, channel):
    """The number that `CountingSource` wrote into a channel of each picture."""
    return pictures[..., channel, 0, 0] * 255


def test_a_sample_is_a_pair_with_blends_between_and_the_truth_of_all_four_steps(counting, network):
    pairs = sampler(counting, network, true_views_probability=1.0)
    starts = set()
    for step in range(8):
        batch = pairs.batch(step)
        assert batch.images.shape == (2, 4, 4, 3, 32, 32)
        first = codes(batch.images, 1)[:, 0, 0].round()
        starts |= set(first.tolist())
        frames = first[:, None] + torch.arange(4)
        for view in range(4):  # steps 1 and 2 are blends: their frame number is between
            torch.testing.assert_close(codes(batch.images, 1)[:, :, view], frames)
        torch.testing.assert_close(codes(batch.images, 2)[0, 1], torch.arange(4.0))
        torch.testing.assert_close(codes(batch.target_image, 1)[:, :, 2], frames)
        torch.testing.assert_close(codes(batch.target_image, 2)[0, 1], torch.arange(4.0, 8.0))
        assert batch.target_cameras.shape == batch.target_image.shape[:3]
    assert starts == {0, 3}


def test_side_views_are_drawn_from_the_reconstruction_as_the_pipeline_does(discs, network):
    stage = Stage(steps=1, size_px=32, num_frames=4, num_clips=1)
    pairs = sampler(discs, network, stages=(stage,), true_views_probability=0.0)
    pictures = clip_images(discs.clip(0, pairs.request))[::3, :4]
    rig = InputRig(size=32)
    gaussians, _ = reconstruct_chunk(network, rig, ChunkState(pictures[0]), pictures[:, 0], 3)
    drawn = InputRig().draw_sides(gaussians).flatten(0, 1)
    expected = torch.nn.functional.interpolate(drawn, (32, 32), mode="bilinear")
    sides = pairs.clip(0).drawn_sides.flatten(0, 1) / 255
    torch.testing.assert_close(sides, expected, atol=0.6 / 255, rtol=0)
    images = pairs.batch(0).images
    first, last = images[0, 0, 1:], images[0, 3, 1:]
    assert any(torch.equal(first, part) for part in sides.split(3)[:2])
    assert any(torch.equal(last, part) for part in sides.split(3)[1:])


def test_a_batch_depends_on_seed_stage_and_step_alone(counting, network):
    first, second = sampler(counting, network), sampler(counting, network)
    second.batch(0)  # another history
    for step in (2, 0, 5):
        a, b = first.batch(step), second.batch(step)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.target_image, b.target_image)


def test_clips_must_end_on_a_frame_of_the_video(counting, network):
    with pytest.raises(ValueError, match="3 k \\+ 1"):
        sampler(counting, network, frames_per_clip=6)


def test_nothing_is_lost_between_frames_of_a_still_object(discs, network):
    request = ClipRequest(size_px=32, num_frames=7, fps=24.0, num_supervision_views=2)
    clip = discs.clip(0, request)
    scores, between = interpolate_clip(network, network, clip)
    assert scores["blended"] == pytest.approx(scores["reconstructed"], abs=1e-3)
    assert scores["repeated"] == pytest.approx(scores["reconstructed"], abs=1e-3)
    assert scores["between"] == pytest.approx(scores["ends"], abs=1e-3)
    truth = clip_images(clip)[1, 4:]
    assert between.shape == truth.shape
    middle = [psnr(between, truth).mean().item(), scores["between"]]
    assert middle[0] == pytest.approx(middle[1], abs=0.5)
    found = summarize_interpolation([scores, dict.fromkeys(scores, 0.0)])
    assert found["psnr_ends"] == pytest.approx(scores["ends"] / 2)
    assert found["shortfall"] == pytest.approx((scores["reconstructed"] - scores["between"]) / 2)


def test_blended_gaussians_meet_both_ends_and_turn_the_short_way():
    quats, ones = torch.tensor([[1.0, 0, 0, 0]]), torch.ones(1, 3)
    first = Gaussians(torch.zeros(1, 3), quats, 0.1 * ones, torch.ones(1), ones)
    second = Gaussians(ones, -quats, 0.1 * ones, torch.ones(1), ones)  # the same rotation
    for share in (0.0, 1 / 3, 1.0):
        blended = blend_gaussians(first, second, share)
        assert blended.means.tolist() == [pytest.approx([share] * 3)]
        torch.testing.assert_close(blended.quats, quats)


def test_a_run_ends_in_a_model_folder_that_interpolates(start_interpolation, discs, tmp_path):
    trainer = start_interpolation(tmp_path, validation=discs)
    save_weights(trainer.task.reconstruction, tmp_path / "recon.safetensors")
    assert trainer.run() == tmp_path / "interp.safetensors"
    assert "shortfall" in (tmp_path / "log.jsonl").read_text().splitlines()[-1]
    pipeline = VideoTo4D.from_pretrained(tmp_path, device="cpu", chunk_frames=2)
    result = pipeline(torch.rand(3, 3, 32, 32), views=torch.rand(4, 3, 32, 32), align=False)
    assert len(result.gaussians.means) == 7


def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(start_interpolation, tmp_path):
    whole = start_interpolation(tmp_path / "whole")
    whole.run()
    cut = start_interpolation(tmp_path / "cut")
    cut.on_step = lambda step, values: step == 2 and os.kill(os.getpid(), signal.SIGTERM)
    assert cut.run() is None
    resumed = start_interpolation(tmp_path / "cut", resume=True)
    assert resumed.step == 2
    resumed.run()
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
