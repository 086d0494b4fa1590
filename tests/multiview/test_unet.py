"""The multi-view U-Net against a recorded forward pass, and its own promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from l4gm.multiview.unet import MultiViewUNet, sinusoids


@pytest.fixture(scope="module")
def tiny_config(parity_dir: Path) -> dict[str, Any]:
    return json.loads((parity_dir / "imagedream_tiny_config.json").read_text())


@pytest.fixture(scope="module")
def recording(parity_dir: Path) -> dict[str, Tensor]:
    return load_file(parity_dir / "imagedream_tiny_io.safetensors")


@pytest.fixture(scope="module")
def unet(parity_dir: Path, tiny_config: dict[str, Any]) -> MultiViewUNet:
    network = MultiViewUNet(**tiny_config).eval().requires_grad_(False)
    network.load_state_dict(load_file(parity_dir / "imagedream_tiny_weights.safetensors"))
    return network


def run(unet: MultiViewUNet, tensors: dict[str, Tensor]) -> Tensor:
    return unet(
        tensors["x"],
        tensors["timesteps"],
        context=tensors["context"],
        cameras=tensors["camera"],
        image_embeds=tensors["ip"],
        image_latents=tensors["ip_img"],
        views=5,
    )


def test_matches_the_released_code(unet: MultiViewUNet, recording: dict[str, Tensor]) -> None:
    output, expected = run(unet, recording), recording["output"]
    assert (output - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_released_names_and_shapes(parity_dir: Path) -> None:
    with torch.device("meta"):
        network = MultiViewUNet(
            **json.loads((parity_dir / "imagedream_unet_config.json").read_text())
        )
    expected = json.loads((parity_dir / "imagedream_unet_state_dict.json").read_text())
    assert {name: list(t.shape) for name, t in network.state_dict().items()} == expected


def test_unknown_key_is_an_error(tiny_config: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="num_wheels"):
        MultiViewUNet(**tiny_config, num_wheels=4)


def test_arguments_stay_as_they_are(unet: MultiViewUNet, recording: dict[str, Tensor]) -> None:
    copies = {name: tensor.clone() for name, tensor in recording.items()}
    run(unet, copies)
    assert all(torch.equal(copies[name], recording[name]) for name in recording)


def test_last_frame_of_the_latents_is_not_read(
    unet: MultiViewUNet, recording: dict[str, Tensor]
) -> None:
    changed = recording["x"].clone()
    changed[4::5] = 7.0
    assert torch.equal(run(unet, {**recording, "x": changed}), run(unet, recording))


def test_frames_see_each_other_and_objects_do_not(
    unet: MultiViewUNet, recording: dict[str, Tensor]
) -> None:
    changed = recording["x"].clone()
    changed[0] += 1.0
    difference = (run(unet, {**recording, "x": changed}) - run(unet, recording)).abs()
    assert (difference[:5].flatten(1).amax(1) > 1e-4).all()
    assert difference[5:].max() < 1e-6


def test_one_image_embedding_per_object_is_shared_by_its_frames(
    unet: MultiViewUNet, recording: dict[str, Tensor]
) -> None:
    per_object = recording["ip"][[0, 5]]
    per_frame = per_object.repeat_interleave(5, dim=0)
    torch.testing.assert_close(
        run(unet, {**recording, "ip": per_object}), run(unet, {**recording, "ip": per_frame})
    )


@pytest.mark.parametrize(
    ("name", "match"), [("x", "no multiple of views"), ("ip_img", "image_latents")]
)
def test_batches_that_do_not_go_together(
    unet: MultiViewUNet, recording: dict[str, Tensor], name: str, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        run(unet, {**recording, name: recording[name][1:]})


def test_sinusoids() -> None:
    """Time 3 at four channels: frequencies 1 and 1/100."""
    expected = torch.tensor([[3.0, 0.03]])
    expected = torch.cat([expected.cos(), expected.sin()], dim=-1)
    torch.testing.assert_close(sinusoids(torch.tensor([3]), 4), expected)
