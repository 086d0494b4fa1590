"""What the generator of views is shown and asked for, how it learns, and what a run leaves."""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch

from l4gm.errors import InputError
from l4gm.media.matte import on_white
from l4gm.model.l4gm import L4GM
from l4gm.model.own_weights import VIEWS
from l4gm.model.weights import save_weights
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.train.config import Stage
from l4gm.train.presets import debug_multiview_preset, debug_preset
from l4gm.train.views import ViewSampler, mirrored, score_views, summarize_views, view_loss


def sampler(source, **changes):
    return ViewSampler(dataclasses.replace(debug_multiview_preset(), **changes), 0, source)


def test_a_sample_is_one_moment_from_four_sides_beginning_anywhere(counting):
    views = sampler(counting)
    orders = set()
    for step in range(40):
        batch = views.batch(step)
        assert batch.image.shape == (2, 4, 3, 16, 16)
        codes = (batch.image[..., 0, 0] * 255).round().long()  # [B, 4, (clip, frame, view)]
        assert (codes[:, :, :2] == codes[:, :1, :2]).all()
        orders |= {tuple(row.tolist()) for row in codes[..., 2]}
    turned = {tuple(np.roll(range(4), -k).tolist()) for k in range(4)}
    back = {order[:1] + order[:0:-1] for order in turned}  # mirrored: 90 and 270 exchanged
    assert orders == turned | back


def test_the_mirrored_world():
    views = np.random.default_rng(0).integers(0, 255, (4, 6, 6, 4), np.uint8)
    twice = mirrored(mirrored(views))
    assert np.array_equal(twice, views)
    assert np.array_equal(mirrored(views)[1], views[3, :, ::-1])


def test_a_batch_depends_on_seed_stage_and_step_alone(counting):
    first, second = sampler(counting), sampler(counting)
    second.batch(0)  # another history
    for step in (2, 0, 5):
        assert torch.equal(first.batch(step).image, second.batch(step).image)
    parts = [first.batch(3, part, 2).image for part in (0, 1)]
    assert torch.equal(torch.cat(parts), first.batch(3).image)


def test_clips_are_rendered_once_and_without_free_views(counting):
    views = sampler(counting)
    for step in range(20):
        views.batch(step)
    assert sorted(counting.rendered) == sorted(set(counting.rendered))
    assert views.request.num_supervision_views == 0


def test_the_loss_is_that_of_pictures_and_alpha(discs):
    stage = debug_multiview_preset().stages[0]
    batch = sampler(discs).batch(0)
    truth = torch.cat([batch.image, batch.alpha], 2)[:, 1:]
    color = (truth[:, :, :3] - (1 - truth[:, :, 3:])) / truth[:, :, 3:].clamp(min=1e-6)
    exact = torch.cat([color.clamp(0, 1), truth[:, :, 3:]], 2)
    asked = []

    def network(pictures):
        asked.append(pictures)
        return exact

    assert view_loss(network, stage, batch)["loss"] < 1e-10
    assert torch.equal(asked[0], batch.image[:, 0])
    exact = exact * torch.tensor([1.0, 1, 1, 0]).reshape(4, 1, 1)  # nothing there
    terms = view_loss(network, stage, batch)
    assert terms["alpha"] == pytest.approx(batch.alpha[:, 1:].square().mean().item())
    assert terms["rgb"] == pytest.approx((1 - batch.image[:, 1:]).square().mean().item())


def test_scores_are_of_the_side_views_and_of_what_costs_nothing():
    truth = torch.rand(4, 3, 16, 16)
    truth[2] = truth[0].flip(-1)
    network = torch.nn.Module()
    network.register_parameter("place", torch.nn.Parameter(torch.zeros(1)))
    sides = torch.cat([truth[1:], torch.ones(3, 1, 16, 16)], 1)
    network.forward = lambda pictures: sides[None]
    scores, made = score_views(network, truth)
    assert torch.equal(made, truth[1:])
    assert scores["views"] == pytest.approx(100)
    assert scores["back_mirror"] == pytest.approx(100)
    assert scores["white"] < scores["front"] < scores["mirror"] < 50
    means = summarize_views([scores, scores])
    assert means["psnr_views"] == pytest.approx(100)
    assert means["gain_views"] == pytest.approx(100 - scores["mirror"])


def test_training_lowers_the_loss_of_one_batch(start_views, tmp_path):
    stage = Stage(steps=60, size_px=16, num_clips=1, warmup_steps=5, learning_rate=1e-2)
    config = dataclasses.replace(debug_multiview_preset(), stages=(stage,), frames_per_clip=1)
    seen = []
    trainer = start_views(tmp_path, config=config)
    trainer.on_step = lambda step, values: seen.append(values["loss"])
    trainer.run()
    assert np.mean(seen[-10:]) < 0.2 * np.mean(seen[:3])


def test_a_run_ends_in_weights_that_the_pipeline_takes_from_a_model_folder(
    start_views, discs, tmp_path
):
    path = start_views(tmp_path, validation=discs).run()
    assert path == tmp_path / "multiview.safetensors"
    assert "gain_views" in (tmp_path / "log.jsonl").read_text().splitlines()[-1]
    assert "azimuth 90, 180, 270" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "config.json").exists()  # it would pass for the reconstruction's
    network = VIEWS.load(path)
    assert network.config == debug_multiview_preset().model

    torch.manual_seed(1)
    save_weights(L4GM(debug_preset().model), tmp_path / "recon.safetensors")
    video = on_white(network(torch.rand(1, 3, 32, 32))[0])[:, :3]
    results = []
    for seed, chunk in ((0, 2), (5, 2), (0, 3)):
        pipeline = VideoTo4D.from_pretrained(tmp_path, device="cpu", chunk_frames=chunk)
        report = PipelineReport()
        options = {"interpolate": False, "seed": seed, "report": report}
        results.append(pipeline(video, **options).gaussians.means)
        assert report.first_guess == "generated"
    assert torch.equal(results[0], results[1])
    torch.testing.assert_close(results[0], results[2], atol=1e-4, rtol=0)
    path.unlink()
    alone = VideoTo4D.from_pretrained(tmp_path, device="cpu", chunk_frames=2)
    assert alone.multiview is None
    assert not torch.equal(alone(video, interpolate=False).gaussians.means, results[0])


def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(start_views, tmp_path):
    whole = start_views(tmp_path / "whole")
    whole.run()
    for cut in (2, 4, 5):
        first = start_views(tmp_path / str(cut))
        first.on_step = lambda step, values, cut=cut: (
            step == cut and os.kill(os.getpid(), signal.SIGTERM)
        )
        assert first.run() is None
        second = start_views(tmp_path / str(cut), resume=True)
        assert second.step == cut
        second.run()
        for name, value in whole.model.state_dict().items():
            assert torch.equal(value, second.model.state_dict()[name]), name
        for name, value in whole.average.state_dict().items():
            assert torch.equal(value, second.average.state_dict()[name]), name


def test_saving_memory_changes_nothing(start_views, tmp_path):
    stage = Stage(steps=3, size_px=16, batch_size=4, num_clips=4, warmup_steps=2)
    config = dataclasses.replace(debug_multiview_preset(), stages=(stage,))
    plain = start_views(tmp_path / "plain", config=config)
    parts = start_views(tmp_path / "parts", config=config, micro_batches=4)
    again = start_views(tmp_path / "again", config=config, checkpoint_activations=True)
    for trainer in (plain, parts, again):
        trainer.run()
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)
        assert torch.equal(again.model.state_dict()[name], value), name


def test_checkpoints_of_the_other_networks_are_refused(start, start_views, tmp_path):
    start(tmp_path, max_minutes=0).run()
    with pytest.raises(InputError, match="another network \\(reconstruction\\)"):
        start_views(tmp_path, resume=True)


def test_a_network_of_the_other_kind_is_a_mistake():
    with pytest.raises(ValueError, match="multiview network has a SideViewConfig"):
        dataclasses.replace(debug_preset(), network="multiview")
