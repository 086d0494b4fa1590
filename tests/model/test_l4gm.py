"""The whole network: shapes, frames and views of any number, training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from l4gm.model.l4gm import L4GM

FIELDS = ("means", "quats", "scales", "opacities", "colors")


@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("views", [1, 2, 3, 4, 6])
def test_frames_and_views_come_from_the_tensor(any_config, pictures, ring, frames, views):
    model = L4GM(any_config)
    with torch.inference_mode():
        g = model(pictures(2, frames, views), ring(views))
    assert g.means.shape == (2, frames, views * any_config.splat_size**2, 3)
    for name in FIELDS:
        value = getattr(g, name)
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    torch.testing.assert_close(g.quats.norm(dim=-1), torch.ones(g.quats.shape[:-1]))
    assert g.colors.min() >= 0
    assert g.colors.max() <= 1
    assert g.scales.min() > 0


def test_samples_of_a_batch_do_not_see_each_other(any_config, pictures, ring):
    model = L4GM(any_config).eval()
    images = pictures(3, 2)
    with torch.inference_mode():
        together = model(images, ring())
        for index in range(3):
            alone = model(images[index : index + 1], ring())
            torch.testing.assert_close(together.means[index], alone.means[0], atol=1e-5, rtol=1e-4)


def test_a_missing_view_is_rejected(released_config, pictures, ring):
    with pytest.raises(ValueError, match="present"):
        L4GM(released_config)(pictures(), ring(), torch.tensor([True, False, True, True]))


def test_what_other_networks_are_told_has_no_influence(released_config, pictures, ring):
    model = L4GM(released_config).eval()
    images = pictures(2, 3)
    with torch.inference_mode():
        told = model(images, ring(), alpha=images[:, :, :, 0], first=images[:, 1, 0])
        untold = model(images, ring())
    for name in FIELDS:
        assert torch.equal(getattr(told, name), getattr(untold, name))


def test_all_views_present_is_the_same_as_not_saying(any_config, pictures, ring):
    model = L4GM(any_config).eval()
    images = pictures(2)
    everything = torch.ones(2, 4, dtype=torch.bool)
    with torch.inference_mode():
        said, unsaid = model(images, ring(), everything), model(images, ring())
    for name in FIELDS:
        assert torch.equal(getattr(said, name), getattr(unsaid, name))


def test_without_temporal_attention_frames_are_independent(released_config, pictures, ring):
    images = pictures(1, 3)
    for temporal in (False, True):
        model = L4GM(replace(released_config, temporal_attention=temporal)).eval()
        with torch.inference_mode():
            together, alone = model(images, ring()), model(images[:, 1:2], ring())
        same = torch.allclose(together.means[0, 1], alone.means[0, 0], atol=1e-5)
        assert same == (not temporal)


def test_every_weight_gets_a_gradient(any_config, pictures, ring):
    model = L4GM(any_config)
    g = model(pictures(1, 2), ring())
    loss = sum((getattr(g, name) * torch.randn_like(getattr(g, name))).sum() for name in FIELDS)
    loss.backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []


def test_training_steps_lower_a_loss(released_config, pictures, ring):
    model = L4GM(released_config).to(memory_format=torch.channels_last)
    images, cameras = pictures(), ring()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for _ in range(15):
        loss = (model(images, cameras).colors - 0.2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.8 * values[0]


def test_channels_last_gives_the_same(any_config, pictures, ring):
    model = L4GM(any_config).eval()
    images = pictures(1, 2)
    with torch.inference_mode():
        plain = model(images, ring()).means
        rearranged = model.to(memory_format=torch.channels_last)(images, ring()).means
    torch.testing.assert_close(plain, rearranged, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("train", [False, True])
def test_autocast_stays_close_and_ends_in_float32(any_config, pictures, ring, train):
    model = L4GM(any_config)
    images = pictures(1, 2)
    with torch.set_grad_enabled(train):
        exact = model(images, ring())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(images, ring())
    assert rough.means.dtype == torch.float32
    assert (rough.means - exact.means).norm() / exact.means.norm() < 0.03
    if train:
        rough.means.sum().backward()


def test_weights_and_images_in_bfloat16(any_config, pictures, ring):
    images = pictures()
    model = L4GM(any_config).to(torch.bfloat16)
    with torch.inference_mode():
        g = model(images.to(torch.bfloat16), ring())
    assert g.means.dtype == torch.float32
    assert g.means.isfinite().all()


def test_half_size_works_on_a_coarser_grid(any_config, pictures, ring):
    model = L4GM(any_config)
    with torch.inference_mode():
        g = model(pictures(size=8), ring(size=8), input_size=8)
    assert g.num_gaussians == 4 * (any_config.splat_size // 2) ** 2
    with pytest.raises(ValueError, match="input_size"):
        model(pictures(), ring(), input_size=10)
