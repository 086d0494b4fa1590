"""What the motion network is shown, what it is asked for, and what comes of it."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from l4gm.data.clip import Clip, ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.errors import InputError
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.l4gm import L4GM
from l4gm.model.motion import HALF_WIDTH, Motion, MotionNet
from l4gm.model.own_weights import MOTION
from l4gm.model.weights import save_weights
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.train.config import Stage
from l4gm.train.motion import (
    MotionSampler,
    clip_moves,
    mirrored,
    motion_error,
    motion_loss,
    score_motion,
    seen_from,
    summarize_motion,
)
from l4gm.train.presets import debug_motion_preset, debug_preset
from l4gm.train.tasks import MotionTask
from l4gm.train.trainer import RunOptions, Trainer


class SlidingDiscs:
    """Discs that face all four cameras and slide by the clip's own step a frame, in space."""

    step = (0.02, -0.03, 0.01)

    def clip(self, index: int, request: ClipRequest) -> Clip:
        size, frames = request.size_px, request.num_frames
        y, x = np.mgrid[:size, :size] / size - 0.5
        disc = x**2 + y**2 < 0.08
        images = np.zeros((frames, 4, size, size, 4), np.uint8)
        images[..., :3] = np.random.default_rng(index).integers(0, 255, 3)
        images[..., 3] = 255 * disc
        images[..., 1] = np.arange(frames)[:, None, None, None]
        images[..., 2] = np.arange(4)[:, None, None]
        start = np.where(disc[..., None], 0.1, np.nan)
        slide = np.arange(frames)[:, None] * np.array(self.step)
        tracks = (start[None, None] + slide[:, None, None, None]).repeat(4, 1).astype(np.float16)
        cameras = orbit_cameras(np.arange(4) * 90.0, size=size)
        return Clip(images, cameras, request.fps, tracks=tracks, name=str(index))


def start_motion(folder, *, resume=False, validation=None, config=None, **options):
    config = config or debug_motion_preset()
    run = RunOptions(folder=folder, log_every=1, **options)
    return Trainer.start(
        config, run, MotionTask(config, SlidingDiscs(), validation, 1), resume=resume
    )


def test_moves_are_along_each_cameras_axes_after_a_third_of_the_time():
    clip = SlidingDiscs().clip(0, ClipRequest(size_px=16, num_frames=7))
    moves = clip_moves(clip, 2).astype(np.float32)
    assert moves.shape == (2, 4, 5, 8, 8)
    assert np.isnan(moves[0, 0, :, 0, 0]).all()
    x, y, z = SlidingDiscs.step  # world: right, up, towards camera 0
    expected = [(x, -y, -z), (-z, -y, -x), (-x, -y, z), (z, -y, x)]
    for view, move in enumerate(expected):
        np.testing.assert_allclose(moves[0, view, :3, 4, 4], move, atol=1e-3)
        np.testing.assert_allclose(moves[1, view, :3, 4, 4], 2 * np.array(move), atol=2e-3)


def test_the_flow_is_where_the_projection_says():
    clip = SlidingDiscs().clip(0, ClipRequest(size_px=16, num_frames=4))
    start = torch.from_numpy(clip.tracks[:, :, 8, 8]).float()  # [T, 4, 3]
    for view in range(4):
        pose, camera = clip.cameras.camera_from_world[view], clip.cameras.intrinsics[view]
        seen = (start[[0, 3], view] @ pose[:3, :3].T + pose[:3, 3]) @ camera.T
        pixels = seen[:, :2] / seen[:, 2:]
        flow = (pixels[1] - pixels[0]) / 8  # half pictures
        given = clip_moves(clip, 2)[0, view, 3:, 4, 4].astype(np.float32)
        np.testing.assert_allclose(given, flow, atol=2e-3)


def test_moved_points_are_where_a_later_picture_shows_them():
    """On real renderings: what a pixel shows, moved, has the right colour in the fourth frame."""
    request = ClipRequest(size_px=64, num_frames=10, fps=24.0, num_supervision_views=0, tracks=True)
    clip = ProceduralClips(seed=3).clip(1, request)
    camera = clip.cameras[:1]
    moves = torch.from_numpy(clip_moves(clip, 1)[2, 0, :3]).float()  # after 3 of 9 frames
    start = torch.from_numpy(clip.tracks[0, 0]).float()
    offsets = moves.permute(1, 2, 0) @ camera.world_from_camera[0, :3, :3].T
    points = (start + offsets).reshape(-1, 3)
    pose = camera.camera_from_world[0]
    seen = (points @ pose[:3, :3].T + pose[:3, 3]) @ camera.intrinsics[0].T
    pixels = seen[:, :2] / seen[:, 2:]
    shown = clip.images[3, 0].astype(np.float32)
    first = clip.images[0, 0].astype(np.float32).reshape(-1, 4)
    known = start.isfinite().all(-1).flatten().numpy() & (first[:, 3] == 255)
    column, row = pixels.nan_to_num().floor().long().clamp(0, 63).T.numpy()
    still = np.abs(clip.images[3, 0].reshape(-1, 4)[known] - first[known]).mean()
    followed = np.abs(shown[row, column][known] - first[known]).mean()
    assert known.sum() > 200
    assert followed < 0.5 * still


def test_mirrored_worlds_move_the_other_way():
    generator = np.random.default_rng(0)
    pair = generator.integers(0, 255, (2, 8, 8, 4), np.uint8)
    moves = generator.random((5, 4, 4)).astype(np.float16)
    turned_pair, turned = mirrored(pair, moves)
    assert np.array_equal(turned_pair[1, :, 0], pair[1, :, -1])
    for part, sign in enumerate((-1, 1, 1, -1, 1)):
        assert np.array_equal(turned[part, :, 0], sign * moves[part, :, -1])
    back = mirrored(turned_pair, turned)
    assert np.array_equal(back[0], pair)
    assert np.array_equal(back[1], moves)


def test_a_sample_is_the_first_picture_and_a_later_one_of_one_camera():
    config = dataclasses.replace(debug_motion_preset(), frames_per_clip=7)
    sampler = MotionSampler(config, 0, SlidingDiscs())
    seen = set()
    for step in range(60):
        batch = sampler.batch(step)
        assert batch.here.shape == batch.there.shape == (2, 4, 16, 16)
        assert batch.moves.shape == (2, 5, 8, 8)
        for here, there, moves in zip(batch.here, batch.there, batch.moves, strict=True):
            (_, frame, view), (_, later, same) = (
                (255 * picture[:3, 8, 8]).round().int().tolist() for picture in (here, there)
            )
            assert frame == 0
            assert same == view
            down = moves[1, 4, 4].item()
            assert down == pytest.approx(0.03 * later / 3, abs=1e-3)
            seen.add((later, view, moves[0, 4, 4].item() > 0))
    assert {(later, view) for later, view, _ in seen} == {(t, v) for t in (3, 6) for v in range(4)}
    assert len(seen) == 16  # and either way round


def test_a_batch_depends_on_seed_stage_and_step_alone():
    first, second = (MotionSampler(debug_motion_preset(), 0, SlidingDiscs()) for _ in range(2))
    second.batch(0)  # another history
    for step in (2, 0, 3):
        assert torch.equal(first.batch(step).here, second.batch(step).here)
    parts = [first.batch(3, part, 2).there for part in (0, 1)]
    assert torch.equal(torch.cat(parts), first.batch(3).there)


def test_clips_that_do_not_know_are_refused(discs):
    with pytest.raises(InputError, match="does not know where its surface moves"):
        MotionSampler(debug_motion_preset(), 0, discs).batch(0)


def test_the_error_is_a_distance_over_what_is_known():
    moves = torch.full((2, 3, 4, 4), torch.nan)
    moves[0, :, 1, 1] = torch.tensor([0.0, 3.0, 4.0])
    moves[1, :, :2] = 0
    assert motion_error(torch.zeros_like(moves), moves) == pytest.approx(2.5)
    stage = debug_motion_preset().stages[0]
    batch = MotionSampler(debug_motion_preset(), 0, SlidingDiscs()).batch(0)
    moves, flow = batch.moves.split([3, 2], 1)
    exact = Motion(moves.nan_to_num(), F.avg_pool2d(flow.nan_to_num(), 2))
    known = flow.isfinite().all(1)
    inner = F.avg_pool2d(known[:, None].float(), 2) == 1
    terms = motion_loss(lambda here, there, input_size: exact, stage, batch)
    assert inner.any()
    assert terms["motion"] < 0.0025  # the smoothing alone
    assert terms["loss"] == pytest.approx((terms["motion"] + 0.3 * terms["flow"]).item())
    assert terms["still"] == pytest.approx(float(np.linalg.norm(SlidingDiscs.step)), abs=1e-3)


def test_any_size_of_picture_and_of_network():
    network = MotionNet(debug_motion_preset().model)
    motion = network(torch.rand(2, 4, 50, 50), torch.rand(2, 4, 50, 50))
    assert motion.moves.shape == (2, 3, 16, 16)
    assert motion.flow.shape == (2, 2, 8, 8)
    small = network(*torch.rand(2, 1, 4, 16, 16), input_size=16)
    assert small.moves.shape == (1, 3, 8, 8)
    clip = SlidingDiscs().clip(0, ClipRequest(size_px=32, num_frames=4))
    scores = summarize_motion([score_motion(network, clip)])
    assert scores["error_still"] == pytest.approx(37.4, abs=1)


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cpu", torch.bfloat16),
        pytest.param("cuda", torch.bfloat16, marks=[pytest.mark.gpu, NEEDS_CUDA]),
        pytest.param("cuda", torch.float16, marks=[pytest.mark.gpu, NEEDS_CUDA]),
    ],
)
def test_half_precision_is_close(device, dtype):
    torch.manual_seed(0)
    network = MotionNet(debug_motion_preset().model).to(device)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.1)
    pictures = torch.rand(2, 1, 4, 32, 32, device=device)
    with torch.inference_mode():
        exact = network(*pictures)
        rough = network.to(dtype)(*pictures)
    assert rough.moves.dtype == torch.float32
    torch.testing.assert_close(rough.moves, exact.moves, atol=5e-3, rtol=0)


def test_before_training_the_moves_are_a_third_of_the_flow():
    network = MotionNet(debug_motion_preset().model)
    motion = network(*torch.rand(2, 1, 4, 32, 32))
    assert motion.flow.abs().max() > 0.1
    assert not motion.moves[:, 2].any()  # towards the camera
    expected = F.interpolate(motion.flow * HALF_WIDTH / 3, (16, 16), mode="bilinear")
    torch.testing.assert_close(motion.moves[:, :2], expected)


def test_matches_follow_a_shifted_picture():
    """With places that are compared by what they show, the flow is the shift."""
    network = MotionNet(debug_motion_preset().model)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(1, 32, 11, 8, generator=generator)  # each column of places its own
    here, there = codes[..., 2:10, :].clone(), codes[..., :8, :].clone()
    features = torch.cat([here, there]) * 20
    network._run = lambda unet, inputs, grid: features.repeat_interleave(2, -1).repeat_interleave(
        2, -2
    )
    flow, certainty = network._match(torch.zeros(1, 2, 4, 32, 32))
    torch.testing.assert_close(flow[0, 1, :6], torch.full((6, 8), 0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(flow[0, 0, :6], torch.zeros(6, 8), atol=1e-4, rtol=0)
    assert certainty[0, 0, :6].min() > 0.99


def test_points_seen_from_cameras():
    cameras = orbit_cameras([0.0, 30.0, 200.0], 20.0, size=8)
    seen = seen_from(torch.zeros(2, 3, 4, 4, 3), cameras)
    expected = torch.tensor([0.0, 0, 1.5]).expand_as(seen)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)


def test_training_finds_a_motion_that_is_always_the_same(tmp_path):
    stage = Stage(steps=60, size_px=16, num_clips=1, warmup_steps=5, learning_rate=1e-2)
    config = dataclasses.replace(debug_motion_preset(), stages=(stage,))
    seen = []
    trainer = start_motion(tmp_path, config=config)
    trainer.on_step = lambda step, values: seen.append(values["loss"])
    trainer.run()
    assert np.mean(seen[-10:]) < 0.7 * np.mean(seen[:3])  # mirrored or not, it cannot tell


def test_a_run_ends_in_weights_that_the_pipeline_takes_from_a_model_folder(tmp_path):
    path = start_motion(tmp_path, validation=SlidingDiscs()).run()
    assert path == tmp_path / "motion.safetensors"
    assert "error_motion" in (tmp_path / "log.jsonl").read_text().splitlines()[-1]
    network = MOTION.load(path)
    assert network.config == debug_motion_preset().model
    torch.manual_seed(1)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    pipeline = VideoTo4D.from_pretrained(tmp_path, device="cpu", chunk_frames=2)
    assert isinstance(pipeline.interpolation, MotionNet)
    assert len(pipeline(torch.rand(3, 3, 32, 32)).gaussians.means) == 7


def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(tmp_path):
    whole = start_motion(tmp_path / "whole")
    whole.run()
    first = start_motion(tmp_path / "cut")
    first.on_step = lambda step, values: step == 5 and os.kill(os.getpid(), signal.SIGTERM)
    assert first.run() is None
    second = start_motion(tmp_path / "cut", resume=True)
    assert second.step == 5
    second.run()
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, second.average.state_dict()[name]), name


def test_clips_have_whole_thirds():
    with pytest.raises(ValueError, match="4, 7, 10"):
        dataclasses.replace(debug_motion_preset(), frames_per_clip=5)
