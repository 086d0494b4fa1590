import torch

from l4gm.train.losses import ssim


def test_ssim_of_equal_pictures_is_one_and_falls_with_noise():
    torch.manual_seed(0)
    picture = torch.rand(2, 3, 3, 16, 16)
    assert abs(ssim(picture, picture).item() - 1) < 1e-5
    little = ssim((picture + 0.05 * torch.randn_like(picture)), picture)
    much = ssim((picture + 0.3 * torch.randn_like(picture)), picture)
    assert 1 > little > much
