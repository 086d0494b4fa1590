"""Finite numbers in a file that become infinite on the way are refused like infinite ones."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import plyfile
import pytest
import torch

from l4gm.errors import InputError
from l4gm.files import load, save
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import orbit_cameras


def some(dtype: torch.dtype = torch.float32) -> GaussianSequence:
    random = torch.rand(2, 5, 14, generator=torch.Generator().manual_seed(0), dtype=dtype)
    gaussians = Gaussians(
        random[..., :3], random[..., 3:7], random[..., 7:10], random[..., 10], random[..., 11:]
    )
    return GaussianSequence(gaussians, 12.0)


@pytest.mark.parametrize("value", [500.0, 89.0, math.inf])
def test_logarithms_of_scales(tmp_path: Path, value: float) -> None:
    save(some().gaussians[0], tmp_path / "a.ply", prune=False)
    data = plyfile.PlyData.read(str(tmp_path / "a.ply"), mmap=False)
    data["vertex"]["scale_0"][3] = value
    data.write(str(tmp_path / "a.ply"))
    with pytest.raises(InputError, match=r"a\.ply: .*scale.* not finite.*number 3"):
        load(tmp_path / "a.ply")


def test_double_precision_beyond_single(tmp_path: Path) -> None:
    sequence = some(torch.float64)
    sequence.gaussians.means[1, 2, 0] = 1e300
    save(sequence, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="means hold values that are not finite"):
        load(tmp_path / "a.safetensors")


def test_cameras(tmp_path: Path) -> None:
    cameras = orbit_cameras([0.0, 90.0])
    poses = cameras.world_from_camera.clone()
    poses[1, 2, 3] = math.nan
    sequence = replace(some(), cameras=replace(cameras, world_from_camera=poses))
    save(sequence, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"bad cameras.*not finite"):
        load(tmp_path / "a.safetensors")
