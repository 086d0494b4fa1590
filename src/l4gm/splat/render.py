"""The one public function of splatting: Gaussians and cameras to images."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch
from torch import Tensor

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras
from l4gm.splat.checks import check_finite, sum_of_all

# (Gaussians [...], Cameras [..., C], background [3]) -> (image, alpha), as in RenderOutput.
_Backend = Callable[[Gaussians, Cameras, Tensor], tuple[Tensor, Tensor]]

# Module and function of each backend, imported when first used.
_BACKENDS = {
    "reference": ("l4gm.splat.reference", "render_reference"),
    "cpu": ("l4gm.splat.cpu", "render_cpu"),
    "triton": ("l4gm.splat.triton_backend", "render_triton"),
    "gsplat": ("l4gm.splat.gsplat_backend", "render_gsplat"),
}

# Backends that need a package beyond the core: its least version, and where it comes from.
_PACKAGES = {
    "triton": (
        (3, 6),
        'it comes with torch for CUDA; else install it with pip install "triton>=3.6"',
    ),
    "gsplat": ((1, 5), 'install it with pip install "l4gm[cuda]"'),
}

# What "auto" takes on a GPU: the first that is there and agrees with the reference at first use.
# gsplat's kernels are proven; ours have not run on a GPU in this project yet.
_CUDA_PREFERENCE = ("gsplat", "triton")


@dataclass(frozen=True)
class RenderOutput:
    """Rendered views.

    Args:
        image: [..., C, 3, H, W], composited over the background; not clamped.
        alpha: [..., C, 1, H, W], in [0, 1].
    """

    image: Tensor
    alpha: Tensor


def render(
    gaussians: Gaussians,
    cameras: Cameras,
    background: float | Tensor = 1.0,
    backend: str = "auto",
) -> RenderOutput:
    """Splat Gaussians into the views of cameras.

    EWA splatting as gsplat 1.5 means it; `l4gm.splat.constants` has the thresholds. Differentiable
    with respect to means, quats, scales, opacities, colors and background. All frames and views of
    a call are rendered together: one call with many is faster than many calls.

    Args:
        gaussians: leading dimensions [...]; N may be 0.
        cameras: [..., C], or [C] to be used for all leading dimensions. Nothing nearer than `near`
            or farther than `far` is drawn.
        background: one value for all channels, or a tensor [3].
        backend: "reference" (slow, any device and dtype), "cpu", "triton" or "gsplat" (CUDA), or
            "auto": on CUDA the first of gsplat and triton that is installed and, at first use on
            the device, agrees with the reference; else cpu.

    Returns:
        Image [..., C, 3, H, W] and alpha [..., C, 1, H, W] on the device of the Gaussians; float32
        ("reference": the dtype of the means).

    Raises:
        ValueError: if shapes do not fit, a value is not finite, or there is no such backend.
        InputError: if the backend is not installed, or cannot work on the device.
    """
    cameras = _expand_cameras(cameras, gaussians.shape)
    color = _background_color(background, gaussians.means)
    name = _choose_backend(backend, gaussians.device)
    draw = _load_backend(name)
    if name != "triton":  # which looks at the sum when it has to wait for the GPU anyway
        check_finite(gaussians, cameras, color, float(sum_of_all(gaussians, cameras, color)))
    return RenderOutput(*draw(gaussians, cameras, color))


def available_backends() -> list[str]:
    """Names that `render` can use on this machine, whatever the device."""
    return [name for name in _BACKENDS if _is_installed(name)]


def _expand_cameras(cameras: Cameras, lead: torch.Size) -> Cameras:
    """Cameras [..., C] for Gaussians [...]."""
    if len(cameras.shape) == 0:
        raise ValueError("cameras must be [C] or [..., C], got a single camera without dimensions")
    if len(cameras.shape) == 1:
        return cameras.expand(*lead, *cameras.shape)
    if cameras.shape[:-1] != lead:
        raise ValueError(
            f"cameras must be [C] or {[*lead, 'C']} to go with Gaussians {list(lead)}, "
            f"got {list(cameras.shape)}"
        )
    return cameras


def _background_color(background: float | Tensor, like: Tensor) -> Tensor:
    """The background as a tensor [3]."""
    if isinstance(background, int | float):
        if not math.isfinite(background):
            raise ValueError(f"background must be finite, got {background}")
        return like.new_full((3,), background)
    color = torch.as_tensor(background, dtype=like.dtype, device=like.device)
    if color.ndim == 0:
        color = color.expand(3)
    if color.shape != (3,):
        raise ValueError(f"background must be one value or [3], got {list(color.shape)}")
    return color


def _choose_backend(name: str, device: torch.device) -> str:
    """The backend that a name means on a device."""
    if name == "auto":
        if device.type == "cuda":
            for candidate in _CUDA_PREFERENCE:
                if _is_installed(candidate) and _is_trusted(candidate, device):
                    return candidate
        if device.type != "cpu":
            _note_fallback(device.type)
        return "cpu"
    if name not in _BACKENDS:
        raise ValueError(
            f"no rendering backend {name!r}; there are auto, {', '.join(available_backends())}"
        )
    return name


@cache
def _is_trusted(name: str, device: torch.device) -> bool:
    """Whether a backend agrees with the reference on a device; says once if it does not."""
    from l4gm.splat.self_check import check_once

    reason = check_once(name, lambda: _load_backend(name), device)
    if reason is not None:
        logging.getLogger(__name__).warning(
            'rendering backend "%s" is left out on %s, it does not do what the reference does: %s',
            name,
            device,
            reason,
        )
    return reason is None


_noted: set[str] = set()


def _note_fallback(device_type: str) -> None:
    """Say once per kind of device that rendering happens elsewhere."""
    if device_type not in _noted:
        _noted.add(device_type)
        missing = device_type == "cuda" and not any(map(_is_installed, _CUDA_PREFERENCE))
        hint = '; for CUDA install "triton>=3.6"' if missing else ""
        logging.getLogger(__name__).warning(
            "no rendering backend for %s here: rendering on the CPU%s", device_type, hint
        )


def _load_backend(name: str) -> _Backend:
    if not _is_installed(name):
        least, source = _PACKAGES[name]
        raise InputError(
            f'backend "{name}" is not installed: expected the package {name} '
            f"{least[0]}.{least[1]} or later; {source}"
        )
    module, function = _BACKENDS[name]
    return getattr(import_module(module), function)


@cache
def _is_installed(name: str) -> bool:
    """Whether the package that a backend needs is there, in a version that it can use."""
    if name not in _PACKAGES:
        return True
    if find_spec(name) is None:
        return False
    try:
        found = version(name).split(".")[:2]
    except PackageNotFoundError:  # under another name, as where others build it
        return True
    return tuple(map(int, found)) >= _PACKAGES[name][0]
