"""A video in, an animated object out, in a dozen lines.

    python examples/01_reconstruct.py                     # the clip that comes with the package
    python examples/01_reconstruct.py my.mp4 --out my_4d  # your own: one object, still camera

Writes OUT/object.html (open it in any browser) and OUT/object.safetensors (without loss).
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

from l4gm import VideoTo4D, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", default=str(files("l4gm") / "assets" / "demo.mp4"))
    parser.add_argument("--out", type=Path, default=Path("out/01_reconstruct"))
    parser.add_argument("--model", default="mini", help='"mini", "official", a folder or a file')
    options = parser.parse_args()

    video_to_4d = VideoTo4D.from_pretrained(options.model)
    result = video_to_4d(options.video)  # GaussianSequence: gaussians [T, N], fps

    options.out.mkdir(parents=True, exist_ok=True)
    save(result, options.out / "object.html", title=Path(options.video).stem)
    save(result, options.out / "object.safetensors")
    number = result.gaussians.num_gaussians
    print(f"{options.out}: {len(result)} frames of {number:,} Gaussians, {result.fps:g} a second")


if __name__ == "__main__":
    main()
