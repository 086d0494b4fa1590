"""LPIPS against values recorded from the `lpips` package on the same random networks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from l4gm.errors import InputError
from l4gm.perceptual.lpips import load_lpips, weight_file
from l4gm.perceptual.published import MissingWeightsError

RECORDED = json.loads(Path(__file__).with_name("recorded.json").read_text())


def published(backbone: str, random_weights) -> dict[str, torch.Tensor]:
    return random_weights.vgg16() if backbone == "vgg" else random_weights.alexnet()


@pytest.mark.parametrize("backbone", ["vgg", "alex"])
def test_equals_the_original_code(backbone, place, random_weights) -> None:
    place(weight_file(backbone), published(backbone, random_weights))
    a, b = random_weights.pictures(1, 2, 3, 64, 80), random_weights.pictures(2, 2, 3, 64, 80)
    distance = load_lpips(backbone)(a, b)
    assert distance.tolist() == pytest.approx(RECORDED[f"lpips_{backbone}"], rel=1e-4)


def test_shape_symmetry_and_zero(place, random_weights) -> None:
    place(weight_file("alex"), random_weights.alexnet())
    lpips = load_lpips("alex")
    a, b = random_weights.pictures(1, 2, 3, 3, 40, 40), random_weights.pictures(2, 2, 3, 3, 40, 40)
    distance = lpips(a, b)
    assert distance.shape == (2, 3)
    torch.testing.assert_close(distance, lpips(b, a))
    torch.testing.assert_close(distance[1, 2], lpips(a[1, 2], b[1, 2]))
    assert (lpips(a, a) == 0).all()
    assert (distance > 0.01).all()


def test_gradients_reach_the_picture_and_not_the_weights(place, random_weights) -> None:
    place(weight_file("vgg"), random_weights.vgg16())
    lpips = load_lpips("vgg")
    target = random_weights.pictures(2, 3, 32, 32)
    picture = random_weights.pictures(1, 3, 32, 32).requires_grad_()
    lpips(picture, target).backward()
    assert picture.grad is not None
    step = 1e-2 * picture.grad / picture.grad.norm()
    with torch.no_grad():
        slope = (lpips(picture + step, target) - lpips(picture - step, target)) / 2e-2
    assert slope.item() == pytest.approx(picture.grad.norm().item(), rel=0.02)
    assert not any(parameter.requires_grad for parameter in lpips.parameters())

    # Equal places have features with no difference, and white ones may have none at all.
    white = torch.ones(3, 32, 32, requires_grad=True)
    lpips(white, torch.ones(3, 32, 32)).backward()
    assert white.grad is not None
    assert white.grad.isfinite().all()


def test_a_file_of_another_network_is_refused(place, random_weights) -> None:
    tensors = random_weights.vgg16()
    del tensors["features.28.bias"]
    place(weight_file("vgg"), tensors)
    with pytest.raises(InputError, match=r"features\.28\.bias"):
        load_lpips("vgg")


def test_bad_pictures_and_missing_weights(place, weight_home, random_weights) -> None:
    with pytest.raises(MissingWeightsError, match="vgg16-397923af"):
        load_lpips("vgg")
    place(weight_file("alex"), random_weights.alexnet())
    lpips = load_lpips("alex")
    with pytest.raises(ValueError, match="at least 31 px"):
        lpips(torch.zeros(3, 30, 64), torch.zeros(3, 30, 64))
    with pytest.raises(ValueError, match="expected two of"):
        lpips(torch.zeros(3, 64, 64), torch.zeros(2, 3, 64, 64))
