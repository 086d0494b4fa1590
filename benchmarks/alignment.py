"""How well the alignment finds a known azimuth, and whether its short cut costs anything.

    python benchmarks/alignment.py                       # 100 procedural objects, some minutes
    python benchmarks/alignment.py --guess wide          # a guess that is too wide
    python benchmarks/alignment.py --guess mini          # what the bundled network makes of it

The video's first frame is drawn by the mesh renderer, from a random azimuth between whole degrees.
The first guess is another thing: splats from depth pictures of the object, with their outlines
where the object's are ("good"); the same at twice the width, on the surface and not below it
("wide"); or the network's result for four true views at T = 1 ("mini"). --noise puts the splats'
colours off by that standard deviation, and their places by a fifth of it. A hit is within one
degree. With --all the answer is compared with that of drawing all 360 azimuths, too.
Writes alignment_GUESS_NOISE.json to benchmarks/results (--output).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from l4gm.datagen.animated_mesh import AnimatedMesh
from l4gm.datagen.clips import ProceduralClips
from l4gm.datagen.procedural import procedural_object
from l4gm.datagen.software_renderer import render_mesh
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import Cameras, orbit_cameras
from l4gm.geometry.rays import pixel_rays
from l4gm.model.l4gm import L4GM
from l4gm.pipeline.align import AZIMUTHS, azimuth_errors, best_azimuth
from l4gm.pipeline.rig import InputRig

FRAME_PX = 256
GATHERED_PX = 128
ELEVATIONS = (0.0, 30.0)
SHARE = 0.95  # of the objects must be hits
RASTER_BLUR = 0.003  # world units; the standard deviation that drawing adds at FRAME_PX


def pictures(mesh: AnimatedMesh, cameras: Cameras) -> Tensor:
    """[V, 3, H, W] on white, of the first frame."""
    rgba = torch.from_numpy(render_mesh(mesh, cameras)[0][0]).movedim(-1, -3).float() / 255
    return rgba[:, :3] * rgba[:, 3:] + 1 - rgba[:, 3:]


def splats(mesh: AnimatedMesh, cameras: Cameras, width: float, inset: float) -> Gaussians:
    """[N]: the pixels of pictures [V] of a mesh of one frame, each at its place in the world.

    Args:
        width: standard deviation in pixels of these pictures.
        inset: by how many standard deviations, as drawn, they lie below the surface: a splat
            reaches beyond its centre, so splats on the surface widen the outline.
    """
    images, depth = (torch.from_numpy(array[0]) for array in render_mesh(mesh, cameras))
    origins, directions = pixel_rays(cameras)
    forward = cameras.world_from_camera[:, None, None, :3, 2]
    points = origins + directions * (depth / (directions * forward).sum(-1))[..., None]
    inner = (slice(None), slice(1, -1), slice(1, -1))
    right = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    down = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normals = F.normalize(torch.linalg.cross(right, down), dim=-1)  # away from the camera
    pixel = depth[inner] / cameras.intrinsics[0, 0, 0]
    solid = F.max_pool2d((images[..., 3] < 255).float(), 3, 1) == 0
    # Where the surface breaks off there is no normal.
    solid &= (right.norm(dim=-1) < 8 * pixel) & (down.norm(dim=-1) < 8 * pixel)
    drawn_width = ((width * pixel).square() + RASTER_BLUR**2).sqrt()
    means = (points[inner] + inset * drawn_width[..., None] * normals)[solid]
    return Gaussians(
        means=means,
        quats=torch.tensor([1.0, 0, 0, 0]).repeat(len(means), 1),
        scales=(width * pixel)[solid][:, None].repeat(1, 3),
        opacities=torch.full((len(means),), 0.9),
        colors=images[inner][solid][:, :3].float() / 255,
    )


def first_guess(mesh: AnimatedMesh, kind: str) -> Gaussians:
    """[N], see the module's text."""
    if kind == "mini":
        model = L4GM.from_pretrained("mini")
        cameras = orbit_cameras([0, 90, 180, 270], size=FRAME_PX)
        with torch.inference_mode():
            return model(pictures(mesh, cameras)[None, None], cameras)[0, 0]
    azimuths = list(range(0, 360, 30))
    width, inset = (0.5, 2.4) if kind == "good" else (1.0, 0.0)
    parts = [
        splats(mesh, orbit_cameras(azimuths, elevation, size=GATHERED_PX), width, inset)
        for elevation in ELEVATIONS
    ]
    names = ("means", "quats", "scales", "opacities", "colors")
    return Gaussians(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def spoiled(gaussians: Gaussians, noise: float, generator: torch.Generator) -> Gaussians:
    """Off by `noise` (standard deviation) in the colours, and a fifth of it in the places."""

    def random() -> Tensor:
        return noise * torch.randn(gaussians.means.shape, generator=generator)

    return replace(
        gaussians,
        means=gaussians.means + random() / 5,
        colors=(gaussians.colors + random()).clamp(0, 1),
    )


@dataclass(frozen=True)
class Found:
    """Of one object, in degrees: how far the alignment is off, and the best of all 360."""

    error: float
    error_of_all: float | None


def find(index: int, kind: str, noise: float, with_all: bool) -> Found:
    """Align one held-out procedural object."""
    clips = ProceduralClips(seed=0, split="heldout")
    mesh = procedural_object(clips.object_seed(index), num_frames=1).normalized(0.0)
    azimuth = float(np.random.default_rng(index).uniform(-180, 180))
    frame = pictures(mesh, orbit_cameras([azimuth], size=FRAME_PX))[0]
    guess = spoiled(first_guess(mesh, kind), noise, torch.Generator().manual_seed(index))

    def error(found: int) -> float:
        return abs((found - azimuth + 180) % 360 - 180)

    best_of_all = None
    if with_all:
        errors = azimuth_errors(guess, frame, InputRig(), list(AZIMUTHS))
        best_of_all = error(AZIMUTHS[int(errors.argmin())])
    return Found(error(best_azimuth(guess, frame, InputRig())), best_of_all)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--guess", choices=("good", "wide", "mini"), default="good")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--all", action="store_true", help="also draw all 360, which is slow")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    found = [
        find(index, options.guess, options.noise, options.all) for index in range(options.objects)
    ]
    errors = [each.error for each in found]
    hits = sum(error <= 1 for error in errors)
    enough = hits >= SHARE * len(errors)
    print(f"{hits} of {len(errors)} within one degree: {'yes' if enough else 'NO'}")
    print(f"median error {np.median(errors):.2f}, worst {max(errors):.1f} degrees")
    document = {
        "objects": len(errors),
        "guess": options.guess,
        "noise": options.noise,
        "within_one_degree": hits,
        "median_error_degrees": float(np.median(errors)),
        "errors_degrees": [round(error, 2) for error in errors],
    }
    if options.all:
        same = sum(each.error == each.error_of_all for each in found)
        print(f"{same} of {len(errors)} the same as the best of all 360")
        document["same_as_all_360"] = same
    (options.output / f"alignment_{options.guess}_{options.noise:g}.json").write_text(
        json.dumps(document, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
