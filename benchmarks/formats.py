"""Size, time and loss of every file format, for a whole animation.

    python benchmarks/formats.py                            # a made-up clip of 48 x 65,536
    python benchmarks/formats.py out/demo                   # and a result of `l4gm reconstruct`
    python benchmarks/formats.py --frames 8 --only l4gm spz

Each format writes the clip, reads it back, and both are rendered: 4 cameras around the object, 3
frames, 512 px, on white. Formats of one set write a folder of frames. Times are processor seconds
and wall-clock seconds of this process. Writes formats.json and formats.md to benchmarks/results.

The made-up clip: balls that move and breathe, seen pixel by pixel from four sides, as the paper's
network makes it, every number of every Gaussian with a grain that stays and noise that changes
every frame; a third of the Gaussians is visible. Real reconstructions have less noise, and are
smaller. The surface clip: opaque splats on a torus that turns and swells, every frame with new
ones in random order, as a network makes it that lays splats on a surface.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from l4gm.evaluation.metrics import psnr
from l4gm.files import load, save
from l4gm.gaussians.still_formats import STILL_FORMATS
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.gaussians.visible import visible
from l4gm.geometry.cameras import orbit_cameras
from l4gm.meshes.export import MeshSource, export_meshes
from l4gm.splat.render import render

SEQUENCE_FILES = {"usd": "clip.usdc", "safetensors": "clip.safetensors", "l4gm": "clip.l4gm"}
PAGE = "html"
MESH = "glb-mesh"
NOT_READ = (PAGE, MESH)
FORMATS = (*STILL_FORMATS, *SEQUENCE_FILES, *NOT_READ)
AZIMUTHS = (0, 45, 135, 250)
PICTURE_PX = 512


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    clip: str
    format: str
    megabytes: float
    smaller_than_ply: float
    write_seconds: float
    write_cpu_seconds: float
    read_seconds: float | None
    psnr_mean: float | None
    psnr_least: float | None


def made_up_clip(num_frames: int, side: int = 128) -> GaussianSequence:
    """[num_frames, 4 * side * side], the clip that the module's text describes."""
    generator = torch.Generator().manual_seed(0)
    cameras = orbit_cameras([0, 90, 180, 270], size=side)
    focal = cameras.intrinsics[0, 0, 0]
    pixel = (torch.arange(side) + 0.5 - side / 2) / focal
    rows, columns = torch.meshgrid(pixel, pixel, indexing="ij")
    rays = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    rotation, origins = (
        cameras.world_from_camera[:, :3, :3],
        cameras.world_from_camera[:, :3, 3],
    )
    rays = torch.einsum("vij,hwj->vhwi", rotation, rays)
    rays = rays / rays.norm(dim=-1, keepdim=True)

    def noise(*shape: int) -> Tensor:
        return torch.randn(4, side, side, *shape, generator=generator)

    grain = {name: noise(width) for name, width in (("m", 1), ("s", 3), ("q", 4), ("c", 3))}
    sets = []
    for frame in range(num_frames):
        distance = _first_hit(origins[:, None, None], rays, 2 * math.pi * frame / 24)
        hit = distance < 2.4
        distance = torch.where(hit, distance, 1.5)[..., None]
        places = origins[:, None, None] + rays * (distance + 0.005 * grain["m"] + 0.002 * noise(1))
        colors = 0.5 + 0.3 * torch.sin(9 * places + torch.tensor([0.0, 2, 4]))
        quats = torch.tensor([0.6, 0.3, 0.7, 0.1]) + 0.2 * torch.sin(5 * places[..., :1])
        quats = quats + 0.1 * grain["q"] + 0.02 * noise(4)
        scales = math.log(0.9 / side) + torch.tensor([0.0, 0, -0.7])
        sets.append(
            Gaussians(
                means=places.reshape(-1, 3),
                quats=torch.nn.functional.normalize(quats, dim=-1).reshape(-1, 4),
                scales=(scales + 0.2 * grain["s"] + 0.05 * noise(3)).exp().reshape(-1, 3),
                opacities=torch.where(
                    hit, (0.93 + 0.03 * noise()).clamp(0.5, 1), (0.002 * noise()).abs()
                ).reshape(-1),
                colors=(colors + 0.03 * grain["c"] + 0.008 * noise(3)).clamp(0, 1).reshape(-1, 3),
            )
        )
    return GaussianSequence(Gaussians.stack(sets), 24.0)


def surface_clip(num_frames: int, count: int = 65_536) -> GaussianSequence:
    """[num_frames, count], the surface clip of the module's text."""
    generator = torch.Generator().manual_seed(0)
    sets = []
    for frame in range(num_frames):
        turn = 2 * math.pi * frame / 24
        u, v = 2 * math.pi * torch.rand(2, count, generator=generator)
        tube = 0.18 + 0.04 * math.sin(turn)
        ring = 0.32 + tube * v.cos()
        points = torch.stack([ring * u.cos(), ring * u.sin(), tube * v.sin()], -1)
        normals = torch.stack([v.cos() * u.cos(), v.cos() * u.sin(), v.sin()], -1)
        cos, sin = math.cos(turn), math.sin(turn)
        rotation = torch.tensor([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
        x, y, z = (normals @ rotation.T).unbind(-1)
        quats = torch.stack([1 + z + 1e-4, -y, x, torch.zeros_like(x)], -1)
        size = math.sqrt(0.32 * tube * 4 * math.pi**2 / count)
        colors = 0.5 + 0.4 * torch.sin(torch.stack([5 * u, 3 * v, u + v], -1))
        sets.append(
            Gaussians(
                means=points @ rotation.T,
                quats=torch.nn.functional.normalize(quats, dim=-1),
                scales=torch.tensor([size, size, size / 8]).repeat(count, 1),
                opacities=torch.full((count,), 0.97),
                colors=colors,
            )
        )
    return GaussianSequence(Gaussians.stack(sets), 24.0)


def _first_hit(origins: Tensor, rays: Tensor, phase: float) -> Tensor:
    """Distance along the rays to the nearest of the moving balls; infinite where there is none."""
    balls = (
        (0.1 * math.sin(phase), 0.1 * abs(math.sin(phase)), 0.0, 0.38 + 0.03 * math.sin(2 * phase)),
        (0.45 * math.cos(0.5 * math.sin(phase)), 0.25 + 0.2 * math.sin(phase), 0.1, 0.14),
        (-0.45, 0.2 - 0.2 * math.sin(phase), 0.15 * math.cos(phase), 0.14),
        (0.1 * math.sin(phase), -0.5, 0.0, 0.2),
    )
    nearest = torch.full(rays.shape[:-1], torch.inf)
    for x, y, z, radius in balls:
        offset = origins - torch.tensor([x, y, z])
        along = (rays * offset).sum(-1)
        inside = along.square() - offset.square().sum(-1) + radius**2
        distance = -along - inside.clamp(min=0).sqrt()
        nearest = torch.minimum(nearest, torch.where(inside > 0, distance, torch.inf))
    return nearest


def pictures(sequence: GaussianSequence) -> Tensor:
    """[3 frames, cameras, 3, H, W], clamped as on a screen."""
    frames = [0, len(sequence) // 3, len(sequence) - 1]
    cameras = orbit_cameras(AZIMUTHS, 15, size=PICTURE_PX)
    return render(sequence.gaussians[frames], cameras).image.clamp(0, 1)


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else path.iterdir()
    return sum(file.stat().st_size for file in files)


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` returns, wall-clock seconds and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def measure(name: str, kind: str, clip: GaussianSequence, exact: Tensor, folder: Path) -> Row:
    """Write, read, render, compare."""
    ply_bytes = int(visible(clip.gaussians).sum()) * 14 * 4
    names = {**SEQUENCE_FILES, PAGE: "clip.html", MESH: "clip.glb"}
    path = folder / names.get(kind, f"frames_{kind}")
    still = kind if kind in STILL_FORMATS else "ply"

    def write() -> None:
        if kind == MESH:
            source = MeshSource(
                num_frames=len(clip), fps=clip.fps, frame=clip.gaussians.__getitem__
            )
            export_meshes(path, MESH, source)
        else:
            save(clip, path, frame_format=still)

    _, wall, processor = timed(write)
    megabytes = size_of(path) / 1e6
    read = mean = least = None
    if kind not in NOT_READ:
        back, read, _ = timed(lambda: load(path))
        decibels = psnr(pictures(back), exact)
        mean, least = float(decibels.mean()), float(decibels.min())
    row = Row(
        clip=name,
        format=kind,
        megabytes=megabytes,
        smaller_than_ply=ply_bytes / 1e6 / megabytes,
        write_seconds=wall,
        write_cpu_seconds=processor,
        read_seconds=read,
        psnr_mean=mean,
        psnr_least=least,
    )
    print(table_line(row), flush=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return row


def table_line(row: Row) -> str:
    def decibels(value: float | None) -> str:
        return "" if value is None else "exact" if value >= 99 else f"{value:.1f}"

    read = "" if row.read_seconds is None else f"{row.read_seconds:.1f}"
    return (
        f"| {row.clip} | {row.format} | {row.megabytes:.2f} | {row.smaller_than_ply:.1f} | "
        f"{decibels(row.psnr_mean)} | {decibels(row.psnr_least)} | {row.write_cpu_seconds:.1f} | "
        f"{row.write_seconds:.1f} | {read} |"
    )


HEAD = (
    "| clip | format | MB | times smaller than PLY | PSNR mean, dB | PSNR least, dB | "
    "write, CPU s | write, s | read, s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("assets", nargs="*", type=Path, help="results of l4gm reconstruct")
    parser.add_argument("--frames", type=int, default=48, help="of the made-up clip")
    parser.add_argument("--only", nargs="*", choices=FORMATS, default=FORMATS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    print(HEAD)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, Callable[[int], GaussianSequence]] = {
            "made up": made_up_clip,
            "surface": surface_clip,
        }
        for source in [*made, *options.assets]:
            clip = made[source](options.frames) if source in made else load(source)
            assert isinstance(clip, GaussianSequence), f"{source} is not a sequence"
            size = f"{len(clip)} x {clip.gaussians.num_gaussians:,}"
            name = f"{source if source in made else source.name}, {size}"
            exact = pictures(clip)
            rows += [measure(name, kind, clip, exact, Path(folder)) for kind in options.only]
    machine = {
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    document = {"machine": machine, "rows": [asdict(row) for row in rows]}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "formats.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = ["# Formats", "", HEAD, *map(table_line, rows), ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    (options.output / "formats.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
