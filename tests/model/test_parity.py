"""The network against recordings of the released code, on random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.attention import Grid
from l4gm.model.config import L4GMConfig
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import load_model

TOLERANCE = 1e-5
RIG = orbit_cameras([0, 90, 180, 270])


def relative_difference(given: Tensor, expected: Tensor) -> float:
    return ((given - expected).norm() / expected.norm()).item()


def released_order(gaussians: Gaussians) -> Tensor:
    """[..., N, 14] as the released code concatenates them."""
    g = gaussians
    return torch.cat([g.means, g.opacities[..., None], g.scales, g.quats, g.colors], -1)


@pytest.mark.parametrize(("name", "frames"), [("l4gm_tiny", 3), ("lgm_tiny", 1)])
def test_features_and_gaussians_are_the_released_ones(parity_dir: Path, name, frames):
    config = L4GMConfig.from_released(json.loads((parity_dir / f"{name}_config.json").read_text()))
    model = load_model(parity_dir / f"{name}_weights.safetensors", config=config)
    recorded = load_file(parity_dir / f"{name}_io.safetensors")
    images = recorded["images"].reshape(1, frames, 4, 3, 32, 32)
    with torch.inference_mode():
        channels = model.prepare(images, RIG)
        features = model.features(channels, frames, 4)
        gaussians = model(images, RIG)
    assert (channels - recorded["unet_input"][0]).abs().max() < 1e-6
    assert relative_difference(channels[:4, 3:], recorded["plucker_rays"]) < 1e-6
    assert relative_difference(features, recorded["feature_map"]) < TOLERANCE
    given = released_order(gaussians)[0]
    assert relative_difference(given, recorded["gaussians"]) < TOLERANCE
    # Each kind of number by itself, so that a small one cannot hide behind the means.
    for part, other in zip(
        given.split((3, 1, 3, 4, 3), -1),
        recorded["gaussians"].split((3, 1, 3, 4, 3), -1),
        strict=True,
    ):
        assert relative_difference(part, other) < TOLERANCE


@pytest.mark.parametrize(
    ("file", "temporal", "count"),
    [("l4gm", True, 466_464_544), ("lgm", False, 415_042_848)],
)
def test_big_has_the_released_names_shapes_and_size(parity_dir: Path, file, temporal, count):
    recorded = json.loads((parity_dir / f"{file}_big_state_dict.json").read_text())
    with torch.device("meta"):
        model = L4GM(L4GMConfig.big(temporal_attention=temporal))
    ours = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert ours == recorded
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_big_turns_each_view_into_128_by_128_splats():
    with torch.device("meta"):
        model = L4GM(L4GMConfig.big())
        channels = torch.empty(2 * 4, 9, 256, 256)
    with torch.inference_mode():
        features = model.conv(model.unet(channels, Grid(num_frames=2, num_views=4)))
    assert features.shape == (2 * 4, 14, 128, 128)
