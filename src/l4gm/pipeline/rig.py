"""The four canonical cameras, and the pictures that one stage of the pipeline hands to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.multiview.protocol import VIEW_AZIMUTHS_DEGREES, VIEW_SIZE_PX
from l4gm.splat.render import render

STAGE_SIZE = VIEW_SIZE_PX  # width and height of the pictures between the released stages
NUM_VIEWS = len(VIEW_AZIMUTHS_DEGREES)  # view 0 is the video's own camera


Shrink = Literal["nearest", "area"]

# Networks clamp means to the cube, so that many lie exactly on its faces, and there on the near or
# far plane of a canonical camera, where rounding would decide what is drawn. Recordings of the
# released code show them left out; so planes are moved into the cube by this share.
_PLANE_MARGIN = 1e-5


def orbit(azimuths: list[float], elevation: float, size: int) -> Cameras:
    """`orbit_cameras` that leave out what lies exactly on their near and far planes."""
    cameras = orbit_cameras(azimuths, elevation, size=size)
    near, far = cameras.near * (1 + _PLANE_MARGIN), cameras.far * (1 - _PLANE_MARGIN)
    return replace(cameras, near=near, far=far)


@dataclass(frozen=True, kw_only=True)
class InputRig:
    """Where the input camera and its three companions stand, and how they are drawn.

    Args:
        elevation: degrees above the object of all four cameras.
        size: width and height of the pictures that stages hand on.
        render_size: pixels at which canonical views are drawn, before they are brought to `size`
            (512 in the released code).
        shrink: how: "nearest" picks pixels, as the released code does, "area" takes means.
        with_alpha: draw pictures of four channels, the last of them alpha.
        device: where cameras and pictures live.
    """

    elevation: float = 0.0
    size: int = STAGE_SIZE
    render_size: int = 512
    shrink: Shrink = "nearest"
    with_alpha: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def cameras(self, size: int | None = None, turned_by: float = 0.0) -> Cameras:
        """[4] the canonical cameras, turned around the object by some degrees of azimuth."""
        azimuths = [azimuth + turned_by for azimuth in VIEW_AZIMUTHS_DEGREES]
        return orbit(azimuths, self.elevation, size or self.size).to(self.device)

    def draw(self, gaussians: Gaussians, views: slice, turned_by: float = 0.0) -> Tensor:
        """Pictures of sets of Gaussians from some of the canonical cameras.

        Args:
            gaussians: [..., N].
            views: which of the four cameras.
            turned_by: degrees added to their azimuths.

        Returns:
            [..., V, 3 or 4, size, size] on white, in [0, 1].
        """
        cameras = self.cameras(self.render_size, turned_by)[views]
        lead = gaussians.shape
        flat = gaussians.reshape(-1)
        drawn = render(flat, cameras.expand(len(flat.means), *cameras.shape))
        image = torch.cat([drawn.image, drawn.alpha], -3) if self.with_alpha else drawn.image
        image = image.clamp(0, 1)
        image = image.reshape(-1, *image.shape[-3:])
        if self.render_size != self.size:
            image = functional.interpolate(image, (self.size, self.size), mode=self.shrink)
        return image.reshape(*lead, *cameras.shape, *image.shape[-3:])

    def draw_all(self, gaussians: Gaussians, turned_by: float = 0.0) -> Tensor:
        """[..., 4, 3 or 4, size, size]: the four canonical views."""
        return self.draw(gaussians, slice(None), turned_by)

    def draw_sides(self, gaussians: Gaussians) -> Tensor:
        """[..., 3, 3 or 4, size, size]: views 1..3, those the video does not show."""
        return self.draw(gaussians, slice(1, None))
