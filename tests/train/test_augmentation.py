import math

import numpy as np
import torch

from l4gm.geometry.cameras import orbit_cameras
from l4gm.train.augmentation import distort_grid, jitter_sides, rotation


def test_distortion_keeps_order_and_borders_and_moves_less_than_a_cell():
    size = 64
    ramp = torch.linspace(0, 1, size).expand(3, 1, size, size)
    images = torch.cat([ramp, ramp.transpose(-1, -2)], 1)
    bent = distort_grid(images, np.random.default_rng(0))
    across, down = bent[:, 0], bent[:, 1]
    assert (across.diff(dim=-1) >= -1e-6).all()  # monotonous: nothing is folded
    assert (down.diff(dim=-2) >= -1e-6).all()
    moved = (bent - images).abs()
    assert moved.max() < 0.5 / 7  # half a cell, of at least 7
    assert moved.amax((1, 2, 3)).min() > 0.005
    assert moved[..., 0, :, 0].max() < 0.02
    assert not torch.equal(bent[0], bent[1])  # each picture in its own way


def test_a_flat_picture_stays_as_it_is():
    white = torch.ones(2, 3, 20, 20)
    torch.testing.assert_close(distort_grid(white, np.random.default_rng(1)), white)


def test_turned_cameras_still_look_at_the_object_from_the_same_distance():
    cameras = orbit_cameras([0, 90, 180, 270], size=8)
    angles = []
    for seed in range(50):
        turned = jitter_sides(cameras, np.random.default_rng(seed))
        pose = turned.world_from_camera
        assert torch.equal(pose[0], cameras.world_from_camera[0])
        torch.testing.assert_close(
            pose[:, :3, :3] @ pose[:, :3, :3].mT, torch.eye(3).expand(4, 3, 3), atol=1e-5, rtol=0
        )
        # The origin stays 1.5 in front of every camera.
        torch.testing.assert_close(
            pose[:, :3, 3] + 1.5 * pose[:, :3, 2], torch.zeros(4, 3), atol=1e-5, rtol=0
        )
        between = (pose[:, :3, 2] * cameras.world_from_camera[:, :3, 2]).sum(-1).clamp(max=1)
        angles.append(between.arccos().rad2deg())
    largest = torch.stack(angles)[:, 1:].max().item()
    assert 10 < largest < 18 + 9


def test_rotation_of_a_quarter_about_y():
    turned = rotation(torch.tensor([0.0, math.pi / 2, 0.0])) @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(turned, torch.tensor([1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
