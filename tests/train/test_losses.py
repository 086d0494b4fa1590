import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.train.losses import depth_error, pool_depth, ssim


def test_pool_depth_ignores_empty_pixels():
    depth = torch.tensor([[1.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]] * 2)
    assert pool_depth(depth, 2).tolist() == [[2.0, 0.0], [2.0, 0.0]]


def test_depth_error_is_zero_on_the_surface_and_grows_by_the_offset():
    cameras = orbit_cameras([0, 90], size=8)
    origins, directions = pixel_rays(cameras.resized(4))
    forward = cameras.world_from_camera[:, None, None, :3, 2]
    z = 1.3
    distance = z / (directions * forward).sum(-1, keepdim=True)
    depth = torch.full((1, 1, 2, 8, 8), z)
    depth[..., :4] = 0  # the left half is background, where nothing is asked

    def error(shift: float) -> float:
        means = (origins + directions * distance + forward * shift).reshape(1, 1, -1, 3)
        n = means.shape[2]
        ones = torch.ones(1, 1, n)
        splats = Gaussians(means, torch.ones(1, 1, n, 4), torch.ones_like(means), ones, means)
        return depth_error(splats, cameras.reshape(1, 1, 2), depth).item()

    assert error(0.0) < 1e-6
    assert abs(error(0.1) - 0.1) < 1e-5


def test_ssim_of_equal_pictures_is_one_and_falls_with_noise():
    torch.manual_seed(0)
    picture = torch.rand(2, 3, 3, 16, 16)
    assert abs(ssim(picture, picture).item() - 1) < 1e-5
    little = ssim((picture + 0.05 * torch.randn_like(picture)), picture)
    much = ssim((picture + 0.3 * torch.randn_like(picture)), picture)
    assert 1 > little > much
