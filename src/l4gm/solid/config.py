"""What defines a `SolidNet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from l4gm.plain import PlainConfig

# Image sizes are multiples of this: the encoder halves five times.
ENCODER_STRIDE = 32

# Far beyond any network that can be trained; a config from elsewhere could ask for anything.
_LIMITS = {
    "image_size": 8192,
    "side_size": 8192,
    "depth_cells": 4096,
    "color_cells": 4096,
    "motion_cells": 4096,
    "token_channels": 65_536,
    "heads": 1024,
    "blocks": 64,
    "lifted_channels": 65_536,
    "lifted_cells": 4096,
    "num_gaussians": 2**24,
}
_MAX_CHANNELS = 65_536


@dataclass(frozen=True, kw_only=True)
class SolidConfig(PlainConfig):
    """Shape of a `SolidNet`. The defaults are the bundled model's.

    Args:
        image_size: the video's frames are resized to this many pixels, width and height. Rays of
            the volume: half as many along each side.
        side_size: the same for the given side views.
        depth_cells: occupancy cells along a ray.
        color_cells, motion_cells: the same for colour and motion, which vary more slowly.
        reach: half the depth of the volume, around the middle of the scene, in world units.
        token_channels, heads, blocks: of the attention, at 1/32 of the image.
        channels: of the decoder, at 1/16, 1/8 and 1/4 of the image.
        lifted_channels, lifted_cells: features of the side views that are lifted into the volume,
            and at how many places along a ray.
        num_gaussians: splats a frame.

    Raises:
        ValueError: if the values do not fit together.
    """

    title: ClassVar[str] = "solid model config"

    image_size: int = 128
    side_size: int = 64
    depth_cells: int = 64
    color_cells: int = 16
    motion_cells: int = 16
    reach: float = 0.58
    token_channels: int = 192
    heads: int = 6
    blocks: int = 4
    channels: tuple[int, int, int] = (160, 112, 64)
    lifted_channels: int = 24
    lifted_cells: int = 32
    num_gaussians: int = 32768

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        for name, most in _LIMITS.items():
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {getattr(self, name)}")
        for name in ("image_size", "side_size"):
            if getattr(self, name) % ENCODER_STRIDE:
                raise ValueError(
                    f"{name} must be a positive multiple of {ENCODER_STRIDE}, "
                    f"got {getattr(self, name)}"
                )
        if self.token_channels % self.heads:
            raise ValueError(f"heads {self.heads} does not divide {self.token_channels} channels")
        if len(self.channels) != 3 or any(count < 8 or count % 8 for count in self.channels):
            raise ValueError(f"channels must be three multiples of 8, got {self.channels}")
        if max(self.channels) > _MAX_CHANNELS:
            raise ValueError(f"channels must be at most {_MAX_CHANNELS}, got {self.channels}")
        if not 0 < self.reach < 1e6:
            raise ValueError(f"reach must be positive, got {self.reach}")

    @property
    def volume_size(self) -> int:
        """Rays of the volume along each side of the image."""
        return self.image_size // 2
