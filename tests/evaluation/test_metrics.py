"""Each metric against an independent implementation or a closed form."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from l4gm.evaluation.metrics import (
    alpha_iou,
    flicker,
    gradient_energy,
    motion_energy,
    psnr,
    ssim,
)


def noisy_pair(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(*shape, generator=generator)
    smooth = (noise + noise.roll(1, -1) + noise.roll(1, -2)) / 3
    return smooth, (smooth + 0.1 * torch.randn(*shape, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("size", [(11, 11), (37, 52)])
def test_ssim_and_psnr_equal_scikit_image(size: tuple[int, int]) -> None:
    x, y = noisy_pair(0, 2, 3, *size)
    for index in range(2):
        a, b = x[index].permute(1, 2, 0).numpy(), y[index].permute(1, 2, 0).numpy()
        expected = structural_similarity(
            *(a, b),
            data_range=1,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(x, y)[index].item() == pytest.approx(expected, abs=1e-4)
        expected = peak_signal_noise_ratio(a, b, data_range=1)
        assert psnr(x, y)[index].item() == pytest.approx(expected, abs=1e-4)


def test_batches_give_what_single_pictures_give() -> None:
    x, y = noisy_pair(1, 2, 5, 3, 20, 24)
    for metric in (ssim, psnr):
        values = metric(x, y)
        assert values.shape == (2, 5)
        torch.testing.assert_close(values[1, 3], metric(x[1, 3], y[1, 3]))


def test_equal_and_opposite_pictures() -> None:
    x, _ = noisy_pair(2, 3, 16, 16)
    assert ssim(x, x).item() == pytest.approx(1)
    assert psnr(x, x).item() == 100
    black, white = torch.zeros(3, 16, 16), torch.ones(3, 16, 16)
    assert ssim(black, white).item() == pytest.approx(1e-4 / (1 + 1e-4), rel=1e-3)
    assert psnr(black, white).item() == 0


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 px"):
        ssim(torch.zeros(3, 10, 40), torch.zeros(3, 10, 40))


def test_psnr_closed_form() -> None:
    target = torch.zeros(2, 3, 4, 4)
    prediction = torch.stack([torch.full((3, 4, 4), 0.1), torch.zeros(3, 4, 4)])
    assert psnr(prediction, target).tolist() == pytest.approx([20.0, 100.0], abs=1e-4)


def test_alpha_iou_closed_form() -> None:
    x, y = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    x[0, :, :2], y[0, :, 1:3] = 1, 0.9  # rows 0, 1 against rows 1, 2: one shared of three
    x[1, :, :2] = 0.4  # below the threshold: empty against empty
    y[2] = 1  # nothing against everything
    assert alpha_iou(x, y).tolist() == pytest.approx([1 / 3, 1, 0])


def test_flicker_of_a_still_truth_is_the_mean_squared_change() -> None:
    still = torch.zeros(3, 1, 3, 2, 2)
    blinking = still.clone()
    blinking[1] = 0.5
    assert flicker(blinking, still).item() == pytest.approx(0.25)
    assert flicker(still, blinking).item() == pytest.approx(-0.25)
    assert flicker(still[:1], still[:1]).item() == 0
    assert motion_energy(blinking).item() == pytest.approx(0.25)


def test_a_step_smeared_over_k_pixels_has_a_kth_of_the_gradient_energy() -> None:
    across = torch.arange(16).float()
    sharp, smeared = (across >= 8).float(), ((across - 6) / 4).clamp(0, 1)
    images = torch.stack([sharp, smeared]).expand(3, 16, 2, 16).permute(2, 0, 1, 3)
    energies = [gradient_energy(image).item() for image in images]
    assert energies[0] == pytest.approx(1 / 15)  # one of 15 neighbours in each row
    assert energies[1] == pytest.approx(energies[0] / 4)
    turned = images.transpose(-1, -2)
    assert gradient_energy(turned).item() == pytest.approx(sum(energies) / 2)
    assert gradient_energy(torch.full((3, 8, 8), 0.3)).item() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_gpu_gives_the_same() -> None:
    x, y = noisy_pair(3, 4, 3, 64, 64)
    for metric in (ssim, psnr):
        torch.testing.assert_close(
            metric(x.cuda(), y.cuda()).cpu(), metric(x, y), rtol=1e-4, atol=1e-4
        )
