"""What defines an `L4GM`: sizes, and where it attends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from l4gm.errors import InputError
from l4gm.plain import PlainConfig

# Keys of the released code's configuration that say how it is used, not what the network is.
_RELEASED_USE = {
    "num_frames",
    "interpolation_num_frames",
    "num_input_views",
    "fovy",
    "cam_radius",
    "render_size",
    "fps",
}


# Far beyond any network that can be trained; a config from elsewhere could ask for anything.
_MAX_LEVELS = 12
_LIMITS = {
    "input_size": 8192,
    "down_channels": 65_536,
    "up_channels": 65_536,
    "layers_per_block": 64,
}


@dataclass(frozen=True, kw_only=True)
class L4GMConfig(PlainConfig):
    """Shape of an `L4GM`. The defaults are those of the released model.

    Args:
        input_size: images are resized to this many pixels, width and height.
        down_channels, down_attention: channels of each level going down, and whether it attends.
        mid_attention: whether the lowest block attends.
        up_channels, up_attention: the same going up; fewer levels than down leave the output
            smaller than the input.
        temporal_attention: every attention layer is followed by one over time.
        layers_per_block: residual blocks of a level going down; one more going up.
        norm_groups: groups of every group norm.
        attention_head_count: heads of every attention layer.

    Raises:
        ValueError: if the values do not fit together.
    """

    title: ClassVar[str] = "model config"

    input_size: int
    down_channels: tuple[int, ...]
    down_attention: tuple[bool, ...]
    mid_attention: bool
    up_channels: tuple[int, ...]
    up_attention: tuple[bool, ...]
    temporal_attention: bool
    layers_per_block: int = 2
    norm_groups: int = 32
    attention_head_count: int = 16

    def __post_init__(self) -> None:
        for name in ("down_channels", "down_attention", "up_channels", "up_attention"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self._check_levels()
        self._check_heads()

    def _check_levels(self) -> None:
        for side in ("down", "up"):
            channels = getattr(self, f"{side}_channels")
            attention = getattr(self, f"{side}_attention")
            if not channels or len(channels) != len(attention):
                raise ValueError(
                    f"{side}_channels and {side}_attention need one entry per level each, "
                    f"got {len(channels)} and {len(attention)}"
                )
            if len(channels) > _MAX_LEVELS:
                raise ValueError(f"at most {_MAX_LEVELS} levels {side}, got {len(channels)}")
        if len(self.up_channels) > len(self.down_channels):
            raise ValueError(
                f"at most as many levels up as down, got {len(self.up_channels)} up "
                f"and {len(self.down_channels)} down"
            )
        if self.layers_per_block < 1 or self.norm_groups < 1:
            raise ValueError(
                "layers_per_block and norm_groups must be at least 1, got "
                f"{self.layers_per_block} and {self.norm_groups}"
            )
        for name, most in _LIMITS.items():
            values = getattr(self, name)
            largest = max(values) if isinstance(values, tuple) else values
            if largest > most:
                raise ValueError(f"{name} must be at most {most}, got {largest}")
        multiple = self.size_multiple
        if self.input_size < multiple or self.input_size % multiple:
            raise ValueError(
                f"input_size must be a positive multiple of {multiple} "
                f"({len(self.down_channels)} levels), got {self.input_size}"
            )
        for count in {*self.down_channels, *self.up_channels}:
            if count < 1 or count % self.norm_groups:
                raise ValueError(
                    f"channels must be positive multiples of norm_groups={self.norm_groups}, "
                    f"got {count}"
                )

    def _check_heads(self) -> None:
        heads = self.attention_head_count
        for count in self._attending_channels():
            if heads < 1 or count % heads:
                raise ValueError(
                    f"attention_head_count {heads} does not divide {count} channels that attend"
                )

    def _attending_channels(self) -> set[int]:
        down = zip(self.down_channels, self.down_attention, strict=True)
        up = zip(self.up_channels, self.up_attention, strict=True)
        middle = [(self.down_channels[-1], self.mid_attention)]
        return {count for count, attends in (*down, *middle, *up) if attends}

    @property
    def size_multiple(self) -> int:
        """Input sizes must be multiples of this many pixels."""
        return 2 ** (len(self.down_channels) - 1)

    @property
    def pixels_per_splat(self) -> int:
        """Side of the square of input pixels that shares one splat."""
        return 2 ** (len(self.down_channels) - len(self.up_channels))

    @property
    def splat_size(self) -> int:
        """Splats along each side of a view: N = V * splat_size^2."""
        return self.input_size // self.pixels_per_splat

    @classmethod
    def big(cls, *, temporal_attention: bool = True) -> L4GMConfig:
        """The released network (paper section 5); without temporal attention it is LGM's."""
        return cls(
            input_size=256,
            down_channels=(64, 128, 256, 512, 1024, 1024),
            down_attention=(False, False, False, True, True, True),
            mid_attention=True,
            up_channels=(1024, 1024, 512, 256, 128),
            up_attention=(True, True, True, False, False),
            temporal_attention=temporal_attention,
        )

    @classmethod
    def from_released(cls, values: Mapping[str, Any]) -> L4GMConfig:
        """A config from the released code's option names (`use_temp_attn`, `splat_size`, ...).

        Raises:
            InputError: for unknown keys, and for options that the released weights do not use.
        """
        shape = {key: value for key, value in values.items() if key not in _RELEASED_USE}
        temporal = shape.pop("use_temp_attn", True)
        splat_size = shape.pop("splat_size", None)
        if shape.pop("gaussian_perpixel", 1) != 1:
            raise InputError("gaussian_perpixel of the model config must be 1")
        shape.setdefault("mid_attention", True)
        config = cls.from_dict({**shape, "temporal_attention": temporal})
        if splat_size not in (None, config.splat_size):
            raise InputError(
                f"splat_size {splat_size} of the model config does not follow from its levels, "
                f"which give {config.splat_size}"
            )
        return config
