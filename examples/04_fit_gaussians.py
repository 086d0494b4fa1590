"""Fit 3D Gaussians to pictures on the CPU: the rasterizer alone, without any network.

    python examples/04_fit_gaussians.py            # half a minute on two cores

A procedural object is rendered from 28 known cameras; Gaussians that start as a grey cloud are
fitted to 24 of the pictures by gradient descent and compared with the 4 that they never saw.
Writes fit.png (above the four unseen pictures, below the fit) and fit.ply for any splat viewer.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from l4gm import Gaussians, render, save
from l4gm.data.clip import ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.metrics import psnr
from l4gm.geometry.cameras import Cameras

NUM_UNSEEN = 4
VIEWS_PER_STEP = 4
LEARNING_RATES = {"means": 4e-3, "quats": 2e-2, "scales": 3e-2, "opacities": 5e-2, "colors": 3e-2}


def pictures(index: int, size_px: int) -> tuple[Tensor, Tensor, Cameras]:
    """Colors on white [V, 3, H, W], alphas [V, 1, H, W] and cameras [V] of a procedural object."""
    request = ClipRequest(size_px=size_px, num_supervision_views=24)
    clip = ProceduralClips(seed=0).clip(index, request)
    rgba = torch.from_numpy(clip.images[0]).permute(0, 3, 1, 2).float() / 255
    color, alpha = rgba[:, :3], rgba[:, 3:]
    return color * alpha + 1 - alpha, alpha, clip.cameras


def grey_cloud(number: int) -> dict[str, Tensor]:
    """Parameters before activation, of small faint Gaussians in the middle of the scene."""
    cloud = {
        "means": 0.35 * torch.randn(number, 3),
        "quats": torch.randn(number, 4),
        "scales": torch.full((number, 3), 0.03).log(),
        "opacities": torch.full((number,), 0.1).logit(),
        "colors": torch.zeros(number, 3),
    }
    return {name: value.requires_grad_() for name, value in cloud.items()}


def activate(parameters: dict[str, Tensor]) -> Gaussians:
    """Any real numbers to Gaussians."""
    return Gaussians(
        means=parameters["means"],
        quats=parameters["quats"],  # render takes any length
        scales=parameters["scales"].exp(),
        opacities=parameters["opacities"].sigmoid(),
        colors=parameters["colors"].sigmoid(),
    )


def fit(
    parameters: dict[str, Tensor], colors: Tensor, alphas: Tensor, cameras: Cameras, steps: int
) -> None:
    """Move the parameters so that their renderings match the pictures."""
    optimizer = torch.optim.Adam(
        [{"params": [p], "lr": LEARNING_RATES[n]} for n, p in parameters.items()]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    start = time.perf_counter()
    for step in range(steps):
        views = torch.randperm(len(colors))[:VIEWS_PER_STEP]
        out = render(activate(parameters), cameras[views])
        loss = (out.image - colors[views]).abs().mean() + (out.alpha - alphas[views]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            seconds = time.perf_counter() - start
            print(f"step {step:4d}   loss {loss.item():.4f}   {seconds:5.1f} s")


def write_comparison(path: Path, unseen: Tensor, fitted: Tensor) -> None:
    """One PNG with the pictures above and the fit below."""
    rows = torch.stack([unseen, fitted])  # [2, V, 3, H, W]
    grid = rows.permute(0, 3, 1, 4, 2).reshape(2 * rows.shape[3], -1, 3)
    Image.fromarray((grid.clamp(0, 1) * 255).round().byte().numpy()).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("out/fit"))
    parser.add_argument("--gaussians", type=int, default=4000)
    parser.add_argument("--size", type=int, default=128, help="of the pictures, in pixels")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--index", type=int, default=3, help="of the object")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    colors, alphas, cameras = pictures(arguments.index, arguments.size)
    parameters = grey_cloud(arguments.gaussians)
    fit(
        parameters, colors[:-NUM_UNSEEN], alphas[:-NUM_UNSEEN], cameras[:-NUM_UNSEEN],
        arguments.steps,
    )  # fmt: skip
    with torch.no_grad():
        gaussians = activate(parameters)
        fitted = render(gaussians, cameras[-NUM_UNSEEN:]).image
    unseen = colors[-NUM_UNSEEN:]
    print(f"unseen views: {psnr(fitted.clamp(0, 1), unseen).mean().item():.1f} dB")
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_comparison(arguments.output / "fit.png", unseen, fitted)
    save(gaussians, arguments.output / "fit.ply")
    print(f"wrote {arguments.output / 'fit.png'} and {arguments.output / 'fit.ply'}")


if __name__ == "__main__":
    main()
