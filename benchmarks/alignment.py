"""How well the alignment finds a known azimuth.

    python benchmarks/alignment.py                 # 100 procedural objects, some minutes
    python benchmarks/alignment.py --objects 10 --frame mesh

An object as splats, gathered from twelve pictures of it, is drawn from a random azimuth between
whole degrees: the video's first frame. The first guess are the same splats, with --noise off in
colour and place as a network's guess is. A hit is within one degree. With --frame mesh the frame is
drawn by the mesh renderer instead, so that outlines and colours differ in a systematic way, too.
Without noise the guess is exact, the easiest case; both others miss the aim (benchmarks/results).
Writes alignment_FRAME_NOISE.json to benchmarks/results (--output).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.clips import ProceduralClips
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import render_mesh
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.pipeline.align import best_azimuth
from l4gm.pipeline.rig import InputRig
from l4gm.splat.render import render

FRAME_PX = 256
GATHERED_PX = 64
AZIMUTHS = list(range(0, 360, 30))
SHARE = 0.95  # of the objects must be hits


def splats(mesh: AnimatedMesh) -> Gaussians:
    """[N]: the pixels of twelve pictures of a mesh of one frame, each at its place in the world."""
    cameras = orbit_cameras(AZIMUTHS, 15.0, size=GATHERED_PX)
    images, depth = (torch.from_numpy(array[0]) for array in render_mesh(mesh, cameras))
    rows, columns = torch.meshgrid(
        torch.arange(GATHERED_PX) + 0.5, torch.arange(GATHERED_PX) + 0.5, indexing="ij"
    )
    focal = cameras.intrinsics[0, 0, 0]
    x, y = (columns - GATHERED_PX / 2) / focal, (rows - GATHERED_PX / 2) / focal
    points = torch.stack([x * depth, y * depth, depth], -1)  # [V, H, W, 3], camera axes
    pose = cameras.world_from_camera
    points = torch.einsum("vij,vhwj->vhwi", pose[:, :3, :3], points) + pose[:, None, None, :3, 3]
    solid = images[..., 3] == 255
    means, colors = points[solid], images[solid][:, :3].float() / 255
    scales = (depth[solid] / focal * 0.5)[:, None].expand(-1, 3)
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).expand(len(means), 4).clone(),
        scales=scales.clone(),
        opacities=torch.full((len(means),), 0.9),
        colors=colors,
    )


def spoiled(gaussians: Gaussians, noise: float, generator: torch.Generator) -> Gaussians:
    """Off by `noise` (standard deviation) in the colours, and a fifth of it in the places."""

    def random() -> Tensor:
        return noise * torch.randn(gaussians.means.shape, generator=generator)

    return replace(
        gaussians,
        means=gaussians.means + random() / 5,
        colors=(gaussians.colors + random()).clamp(0, 1),
    )


def error_degrees(index: int, noise: float, frame_from: str) -> float:
    """By how much the alignment misses the azimuth of one object."""
    clips = ProceduralClips(seed=0, split="heldout")
    mesh = procedural_object(clips.object_seed(index), num_frames=1).normalized(0.0)
    azimuth = float(np.random.default_rng(index).uniform(-180, 180))
    camera = orbit_cameras([azimuth], size=FRAME_PX)
    truth = splats(mesh)
    if frame_from == "mesh":
        rgba = torch.from_numpy(render_mesh(mesh, camera)[0][0, 0]).permute(2, 0, 1).float() / 255
        frame = rgba[:3] * rgba[3:] + 1 - rgba[3:]
    else:
        frame = render(truth, camera).image[0].clamp(0, 1)
    guess = spoiled(truth, noise, torch.Generator().manual_seed(index))
    found = best_azimuth(guess, frame, InputRig())
    return abs((found - azimuth + 180) % 360 - 180)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--frame", choices=("splats", "mesh"), default="splats")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    errors = [error_degrees(i, options.noise, options.frame) for i in range(options.objects)]
    hits = sum(error <= 1 for error in errors)
    enough = hits >= SHARE * len(errors)
    print(f"{hits} of {len(errors)} within one degree: {'yes' if enough else 'NO'}")
    print(f"median error {np.median(errors):.2f}, worst {max(errors):.1f} degrees")
    document = {
        "objects": len(errors),
        "frame": options.frame,
        "noise": options.noise,
        "within_one_degree": hits,
        "median_error_degrees": float(np.median(errors)),
        "errors_degrees": [round(error, 2) for error in errors],
    }
    (options.output / f"alignment_{options.frame}_{options.noise:g}.json").write_text(
        json.dumps(document, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
