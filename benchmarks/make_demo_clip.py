"""Render the demo clip that comes with the package, src/l4gm/assets/demo.mp4.

A procedural creature from the held-out branch of the generator's seeds: no bundled model was
trained on it. It was chosen by eye for its look from contact sheets of the first 40 held-out
objects, before any reconstruction of it was made. Seen from azimuth 0 at elevation 0 by the camera
of the rig, on white.

    python benchmarks/make_demo_clip.py [-o FILE] [--index N]

The same object and motion come out again only with the same `GENERATOR_VERSION`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from l4gm.data.clip import ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.datagen.procedural import GENERATOR_VERSION
from l4gm.media.video import write_video

ASSET = Path(__file__).resolve().parents[1] / "src" / "l4gm" / "assets" / "demo.mp4"
INDEX = 37
SIZE_PX = 256
NUM_FRAMES = 24
FPS = 12.0


def render_frames(index: int) -> Tensor:
    """[T, 3, S, S] in [0, 1]: the held-out object of this index on white, from the front."""
    request = ClipRequest(
        size_px=2 * SIZE_PX, num_frames=NUM_FRAMES, fps=FPS, num_supervision_views=0
    )
    clip = ProceduralClips(seed=0, split="heldout").clip(index, request)
    print(f"held-out object {index}: {clip.name}")
    rgba = torch.from_numpy(clip.images[:, 0]).permute(0, 3, 1, 2).float() / 255
    color, alpha = rgba[:, :3], rgba[:, 3:]
    return functional.avg_pool2d(color * alpha + 1 - alpha, 2)  # smoother edges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ASSET)
    parser.add_argument("--index", type=int, default=INDEX, help="of the held-out object")
    arguments = parser.parse_args()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_video(arguments.output, render_frames(arguments.index), FPS, quality=14)
    size = arguments.output.stat().st_size / 1000
    print(f"{arguments.output}: {size:.0f} kB, generator version {GENERATOR_VERSION}")


if __name__ == "__main__":
    main()
