"""Devices by name, and pipelines from weight files."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from l4gm.bench.pipeline import moving_disc
from l4gm.errors import InputError
from l4gm.evaluation.metrics import alpha_iou, psnr
from l4gm.geometry.cameras import orbit_cameras
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.pipeline.device import device_of, find_device, find_precision
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render
from l4gm.train.presets import debug_preset


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu"), (True, False, "cuda")],
)
def test_auto_takes_the_fastest(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert find_device("auto").type == expected


def test_device_that_is_not_there():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="'warp' cannot be used here, expected auto, cpu") as error:
        find_device("warp")
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_cuda():
    with pytest.raises(InputError, match="'cuda' cannot be used here") as error:
        find_device("cuda")
    assert "\n" not in str(error.value)


def test_device_of_a_network():
    assert device_of(torch.nn.Linear(1, 1, device="meta")).type == "meta"
    assert device_of(lambda images: images).type == "cpu"


def test_precision_by_device():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert find_precision("auto", cpu) == torch.float32
    assert find_precision("auto", cuda) == torch.float16
    assert find_precision("bfloat16", cpu) == torch.bfloat16
    with pytest.raises(InputError, match="'float8' is not known, expected one of auto, float32"):
        find_precision("float8", cpu)


@pytest.mark.slow
def test_half_precision_gives_the_same_surface():
    """The bundled model in bfloat16 against float32. Its splats lie where a level is crossed, each
    in its place or in another: images differ by single splats, outlines do not."""
    frames = moving_disc(2)
    cameras = orbit_cameras([20.0, 130.0, 250.0], size=128)
    drawn = []
    for precision in ("float32", "bfloat16"):
        video_to_4d = VideoTo4D.from_pretrained(
            "mini", device="cpu", precision=precision, chunk_frames=2
        )
        result = video_to_4d(frames, interpolate=False)
        assert result.gaussians.means.dtype == torch.float32
        drawn.append(render(result.gaussians, cameras))
    one, other = drawn
    assert not torch.equal(one.image, other.image)
    assert psnr(one.image, other.image).mean() > 30
    assert alpha_iou(one.alpha, other.alpha).mean() > 0.97


@pytest.fixture
def network():
    torch.manual_seed(0)
    return L4GM(debug_preset().model)


def test_pipeline_from_a_folder(tmp_path, network):
    """With and without interpolation weights; T is what the file says, unless one asks."""
    save_weights(network, tmp_path / "recon.safetensors", metadata={"chunk_frames": "3"})
    alone = VideoTo4D.from_pretrained(tmp_path, device="cpu")
    assert alone.interpolation is None
    assert alone.chunk_frames == 3
    assert VideoTo4D.from_pretrained(tmp_path, device="cpu", chunk_frames=5).chunk_frames == 5

    save_weights(network, tmp_path / "interp.safetensors")
    frames = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    video_to_4d = VideoTo4D.from_pretrained(tmp_path, device="cpu", render_size=32)
    result = video_to_4d(frames, views=frames, align=False, fps=5)
    assert (len(result), result.fps) == (10, 15)
    for tensor in vars(result.gaussians).values():
        assert torch.isfinite(tensor).all()

    save_weights(network, tmp_path / "recon.safetensors")
    assert VideoTo4D.from_pretrained(tmp_path, device="cpu").chunk_frames == 16


@pytest.mark.parametrize("text", ["many", "0", "-3", "2.5"])
def test_weights_that_name_no_number_of_frames(tmp_path, network, text):
    save_weights(network, tmp_path / "recon.safetensors", metadata={"chunk_frames": text})
    with pytest.raises(InputError, match="expected a whole number of frames"):
        VideoTo4D.from_pretrained(tmp_path, device="cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_agrees_with_the_cpu(tmp_path, network):
    """In float16 on the GPU; a network that was never trained amplifies the difference."""
    save_weights(network, tmp_path / "recon.safetensors")
    frames = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    results = [
        VideoTo4D.from_pretrained(tmp_path, device=device, chunk_frames=4, render_size=64)(
            frames, views=frames[:4], align=False
        )
        for device in ("cpu", "cuda")
    ]
    assert results[1].gaussians.device.type == "cuda"
    difference = results[0].gaussians.means - results[1].gaussians.means.cpu()
    assert difference.abs().median() < 1e-2


def test_lgm_is_a_network_of_single_moments(tmp_path):
    """Its weights have no temporal attention: T = 1, and frames that do not see each other."""
    torch.manual_seed(0)
    config = dataclasses.replace(debug_preset().model, temporal_attention=False)
    save_weights(L4GM(config), tmp_path / "lgm.safetensors")
    lgm = VideoTo4D.from_pretrained(tmp_path / "lgm.safetensors", device="cpu", render_size=32)
    assert lgm.chunk_frames == 1
    frames = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    views = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    given = {"views": views, "align": False}
    lgm.renew_views = False
    whole = lgm(frames, **given).gaussians
    alone = lgm(frames[1:2], **given).gaussians
    assert whole.shape == (3,)
    torch.testing.assert_close(whole[1:2].means, alone.means)
