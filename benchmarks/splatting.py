"""Speed of the splatting backends: milliseconds per view, forward and backward.

    python benchmarks/splatting.py                        # the table, a few minutes
    python benchmarks/splatting.py --quick --threads 1    # the smaller half, one thread
    python benchmarks/splatting.py --earlier FOLDER       # beside an earlier implementation

The competitors of a row take turns in one run, so that a busy machine slows all of them; the least
time of each counts. Writes splatting.json and splatting.md to benchmarks/results (--output).

The scene: Gaussians on a thick shell, as the network makes them: 45 % are nearly transparent.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.splat.render import available_backends, render

SIZES = [(4096, 64, 8), (16384, 128, 8), (65536, 256, 4), (65536, 512, 4), (65536, 512, 8)]
SCALING_GAUSSIANS = [(n, 256, 4) for n in (4096, 16384, 65536, 262144)]
SCALING_VIEWS = [(65536, 256, v) for v in (1, 2, 4, 8, 16)]
REFERENCE_SIZE = (1024, 32, 2)
GPU_SIZES = [(65536, 512, 4)]  # in 16 frames: what a video is
GPU_FRAMES = 16
GPU_BACKENDS = ("triton", "gsplat")

Pass = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """One line of the table; times in milliseconds per view, the least of all repetitions."""

    section: str
    competitor: str
    gaussians: int
    size: int
    views: int
    threads: int
    forward_ms: float
    backward_ms: float


@dataclass(frozen=True)
class Competitor:
    """A forward pass, and the backward pass of what it returned."""

    forward: Pass
    backward: Callable[[Any], Any]


def shell(number: int, seed: int = 0) -> Gaussians:
    """The scene: directions even, radius 0.4 to 0.5, scales around 0.009 for 65,536 of them."""
    r = np.random.default_rng(seed)
    directions = r.normal(size=(number, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    scales = np.exp(r.normal(math.log(0.009), 0.4, size=(number, 3))).clip(0.003, 0.04)
    kind = r.uniform(size=number)
    opacities = np.where(
        kind < 0.45,
        r.uniform(0, 0.005, size=number),
        np.where(kind < 0.725, r.uniform(0.5, 1, size=number), r.uniform(0.005, 0.5, size=number)),
    )
    values = (
        directions * r.uniform(0.4, 0.5, size=(number, 1)),
        r.normal(size=(number, 4)),
        scales * math.sqrt(65536 / number),
        opacities,
        r.uniform(size=(number, 3)),
    )
    return Gaussians(*(torch.from_numpy(value).float() for value in values))


def ours(backend: str, gaussians: Gaussians, cameras: Cameras, device: str = "cpu") -> Competitor:
    """A backend of this package, with gradients of all parameters."""
    leaves = gaussians.to(device).map(lambda t: t.clone().requires_grad_())
    cameras = cameras.to(device)
    tensors = [leaves.means, leaves.quats, leaves.scales, leaves.opacities, leaves.colors]
    shape = (*gaussians.shape, *cameras.shape, 4, cameras.height, cameras.width)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
    weights = weight[..., :3, :, :].contiguous(), weight[..., 3:, :, :].contiguous()

    def wait(value: Any) -> Any:
        if device == "cuda":
            torch.cuda.synchronize()
        return value

    return Competitor(
        lambda: wait(render(leaves, cameras, 1.0, backend)),
        lambda out: wait(torch.autograd.grad((out.image, out.alpha), tensors, weights)),
    )


def earlier(folder: Path, gaussians: Gaussians, cameras: Cameras) -> Competitor:
    """The module `rast4` from a folder: same strips, alpha clamped at 0.99, float32 projection."""
    sys.path.insert(0, str(folder))
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "l4gm-earlier"))
    import rast4  # type: ignore[import-not-found]

    values = [
        getattr(gaussians, n).numpy() for n in ("means", "quats", "scales", "opacities", "colors")
    ]
    pose = cameras.camera_from_world.numpy()
    k = cameras.intrinsics[0]
    intrinsics = np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]], np.float32)
    size = cameras.height
    grad_image = np.random.default_rng(0).normal(size=(len(pose), size, size, 3))
    grad_alpha = np.random.default_rng(1).normal(size=(len(pose), size, size))
    grads = grad_image.astype(np.float32), grad_alpha.astype(np.float32)
    return Competitor(
        lambda: rast4.forward(*values, pose, intrinsics, size, size)[2],
        lambda context: rast4.backward(context, *grads),
    )


def race(
    competitors: dict[str, Competitor], views: int, seconds: float, clock: Callable[[], float]
) -> dict[str, tuple[float, float]]:
    """Let all take turns for so long; least forward and backward milliseconds per view of each."""
    best = {name: [math.inf, math.inf] for name in competitors}
    for competitor in competitors.values():
        competitor.backward(competitor.forward())
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < 3 or time.perf_counter() < end:
        for name, competitor in competitors.items():
            start = clock()
            out = competitor.forward()
            middle = clock()
            competitor.backward(out)
            last = clock()
            best[name][0] = min(best[name][0], middle - start)
            best[name][1] = min(best[name][1], last - middle)
            del out
        rounds += 1
    return {name: (f * 1e3 / views, b * 1e3 / views) for name, (f, b) in best.items()}


def use_threads(number: int, with_numba_pool: bool = False) -> None:
    """Torch's threads; on demand those of Numba's own pool, which this package does not use."""
    if with_numba_pool:
        import numba

        numba.set_num_threads(number)
    torch.set_num_threads(number)  # last: starting Numba's pool changes it


def measure_section(
    section: str,
    sizes: list[tuple[int, int, int]],
    threads: int,
    seconds: float,
    earlier_folder: Path | None,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Row]:
    """Race all competitors at each (number of Gaussians, image size, views)."""
    use_threads(threads, with_numba_pool=earlier_folder is not None)
    rows = []
    for number, size, views in sizes:
        gaussians = shell(number)
        cameras = orbit_cameras([360 / views * k for k in range(views)], 10.0, size=size)
        competitors = {"cpu": ours("cpu", gaussians, cameras)}
        if section == "reference":
            competitors["reference"] = ours("reference", gaussians, cameras)
        competitors |= on_gpu(gaussians, cameras)
        if earlier_folder is not None:
            competitors["earlier"] = earlier(earlier_folder, gaussians, cameras)
        for name, times in race(competitors, views, seconds, clock).items():
            rows.append(Row(section, name, number, size, views, threads, *times))
            logging.info("%s", format_row(rows[-1]))
    return rows


def on_gpu(gaussians: Gaussians, cameras: Cameras) -> dict[str, Competitor]:
    """The backends that run on a GPU, if there is one."""
    if not torch.cuda.is_available():
        return {}
    names = [name for name in GPU_BACKENDS if name in available_backends()]
    return {name: ours(name, gaussians, cameras, "cuda") for name in names}


def measure_frames(seconds: float) -> list[Row]:
    """Race the GPU's backends over many frames in one call; nothing without a GPU."""
    rows: list[Row] = []
    if not torch.cuda.is_available():
        return rows
    for number, size, views in GPU_SIZES:
        frames = Gaussians.stack([shell(number, seed) for seed in range(GPU_FRAMES)])
        cameras = orbit_cameras([360 / views * k for k in range(views)], 10.0, size=size)
        images = views * GPU_FRAMES
        for name, times in race(
            on_gpu(frames, cameras), images, seconds, time.perf_counter
        ).items():
            rows.append(Row("frames", name, number, size, images, 1, *times))
            logging.info("%s", format_row(rows[-1]))
    return rows


HEADER = (
    "| section | backend | Gaussians | px | views | threads | forward ms/view "
    "| backward ms/view |\n"
    "|---|---|--:|--:|--:|--:|--:|--:|"
)


def format_row(row: Row) -> str:
    return (
        f"| {row.section} | {row.competitor} | {row.gaussians:,} | {row.size} | {row.views} "
        f"| {row.threads} | {row.forward_ms:.2f} | {row.backward_ms:.2f} |"
    )


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import llvmlite.binding
    import numba

    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return gpu | {
        "processor": llvmlite.binding.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
    }


def write_results(folder: Path, rows: list[Row], about: dict[str, Any], limit: str) -> None:
    """splatting.json and splatting.md, each written whole."""
    folder.mkdir(parents=True, exist_ok=True)
    about_lines = "\n".join(f"- {key}: {value}" for key, value in about.items())
    table = "\n".join([HEADER, *map(format_row, rows)])
    texts = {
        "splatting.json": json.dumps(
            {"machine": about, "rows": [asdict(r) for r in rows]}, indent=1
        ),
        "splatting.md": f"# Splatting\n\n{table}\n\n{limit}\n\n{about_lines}\n",
    }
    for name, text in texts.items():
        beside = folder / f".{name}.part"
        beside.write_text(text)
        beside.replace(folder / name)


def compositing_limit(number: int, size: int) -> str:
    """How near the forward compositing of one view comes to its arithmetic, on one thread.

    The arithmetic: rows of eight pixels that are not hidden, times what a row costs when one
    Gaussian after the other covers a whole strip, so that nothing but the rows takes time.
    """
    from splatting_limit import live_rows, seconds_per_row, stage_seconds

    use_threads(1)
    gaussians = shell(number)
    cameras = orbit_cameras([0.0], 10.0, size=size)
    rows, per_row = live_rows(gaussians, cameras), seconds_per_row()
    stages = stage_seconds(gaussians, cameras)
    share = rows * per_row / stages["composite"]
    listed = ", ".join(f"{name} {1e3 * seconds:.2f}" for name, seconds in stages.items())
    return (
        f"Stages of one view, {number:,} Gaussians at {size} px, one thread, ms: {listed}.\n"
        f"Compositing draws {rows:,} rows of eight pixels; at {1e9 * per_row:.1f} ns a row that is "
        f"{1e3 * rows * per_row:.2f} ms, {100 * share:.0f} % of the stage."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1])
    parser.add_argument("--seconds", type=float, default=4.0, help="per line of the table")
    parser.add_argument("--quick", action="store_true", help="only the first three sizes")
    parser.add_argument("--earlier", type=Path, help="folder of another module rast4.py to race")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: time of the processor, for one thread on a busy machine",
    )
    default_output = Path(__file__).parent / "results"
    parser.add_argument("--output", type=Path, default=default_output)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.info("%s", HEADER)
    clock = time.perf_counter if arguments.clock == "wall" else time.process_time
    about = machine() | {"clock": arguments.clock}
    sizes = SIZES[:3] if arguments.quick else SIZES
    plan = [("sizes", sizes, threads) for threads in sorted(set(arguments.threads))]
    most = max(arguments.threads)
    if not arguments.quick:
        plan += [("number", SCALING_GAUSSIANS, most), ("views", SCALING_VIEWS, most)]
    rows = []
    for section, section_sizes, threads in plan:
        rows += measure_section(
            section, section_sizes, threads, arguments.seconds, arguments.earlier, clock
        )
    rows += measure_frames(arguments.seconds)
    rows += measure_section("reference", [REFERENCE_SIZE], 1, arguments.seconds, None, clock)
    limit = compositing_limit(65536, 512)
    logging.info("%s", limit)
    write_results(arguments.output, rows, about, limit)


if __name__ == "__main__":
    main()
