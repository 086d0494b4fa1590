"""ST-LPIPS against values recorded from the authors' code, and what it promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from l4gm.errors import InputError
from l4gm.perceptual.published import ST_LPIPS, MissingWeightsError, find
from l4gm.perceptual.st_lpips import SMALLEST_PX, load_st_lpips

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())


@pytest.fixture
def network(place, random_weights):
    """Random weights under the published names."""
    place(ST_LPIPS, random_weights.st_lpips())
    return load_st_lpips()


@pytest.fixture(scope="module")
def published():
    """The published weights."""
    try:
        return load_st_lpips()
    except MissingWeightsError as missing:
        pytest.skip(str(missing))


def recorded_pairs(network, random_weights) -> list[float]:
    a, b = random_weights.pictures(1, 2, 3, 64, 80), random_weights.pictures(2, 2, 3, 64, 80)
    odd = random_weights.pictures(4, 2, 3, 33, 21)
    return [*network(a, b).tolist(), network(odd[0], odd[1]).item()]


def test_equals_the_original_code(network, random_weights) -> None:
    found = recorded_pairs(network, random_weights)
    assert found == pytest.approx(RECORDED["st_lpips"], rel=1e-5)


def test_equals_the_original_code_with_the_published_weights(published, random_weights) -> None:
    found = recorded_pairs(published, random_weights)
    assert found == pytest.approx(RECORDED["st_lpips_published"], rel=1e-5)


def test_an_installed_package_brings_the_weights(published, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("L4GM_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    pytest.importorskip("stlpips_pytorch")
    assert find(ST_LPIPS).parts[-4:] == ("stlpips_pytorch", *Path(ST_LPIPS.package[1]).parts)


def checkers(size_px: int = 96, square_px: int = 8) -> torch.Tensor:
    """[3, S, S]: a coloured board with soft shading, on white."""
    y, x = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    board = ((x // square_px + y // square_px) % 2).float()
    image = torch.stack([0.2 + 0.6 * board, 0.3 + 0.3 * x / size_px, 0.8 - 0.6 * board])
    inside = ((x - size_px / 2).abs() < size_px / 3) & ((y - size_px / 2).abs() < size_px / 3)
    return torch.where(inside, image, torch.ones(3, 1, 1))


def test_a_shift_of_a_pixel_is_forgiven_and_a_blur_is_not(published) -> None:
    image = checkers()
    shifted = image.roll(1, -1)
    blurred = F.avg_pool2d(F.pad(image[None], (2, 2, 2, 2), mode="replicate"), 5, 1)[0]
    # To squared error the blur is the better of both.
    assert (blurred - image).square().mean() < (shifted - image).square().mean()
    assert published(shifted, image) < 0.3 * published(blurred, image)


def test_more_noise_is_farther(published) -> None:
    image = checkers()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    found = [published((image + s * noise).clamp(0, 1), image).item() for s in (0, 0.05, 0.1, 0.2)]
    assert found[0] == 0
    assert found == sorted(found)


def test_shape_symmetry_and_broadcasting(network, random_weights) -> None:
    a, b = random_weights.pictures(1, 2, 3, 3, 40, 40), random_weights.pictures(2, 2, 3, 3, 40, 40)
    distance = network(a, b)
    assert distance.shape == (2, 3)
    torch.testing.assert_close(distance, network(b, a))
    torch.testing.assert_close(distance[1, 2], network(a[1, 2], b[1, 2]))
    assert (network(a, a) == 0).all()
    one = network.features(b[0, 0])
    against_one = network.distance(network.features(a), one)
    torch.testing.assert_close(against_one, network(a, b[:1, :1].expand_as(a)))


def test_gradients_reach_the_image_and_not_the_weights(network, random_weights) -> None:
    target = random_weights.pictures(2, 3, 32, 32)
    image = random_weights.pictures(1, 3, 32, 32).requires_grad_()
    network(image, target).backward()
    assert image.grad is not None
    step = 1e-2 * image.grad / image.grad.norm()
    with torch.no_grad():
        slope = (network(image + step, target) - network(image - step, target)) / 2e-2
    assert slope.item() == pytest.approx(image.grad.norm().item(), rel=0.02)
    assert not any(parameter.requires_grad for parameter in network.parameters())

    white = torch.ones(3, 32, 32, requires_grad=True)
    network(white, torch.ones(3, 32, 32)).backward()
    assert white.grad is not None
    assert white.grad.isfinite().all()


def test_bad_images_missing_and_foreign_weights(place, weight_home, random_weights) -> None:
    with pytest.raises(MissingWeightsError, match=r"pip install stlpips-pytorch==0\.0\.2"):
        load_st_lpips()
    tensors = random_weights.st_lpips()
    place(ST_LPIPS, tensors)
    network = load_st_lpips()
    small = torch.zeros(3, SMALLEST_PX - 1, 64)
    with pytest.raises(ValueError, match="at least 21 px"):
        network(small, small)
    network(torch.zeros(3, SMALLEST_PX, 64), torch.zeros(3, SMALLEST_PX, 64))
    with pytest.raises(ValueError, match="expected two of"):
        network(torch.zeros(3, 64, 64), torch.zeros(2, 3, 64, 64))
    del tensors["net.slice4.11.bias"]
    place(ST_LPIPS, tensors)
    with pytest.raises(InputError, match=r"convolutions\.3\.bias"):
        load_st_lpips()
