"""Draw an asset from your own cameras, with gradients if you want them.

    python examples/02_render.py out/01_reconstruct/object.safetensors

Writes a strip of pictures: one row for the first, middle and last frame, one column a camera.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from l4gm import GaussianSequence, load, orbit_cameras, render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("asset", help="a .safetensors, .l4gm or .ply file, or a result folder")
    parser.add_argument("--out", type=Path, default=Path("out/02_render.png"))
    parser.add_argument("--size", type=int, default=256, help="pixels of a picture")
    options = parser.parse_args()

    asset = load(options.asset)
    sequence = asset if isinstance(asset, GaussianSequence) else GaussianSequence(asset[None], 1.0)
    moments = sorted({0, len(sequence) // 2, len(sequence) - 1})
    gaussians = sequence.gaussians[torch.tensor(moments)]  # [3, N]

    # Four cameras on a circle 20 degrees above the object: Cameras [4], the same for every frame.
    cameras = orbit_cameras([0, 90, 180, 270], elevation=20, size=options.size)
    pictures = render(gaussians, cameras, background=1.0).image  # [3, 4, 3, H, W]

    rows = [torch.cat(list(row), dim=-1) for row in pictures]
    sheet = torch.cat(rows, dim=-2).clamp(0, 1).mul(255).round().byte()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(options.out)
    print(f"{options.out}: frames {moments} from azimuth 0, 90, 180, 270")


if __name__ == "__main__":
    main()
