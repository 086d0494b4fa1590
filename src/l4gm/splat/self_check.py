"""Whether a GPU backend can be trusted on this device: compared once with the reference.

A small scene is rendered by the backend and by the reference, forward and backward. The verdict is
kept on disk for this device, driver and these versions, so that it costs a second (and what the
backend takes to compile itself) once. An entry is made before the check and settled after it: where
the entry of a process that is gone was never settled, the backend took the process down, and is not
tried again.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l4gm import __version__
from l4gm.errors import InputError, is_out_of_memory
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.io.json_file import read_json
from l4gm.splat.reference import render_reference

CACHE_VARIABLE = "L4GM_CACHE_DIR"
CACHE_NAME = "rasterizers.json"

# Looser than the backends' tests: float32 projections pass, a wrong constant does not.
_MOST_PIXEL_ERROR = 2e-3
_MOST_DIFFERENT_PIXELS = 0.02  # where a Gaussian stands exactly at a threshold
_MOST_GRADIENT_ERROR = 1e-2  # relative, L2
_PARAMETERS = ("means", "quats", "scales", "opacities", "colors")

Draw = Callable[[Gaussians, Cameras, Tensor], tuple[Tensor, Tensor]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What the check found.

    Args:
        reason: why the backend is not to be trusted, in words; None if it is.
        lasting: whether the next process would find the same.
    """

    reason: str | None
    lasting: bool = True


def check_once(name: str, load: Callable[[], Draw], device: torch.device) -> str | None:
    """Why a backend is not to be trusted on a device, or None; checked at first use alone.

    Args:
        name: of the backend.
        load: imports it.
        device: what it is to render on.
    """
    key, entries = _key(name, device), _read()
    known = entries.get(key)
    if isinstance(known, dict) and "reason" in known:
        return known["reason"]
    if isinstance(known, dict) and not _is_alive(known):
        reason = "it took down the process that tried it first"
        _write(key, {"reason": reason})
        return reason
    _write(key, {"pid": os.getpid(), "host": platform.node()})
    logger.info("%s: checked against the reference on %s, once", name, device)
    verdict = compare(load, device)
    _write(key, {"reason": verdict.reason} if verdict.lasting else None)
    return verdict.reason


def compare(load: Callable[[], Draw], device: torch.device) -> Verdict:
    """Render and differentiate a small scene by a backend and by the reference."""
    with (
        torch.inference_mode(False),  # rendering mostly happens inside of it
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        gaussians, cameras, background, weights = _scene()
        expected = _results(render_reference, gaussians, cameras, background, weights)
        try:
            actual = _results(
                load(),
                gaussians.to(device, torch.float32),
                cameras.to(device),
                background.to(device, torch.float32),
                weights,
            )
        except Exception as error:  # a backend's first use: whatever it raises, another can do it
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return Verdict(reason, lasting=not is_out_of_memory(error))
    return Verdict(_difference(expected, actual))


def _scene() -> tuple[Gaussians, Cameras, Tensor, Tensor]:
    """48 Gaussians, some behind each other, two cameras of 40 px, and weights of the loss."""
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(1, 48, 14, generator=generator, dtype=torch.float64)
    gaussians = Gaussians(
        means=1.2 * random[..., :3] - 0.6,
        quats=random[..., 3:7] - 0.5,
        scales=0.02 + 0.15 * random[..., 7:10].square(),
        opacities=0.05 + 0.9 * random[..., 10],
        colors=random[..., 11:],
    )
    cameras = orbit_cameras([0.0, 115.0], 12.0, size=40).expand(1, 2)
    weights = torch.randn(1, 2, 4, 40, 40, generator=generator, dtype=torch.float64)
    background = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    return gaussians, cameras, background, weights


def _results(
    draw: Draw, gaussians: Gaussians, cameras: Cameras, background: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """What is compared, in float64 on the CPU: "views" [1, 2, 4, 40, 40] and the gradients."""
    leaves = gaussians.map(lambda tensor: tensor.detach().clone().requires_grad_())
    views = torch.cat(draw(leaves, cameras, background), -3)
    loss = (views * weights.to(views)).sum()
    inputs = [getattr(leaves, name) for name in _PARAMETERS]
    gradients = dict(zip(_PARAMETERS, torch.autograd.grad(loss, inputs), strict=True))
    found = {"views": views.detach(), **gradients}
    return {name: tensor.double().cpu() for name, tensor in found.items()}


def _difference(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> str | None:
    """In what two results differ, in words."""
    for name, want in expected.items():
        got = actual[name]
        if got.shape != want.shape:
            return f"{name}: shape {list(got.shape)}, expected {list(want.shape)}"
        if not got.isfinite().all():
            return f"{name}: values that are not finite"
        if name == "views":
            worst = (got - want).abs().amax(-3)
            share = float((worst > _MOST_PIXEL_ERROR).double().mean())
            if share > _MOST_DIFFERENT_PIXELS:
                return (
                    f"{100 * share:.0f} % of the pixels differ, by up to {float(worst.max()):.2g}"
                )
        else:
            error = float((got - want).norm() / want.norm())
            if error > _MOST_GRADIENT_ERROR:
                return f"the gradient of {name} is off by {100 * error:.1f} %"
    return None


def _key(name: str, device: torch.device) -> str:
    """All that a verdict depends on."""
    try:
        package = version(name)
    except PackageNotFoundError:
        package = "unknown"
    parts = (f"{name} {package}", f"l4gm {__version__}", f"torch {torch.__version__}")
    return ", ".join((*parts, _device_name(device), _driver()))


def _device_name(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} sm_{major}{minor}"


def _driver() -> str:
    """The version of the GPU's driver, as far as it can be known without a process."""
    with suppress(OSError, IndexError):
        first = Path("/proc/driver/nvidia/version").read_text().splitlines()[0]
        return " ".join(first.split())[:120]
    return f"CUDA {torch.version.cuda}"


def _is_alive(entry: dict[str, Any]) -> bool:
    """Whether the process that made an unsettled entry may still be at it."""
    pid = entry.get("pid")
    if entry.get("host") != platform.node() or not isinstance(pid, int):
        return True  # on a machine that shares this home: not known, so it is checked here
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _cache_file() -> Path:
    folder = os.environ.get(CACHE_VARIABLE)
    if folder is None:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = str(Path(base) / "l4gm")
    return Path(folder) / CACHE_NAME


def _read() -> dict[str, Any]:
    with suppress(InputError, OSError, RuntimeError):  # RuntimeError: there is no home
        found = read_json(_cache_file(), max_bytes=1 << 20)
        return found if isinstance(found, dict) else {}
    return {}


def _write(key: str, entry: dict[str, Any] | None) -> None:
    """Set or remove one entry; where nothing can be written, each process checks for itself."""
    with suppress(InputError, OSError, RuntimeError):
        entries = _read()
        entries.pop(key, None)
        if entry is not None:
            entries[key] = entry
        with atomic_file(_cache_file()) as partial:
            partial.write_text(json.dumps(entries, indent=1) + "\n")
