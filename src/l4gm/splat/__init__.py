"""Splatting: Gaussians and cameras to images, differentiable.

It stands alone for those who want only a rasterizer:

    from l4gm.splat import Cameras, Gaussians, render
"""

# The function hides its module here; "from l4gm.splat.render import ..." works all the same.
# The kernels and what they need are imported when a backend is first used.
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.splat.render import RenderOutput, available_backends, render
from l4gm.splat.workspace import free_workspaces

__all__ = [
    "Cameras",
    "Gaussians",
    "RenderOutput",
    "available_backends",
    "free_workspaces",
    "orbit_cameras",
    "render",
]
