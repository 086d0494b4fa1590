"""Reconstruct a video of any length in memory that does not grow with it.

    python examples/03_long_video.py long.mp4 -o long.safetensors

`stream` yields a piece after every forward pass; each is written and forgotten.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

from l4gm import VideoTo4D
from l4gm.gaussians.sequence_file import SequenceWriter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/03_long_video.safetensors"))
    parser.add_argument("--model", default="mini", help='"mini", "official", a folder or a file')
    options = parser.parse_args()

    stream = VideoTo4D.from_pretrained(options.model).stream(str(options.video))
    first = next(stream)
    number = first.gaussians.num_gaussians
    done = 0
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # The file appears under its name when the last frame is in it.
    with SequenceWriter(
        options.out, stream.num_frames, number, stream.fps, stream.camera
    ) as writer:
        for piece in chain([first], stream):
            writer.append(piece.gaussians)
            done += len(piece)
            print(f"{done} of {stream.num_frames} frames", flush=True)


if __name__ == "__main__":
    main()
