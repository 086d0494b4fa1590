"""Rendering and its gradients; `benchmarks/splatting.py` measures more closely."""

from __future__ import annotations

from collections.abc import Callable

import torch

from l4gm.bench.results import Row
from l4gm.bench.timing import take_turns
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.splat.render import RenderOutput, available_backends, render

SIZES = ((16_384, 128), (65_536, 256), (65_536, 512))  # Gaussians, pixels
NUM_VIEWS = 4


def shell(number: int, seed: int = 0) -> Gaussians:
    """Half transparent Gaussians on a sphere of radius 0.45, of a size that covers it."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(number, 3, generator=generator)
    return Gaussians(
        means=0.45 * directions / directions.norm(dim=1, keepdim=True),
        quats=torch.randn(number, 4, generator=generator),
        scales=torch.full((number, 3), 0.009 * (65_536 / number) ** 0.5),
        opacities=torch.rand(number, generator=generator),
        colors=torch.rand(number, 3, generator=generator),
    )


def passes(gaussians: Gaussians, cameras: Cameras, backend: str) -> dict[str, Callable[[], object]]:
    """What is timed: rendering, and rendering with the gradients of all parameters."""
    leaves = gaussians.map(lambda t: t.requires_grad_())

    def forward() -> RenderOutput:
        with torch.no_grad():
            return render(leaves, cameras, backend=backend)

    def both() -> None:
        out = render(leaves, cameras, backend=backend)
        (out.image.square().mean() + out.alpha.mean()).backward()

    return {"forward": forward, "forward and backward": both}


def bench_splatting(
    device: torch.device,
    *,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    repeats: int = 3,
) -> list[Row]:
    """Milliseconds per view of the backends that run on a device, the reference apart."""
    backends = ["auto"]
    if device.type == "cuda":
        backends = [name for name in available_backends() if name not in ("reference", "cpu")]
    rows = []
    for number, size in sizes:
        cameras = orbit_cameras([0.0, 90.0, 180.0, 270.0], size=size).to(device)
        for backend in backends:
            timed = passes(shell(number).to(device), cameras, backend)
            times = take_turns(timed, device, repeats=repeats)
            figures = {}
            for name, timing in times.items():
                figures[f"{name} ms"] = 1e3 * timing.least_seconds / NUM_VIEWS
                processor = 1e3 * timing.processor_seconds / NUM_VIEWS
                figures[f"{name}, processor ms"] = processor
            case = f"{number:,} Gaussians, {size} px, per view"
            rows.append(Row(case=case, competitor=backend, figures=figures))
    return rows
