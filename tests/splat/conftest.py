"""Scenes that bring out what can go wrong in splatting, and the measure of agreement."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras

PARAMETERS = ("means", "quats", "scales", "opacities", "colors")


def random_gaussians(number: int, seed: int = 0) -> Gaussians:
    """Float32 Gaussians of middling size and opacity around the origin; quats not normalised."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(number, 11, generator=generator)
    quats = 2 * torch.randn(number, 4, generator=generator)
    return Gaussians(
        means=uniform[:, :3] - 0.5,
        quats=quats,
        scales=0.02 + 0.06 * uniform[:, 3:6],
        opacities=0.05 + 0.9 * uniform[:, 6],
        colors=uniform[:, 7:10],
    )


def odd_cameras(num_views: int = 2, width: int = 44, height: int = 35) -> Cameras:
    """Views that are not square, not centred, and whose pixels are not square."""
    orbit = orbit_cameras([10.0 + 117.0 * k for k in range(num_views)], elevation=15.0)
    focal = torch.tensor([[1.0 * width, 0, width / 2 + 1.3], [0, 0.9 * width, height / 2 - 0.7]])
    intrinsics = torch.cat([focal, torch.tensor([[0.0, 0, 1]])])
    return Cameras(orbit.world_from_camera, intrinsics.expand(num_views, 3, 3), width, height)


def _plain() -> tuple[Gaussians, Cameras]:
    return random_gaussians(200), odd_cameras()


def _changed(**changes: Callable[[Gaussians], torch.Tensor]) -> tuple[Gaussians, Cameras]:
    gaussians, cameras = _plain()
    values = {name: getattr(gaussians, name) for name in PARAMETERS}
    return Gaussians(**values | {n: f(gaussians) for n, f in changes.items()}), cameras


def _behind() -> tuple[Gaussians, Cameras]:
    # Half of them behind the first camera or too near to it, some beyond far.
    gaussians, cameras = _changed(means=lambda g: 6 * g.means, scales=lambda g: 3 * g.scales)
    return gaussians, cameras


def _oblique() -> tuple[Gaussians, Cameras]:
    # Large ones far off the axis: the clamp in the Jacobian acts.
    gaussians, _ = _changed(means=lambda g: 2.2 * g.means, scales=lambda g: 5 * g.scales)
    wide = torch.tensor([[9.0, 0, 20], [0, 8.0, 12], [0, 0, 1]]).expand(2, 3, 3)
    return gaussians, Cameras(odd_cameras().world_from_camera, wide, 33, 26)


SCENES: dict[str, Callable[[], tuple[Gaussians, Cameras]]] = {
    "plain": _plain,
    "thin": lambda: _changed(scales=lambda g: g.scales * torch.tensor([6.0, 0.02, 0.001])),
    "huge": lambda: _changed(scales=lambda g: 15 * g.scales),
    "tiny": lambda: _changed(scales=lambda g: 1e-3 * g.scales),
    "flat": lambda: _changed(scales=lambda g: g.scales * torch.tensor([1.0, 1.0, 0.0])),
    "faint": lambda: _changed(opacities=lambda g: 0.002 + 0.01 * g.opacities),
    "opaque": lambda: _changed(opacities=lambda g: 0.95 + 0.05 * g.opacities),
    "certain": lambda: _changed(opacities=lambda g: torch.ones_like(g.opacities)),
    "behind the camera": _behind,
    "oblique": _oblique,
    "none": lambda: (random_gaussians(0), odd_cameras()),
    "one": lambda: (random_gaussians(1), odd_cameras()),
    "one view": lambda: (random_gaussians(100), odd_cameras(1)),
    "one pixel": lambda: (random_gaussians(50), odd_cameras(2, 1, 1)),
    "one row": lambda: (random_gaussians(50), odd_cameras(2, 37, 1)),
    "tall": lambda: (random_gaussians(60), odd_cameras(1, 9, 131)),
}


@pytest.fixture(params=list(SCENES))
def scene(request: pytest.FixtureRequest) -> tuple[Gaussians, Cameras]:
    return SCENES[request.param]()
