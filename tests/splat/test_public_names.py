"""What the documentation tells users of the rasterizer alone to import."""

from __future__ import annotations

import subprocess
import sys

import torch


def test_the_example_of_the_documentation() -> None:
    from l4gm.splat import Gaussians, orbit_cameras, render

    gaussians = Gaussians(
        means=torch.rand(50, 3) - 0.5,
        quats=torch.randn(50, 4),
        scales=torch.full((50, 3), 0.02),
        opacities=torch.rand(50),
        colors=torch.rand(50, 3),
    )
    out = render(gaussians, orbit_cameras([0, 90, 180, 270], size=16), background=1.0)
    assert out.image.shape == (4, 3, 16, 16)
    assert out.alpha.shape == (4, 1, 16, 16)


def test_importing_does_not_load_the_compiler() -> None:
    code = "import sys, l4gm.splat; assert not {'numba', 'gsplat'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
