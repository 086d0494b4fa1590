"""The two types that everything after the network speaks: a set of Gaussians, and one per frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from l4gm.geometry.cameras import Cameras
from l4gm.io.rates import FPS_RANGE, is_frame_rate

_WIDTHS = {"means": 3, "quats": 4, "scales": 3, "opacities": None, "colors": 3}


@dataclass(frozen=True)
class Gaussians:
    """3D Gaussians, after activation. All tensors share their leading dimensions.

    Args:
        means: [..., N, 3], world coordinates.
        quats: [..., N, 4], w first; any non-zero length.
        scales: [..., N, 3], standard deviations along the own axes, world units.
        opacities: [..., N], in [0, 1].
        colors: [..., N, 3], RGB in [0, 1] (display values, no harmonics).

    Raises:
        ValueError: if a tensor's shape does not fit the means.
    """

    means: Tensor
    quats: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor

    def __post_init__(self) -> None:
        if self.means.ndim < 2 or self.means.shape[-1] != 3:
            raise ValueError(f"means must be [..., N, 3], got {list(self.means.shape)}")
        lead = self.means.shape[:-1]
        for name, width in _WIDTHS.items():
            expected = lead if width is None else (*lead, width)
            given = getattr(self, name).shape
            if given != expected:
                raise ValueError(
                    f"{name} must be {list(expected)} to go with means "
                    f"{list(self.means.shape)}, got {list(given)}"
                )

    @property
    def shape(self) -> torch.Size:
        """Leading dimensions, without N."""
        return self.means.shape[:-2]

    @property
    def num_gaussians(self) -> int:
        """N, the number of Gaussians in each set."""
        return self.means.shape[-2]

    @property
    def device(self) -> torch.device:
        return self.means.device

    def map(self, function: Callable[[Tensor], Tensor]) -> Gaussians:
        """Apply a function to every tensor."""
        return Gaussians(**{f.name: function(getattr(self, f.name)) for f in fields(self)})

    def __getitem__(self, index: Any) -> Gaussians:
        """Index the leading dimensions (never N)."""
        if not self.shape:
            raise IndexError("a single set of Gaussians has no leading dimension to index")
        flat = torch.arange(self.shape.numel(), device=self.device).reshape(self.shape)[index]
        return self.map(lambda t: t.reshape(self.shape.numel(), *t.shape[len(self.shape) :])[flat])

    def reshape(self, *shape: int) -> Gaussians:
        """The same sets under other leading dimensions."""
        lead = len(self.shape)
        return self.map(lambda t: t.reshape(*shape, *t.shape[lead:]))

    def to(self, *args: Any, **kwargs: Any) -> Gaussians:
        """Move or cast, as `Tensor.to`."""
        return self.map(lambda t: t.to(*args, **kwargs))

    def detach(self) -> Gaussians:
        return self.map(Tensor.detach)

    @staticmethod
    def stack(sets: Sequence[Gaussians]) -> Gaussians:
        """Join sets of the same N along a new first dimension."""
        names = _WIDTHS
        return Gaussians(**{n: torch.stack([getattr(g, n) for g in sets]) for n in names})

    @staticmethod
    def cat(sets: Sequence[Gaussians]) -> Gaussians:
        """Join batches of sets along their first dimension."""
        names = _WIDTHS
        return Gaussians(**{n: torch.cat([getattr(g, n) for g in sets]) for n in names})


@dataclass(frozen=True)
class GaussianSequence:
    """An animated object: one set of Gaussians for each video frame, the same order in every frame.

    Args:
        gaussians: [T, N].
        fps: frames per second, > 0 (`io.rates` has the range).
        cameras: optional [T] or [], the cameras of the input video.
    """

    gaussians: Gaussians
    fps: float
    cameras: Cameras | None = None

    def __post_init__(self) -> None:
        if len(self.gaussians.shape) != 1:
            raise ValueError(
                f"a sequence needs Gaussians [T, N], got leading dims {list(self.gaussians.shape)}"
            )
        if not is_frame_rate(self.fps):
            raise ValueError(f"fps must be {FPS_RANGE}, got {self.fps}")
        if self.cameras is not None and self.cameras.shape not in ((), (len(self),)):
            raise ValueError(
                f"cameras must be [] or [{len(self)}] for {len(self)} frames, "
                f"got {list(self.cameras.shape)}"
            )

    def __len__(self) -> int:
        return self.gaussians.means.shape[0]

    @property
    def duration_seconds(self) -> float:
        return len(self) / self.fps

    def to(self, *args: Any, **kwargs: Any) -> GaussianSequence:
        """Move or cast, as `Tensor.to`."""
        cameras = None if self.cameras is None else self.cameras.to(*args, **kwargs)
        return replace(self, gaussians=self.gaussians.to(*args, **kwargs), cameras=cameras)
