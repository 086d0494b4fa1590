"""Loss and gradients of one step of the paper's recipe against the formulas in float64."""

import copy
import dataclasses

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.model.config import L4GMConfig
from l4gm.model.head import to_tokens
from l4gm.model.l4gm import L4GM
from l4gm.perceptual.lpips import Lpips
from l4gm.perceptual.published import MissingWeightsError
from l4gm.splat.render import render
from l4gm.train import losses as losses_module
from l4gm.train.batches import BatchSampler
from l4gm.train.config import Stage
from l4gm.train.losses import Objective, perceptual_error
from l4gm.train.presets import big_preset


def small_big():
    """The `big` recipe for a network of the released kind that a test can afford."""
    model = L4GMConfig(
        input_size=32,
        down_channels=(32, 64),
        down_attention=(False, True),
        mid_attention=True,
        up_channels=(64,),
        up_attention=(True,),
        temporal_attention=True,
    )
    stage = Stage(
        steps=1, size_px=32, num_frames=2, num_clips=4, keep_clips=False, learning_rate=4e-4,
    )  # fmt: skip
    return dataclasses.replace(
        big_preset(), model=model, stages=(stage,), frames_per_clip=2, precision="float32"
    )


def random_lpips():
    """LPIPS with random weights, smooth: at kinks and ties of flat areas, rounding would decide."""
    torch.manual_seed(5)
    lpips = Lpips("vgg").eval()
    for index, part in enumerate(lpips.features):
        if isinstance(part, torch.nn.ReLU):
            lpips.features[index] = torch.nn.Softplus()
        elif isinstance(part, torch.nn.MaxPool2d):
            lpips.features[index] = torch.nn.AvgPool2d(2)
        else:
            torch.nn.init.kaiming_normal_(part.weight)
    return lpips.requires_grad_(False)


def plain_loss(model, lpips, batch, size):
    """The paper's formulas, written out in float64: section 4.1 activations, 4.3 losses."""
    frames, views = batch.images.shape[1:3]
    channels = model.prepare(batch.images, batch.cameras, input_size=size)
    maps = model.features(channels, frames, views)
    means, opacity, scales, quats, colors = to_tokens(maps, len(batch.images), frames).split(
        [3, 1, 3, 4, 3], -1
    )
    gaussians = Gaussians(
        means=means.clamp(-1, 1),
        quats=quats / quats.norm(dim=-1, keepdim=True),
        scales=0.1 * torch.log1p(scales.exp()),
        opacities=1 / (1 + (-opacity[..., 0]).exp()),
        colors=0.5 * colors.tanh() + 0.5,
    )
    cameras = batch.target_cameras.to(torch.float64)
    out = render(gaussians, cameras, backend="reference")
    image, truth = out.image, batch.target_image.double()
    distance = torch.stack(
        [
            lpips(image[b, t, s], truth[b, t, s])
            for b in range(image.shape[0])
            for t in range(image.shape[1])
            for s in range(image.shape[2])
        ]
    )
    alpha = batch.target_alpha.double()
    return ((image - truth) ** 2).mean() + ((out.alpha - alpha) ** 2).mean() + distance.mean()


def test_loss_and_gradients_of_a_big_step_are_those_of_the_formulas(discs):
    config = small_big()
    batch = BatchSampler(config, 0, discs).batch(0)
    torch.manual_seed(0)
    model = L4GM(config.model)
    exact, lpips = copy.deepcopy(model).double(), random_lpips()

    gaussians = model(batch.images, batch.cameras, input_size=32)
    out = render(gaussians, batch.target_cameras)
    terms = Objective(config, lpips)(batch, out)
    terms["loss"].backward()
    expected = plain_loss(exact, copy.deepcopy(lpips).double(), batch, 32)
    expected.backward()

    assert set(terms) == {"loss", "rgb", "alpha", "lpips"}
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    mine = torch.cat([p.grad.flatten().double() for p in model.parameters()])
    theirs = torch.cat([p.grad.flatten() for p in exact.parameters()])
    assert theirs.norm() > 0
    assert (mine - theirs).norm() / theirs.norm() < 1e-4


def test_large_pictures_are_shrunk_before_they_are_judged():
    seen = []

    def judge(prediction, target):
        seen.append(prediction.shape)
        return (prediction - target).square().mean((1, 2, 3))

    picture = torch.rand(1, 2, 3, 300, 300)
    assert perceptual_error(judge, picture, picture).item() == 0
    perceptual_error(judge, picture[..., :64, :64], picture[..., :64, :64])
    assert seen == [(2, 3, 256, 256), (2, 3, 64, 64)]


def test_without_its_weights_lpips_is_replaced_by_structure_and_the_log_says_so(
    discs, monkeypatch, caplog
):
    def missing(backbone, device):
        raise MissingWeightsError("weights missing: vgg16")

    monkeypatch.setattr(losses_module, "load_lpips", missing)
    config = small_big()
    objective = Objective.load(config, torch.device("cpu"))
    assert objective.lpips is None
    assert "1 - SSIM takes its place: weights missing: vgg16" in caplog.text
    batch = BatchSampler(config, 0, discs).batch(0)
    gaussians = L4GM(config.model)(batch.images, batch.cameras)
    terms = objective(batch, render(gaussians, batch.target_cameras))
    assert set(terms) == {"loss", "rgb", "alpha", "structure"}
    total = terms["rgb"] + terms["alpha"] + terms["structure"]
    torch.testing.assert_close(terms["loss"], total)
