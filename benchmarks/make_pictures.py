"""Make the pictures of the README and the model card from what `l4gm reconstruct` wrote.

    l4gm reconstruct src/l4gm/assets/demo.mp4 -o out/demo
    python benchmarks/make_pictures.py src/l4gm/assets/demo.mp4 out/demo -o docs/images/demo.png

One row per shown frame: the video's frame, then the reconstruction from several sides.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from l4gm import load, orbit_cameras, render
from l4gm.pipeline.prepare import prepare_video

AZIMUTHS = (0.0, 40.0, 90.0, 180.0, 270.0, 320.0)
ELEVATIONS = (0.0, 15.0, 0.0, 0.0, 0.0, 15.0)


def rows(video: Path, asset: Path, num_rows: int, size_px: int) -> Tensor:
    """[3, num_rows * size_px, (1 + views) * size_px] in [0, 1]."""
    frames = prepare_video(video)
    sequence = load(asset)
    # An interpolated sequence has more frames; those of the video are shown.
    steps = (len(sequence) - 1) / max(frames.num_frames - 1, 1)
    cameras = orbit_cameras(AZIMUTHS, torch.tensor(ELEVATIONS), size=size_px)
    lines = []
    for index in torch.linspace(0, frames.num_frames - 1, num_rows).round().int().tolist():
        seen = next(iter(frames.frames(index, index + 1)))[None]
        seen = functional.interpolate(seen, size=(size_px, size_px), mode="area")
        drawn = render(sequence.gaussians[round(index * steps)], cameras).image.clamp(0, 1)
        lines.append(torch.cat([seen, drawn]).unbind(0))
    return torch.cat([torch.cat(line, -1) for line in lines], -2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("asset", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    picture = rows(arguments.video, arguments.asset, arguments.rows, arguments.size)
    pixels = (picture.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
