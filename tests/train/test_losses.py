import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.train.losses import pool_points, ssim, surface_error

NAN = float("nan")


def test_pool_points_ignores_unknown_points():
    x = torch.tensor([[1.0, NAN, NAN, NAN], [3.0, NAN, NAN, NAN]] * 2)
    pooled = pool_points(x[..., None].expand(4, 4, 3), 2)
    assert pooled[:, 0].tolist() == [[2.0] * 3] * 2
    assert pooled[:, 1].isnan().all()


def test_surface_error_is_the_distance_on_the_object_whatever_its_direction():
    cameras = orbit_cameras([0, 90], size=4)
    origins, directions = pixel_rays(cameras)
    points = origins + 1.4 * directions  # [V, 4, 4, 3]
    surface = points.repeat_interleave(2, 1).repeat_interleave(2, 2)[None, None].clone()
    surface[..., :4, :] = NAN  # the left half is background, where nothing is asked

    def error(shift: tuple[float, float, float]) -> float:
        means = (points + torch.tensor(shift)).reshape(1, 1, -1, 3).clone()
        means.view(1, 1, 2, 4, 4, 3)[:, :, :, :, :2] = 99.0
        n = means.shape[2]
        ones = torch.ones(1, 1, n)
        splats = Gaussians(means, torch.ones(1, 1, n, 4), torch.ones_like(means), ones, means)
        return surface_error(splats, surface).item()

    assert error((0, 0, 0)) < 1e-5
    assert abs(error((0.1, 0, 0)) - 0.1) < 1e-5
    assert abs(error((0, 0.3, 0.4)) - 0.5) < 1e-5


def test_surface_error_has_gradients_at_the_surface_and_without_an_object():
    means = torch.zeros(1, 1, 4, 3, requires_grad=True)
    ones = torch.ones(1, 1, 4)
    splats = Gaussians(means, torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 3), ones, means)
    for value in (0.0, NAN):
        surface_error(splats, torch.full((1, 1, 1, 2, 2, 3), value)).backward()
        assert means.grad.isfinite().all()


def test_ssim_of_equal_pictures_is_one_and_falls_with_noise():
    torch.manual_seed(0)
    picture = torch.rand(2, 3, 3, 16, 16)
    assert abs(ssim(picture, picture).item() - 1) < 1e-5
    little = ssim((picture + 0.05 * torch.randn_like(picture)), picture)
    much = ssim((picture + 0.3 * torch.randn_like(picture)), picture)
    assert 1 > little > much
