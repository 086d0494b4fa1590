"""The solid network: shapes at any T and size, what attends to what, and what views may change."""

from __future__ import annotations

import pytest
import torch

from l4gm.geometry.cameras import orbit_cameras
from l4gm.solid.config import SolidConfig
from l4gm.solid.encoder import FEATURE_CHANNELS, Encoder, folded_efficientnet
from l4gm.solid.lifting import SolidInput, project
from l4gm.solid.network import SolidNet, VolumeMaps
from l4gm.solid.volume import Frustum


def inputs(frames: int, sides: int = 0, size: int = 64, batch: int = 1) -> SolidInput:
    generator = torch.Generator().manual_seed(frames + sides)
    front = torch.rand(batch, frames, 4, size, size, generator=generator)
    frustum = Frustum(orbit_cameras([0.0], size=size)[0], 0.92, 2.08)
    if not sides:
        return SolidInput(front, None, None, None, frustum)
    cameras = orbit_cameras([90.0, 180.0, 270.0][:sides], size=32)
    images = torch.rand(batch, sides, 4, 32, 32, generator=generator)
    return SolidInput(front, images, torch.ones(batch, sides).bool(), cameras, frustum)


@torch.inference_mode()
def run(network: SolidNet, given: SolidInput) -> VolumeMaps:
    return network(given)


@pytest.mark.parametrize(("frames", "sides"), [(1, 0), (1, 3), (3, 0), (2, 1)])
def test_shapes(frames: int, sides: int, network: SolidNet) -> None:
    maps = run(network, inputs(frames, sides, batch=2))
    assert maps.logits.shape == (2, frames, 8, 32, 32)
    assert maps.colors.shape == (2, frames, 3, 4, 16, 16)
    assert maps.motion.shape == (2, frames, 3, 4, 8, 8)
    assert maps.colors.min() >= 0
    assert maps.colors.max() <= 1


def test_works_at_half_size(network: SolidNet) -> None:
    assert run(network, inputs(1, 3, size=32)).logits.shape == (1, 1, 8, 16, 16)


def test_clips_of_a_batch_do_not_touch(network: SolidNet) -> None:
    given = inputs(2, 3, batch=2)
    together = run(network, given)
    alone = run(
        network,
        SolidInput(
            given.front[1:], given.sides[1:], given.present[1:], given.side_cameras, given.frustum
        ),
    )
    assert torch.allclose(together.logits[1:], alone.logits, atol=1e-4)


def test_frames_see_each_other(network: SolidNet) -> None:
    """Temporal attention: another third frame changes the second."""
    given = inputs(3)
    changed = given.front.clone()
    changed[:, 2] = 1 - changed[:, 2]
    other = SolidInput(changed, None, None, None, given.frustum)
    assert not torch.allclose(run(network, given).logits[:, 1], run(network, other).logits[:, 1])


def test_absent_views_have_no_influence(network: SolidNet) -> None:
    given = inputs(2, 3)
    present = torch.tensor([[True, False, True]])
    images = given.sides.clone()
    images[:, 1] = 1 - images[:, 1]
    first, second = (
        run(network, SolidInput(given.front, sides, present, given.side_cameras, given.frustum))
        for sides in (given.sides, images)
    )
    assert torch.equal(first.logits, second.logits)
    full = run(
        network, SolidInput(given.front, images, given.present, given.side_cameras, given.frustum)
    )
    assert not torch.allclose(first.logits, full.logits)


def test_outlines_of_the_sides_empty_what_they_do_not_cover(network: SolidNet) -> None:
    """A side view that shows nothing at all lowers every logit."""
    given = inputs(1, 1)
    covered = given.sides.clone()
    covered[:, :, 3] = 1
    empty = covered.clone()
    empty[:, :, 3] = 0
    bias = []
    for images in (covered, empty):
        votes = network.silhouettes.votes(
            SolidInput(given.front, images, given.present, given.side_cameras, given.frustum),
            torch.zeros(1, 1, 3, 4, 8, 8),
        )
        bias.append(network.silhouettes(torch.zeros(1, 8, 16, 16), votes)[1])
    assert bias[1].max() < -0.5
    inner = bias[0][..., 5:11, 5:11]
    assert inner.abs().max() < 1e-4


def test_nothing_moves_at_the_reference_moment(network: SolidNet) -> None:
    assert not run(network, inputs(1, 3)).motion.any()


def test_projection_is_that_of_the_camera() -> None:
    camera = orbit_cameras([90.0], size=32)[0]
    point = torch.tensor([[0.3, 0.2, -0.1]])
    local = camera.camera_from_world[:3, :3] @ point[0] + camera.camera_from_world[:3, 3]
    pixel = camera.intrinsics @ (local / local[2])
    assert torch.allclose(project(point, camera)[0], pixel[:2] / 16 - 1, atol=1e-5)


def test_encoder_strides_and_frozen_layers() -> None:
    encoder = Encoder()
    features = encoder(torch.rand(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(FEATURE_CHANNELS)
    assert [64 // f.shape[2] for f in features] == [2, 4, 8, 16, 32]
    assert not features[2].requires_grad
    assert features[4].requires_grad


def test_folded_batch_norms_compute_the_same() -> None:
    """A block with its batch norm apart, by hand, against the folded convolution."""
    torch.manual_seed(0)
    tensors = {}
    reference = Encoder()
    for index, block in enumerate(reference.blocks):
        name = f"_blocks.{index}"
        parts = [
            ("_depthwise_conv", "_bn1", block.depthwise),
            ("_project_conv", "_bn2", block.project),
        ]
        if block.expand is not None:
            parts.append(("_expand_conv", "_bn0", block.expand))
        for conv, norm, layer in parts:
            _random_layer(tensors, f"{name}.{conv}", f"{name}.{norm}", layer)
    _random_layer(tensors, "_conv_stem", "_bn0", reference.stem)
    folded = folded_efficientnet(tensors)
    reference.load_state_dict(folded)
    x = torch.rand(1, 3, 8, 8)
    raw = torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (0, 1, 0, 1)), tensors["_conv_stem.weight"], stride=2
    )
    normed = torch.nn.functional.batch_norm(
        raw,
        tensors["_bn0.running_mean"],
        tensors["_bn0.running_var"],
        tensors["_bn0.weight"],
        tensors["_bn0.bias"],
        eps=1e-3,
    )
    assert torch.allclose(reference.stem(x), normed, atol=1e-5)


def _random_layer(
    tensors: dict[str, torch.Tensor], conv: str, norm: str, layer: torch.nn.Conv2d
) -> None:
    tensors[f"{conv}.weight"] = torch.randn_like(layer.weight) * 0.1
    count = layer.out_channels
    tensors[f"{norm}.weight"], tensors[f"{norm}.bias"] = torch.rand(count) + 0.5, torch.randn(count)
    tensors[f"{norm}.running_mean"] = torch.randn(count)
    tensors[f"{norm}.running_var"] = torch.rand(count) + 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"image_size": 100},
        {"side_size": 0},
        {"heads": 5},
        {"channels": (8, 8)},
        {"num_gaussians": 0},
    ],
)
def test_impossible_configs(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        SolidConfig(**values)
