"""Peak memory of `l4gm reconstruct` for a short and a long video.

    python benchmarks/long_video_memory.py                  # 20 seconds against 10 minutes
    python benchmarks/long_video_memory.py --seconds 20 120

Each run is a process of its own, with a network of a few thousand numbers, so that what grows with
the video would show. The video is the same moving disc again and again, at 15 frames a second.
Writes long_video_memory.json to benchmarks/results (--output).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from l4gm.media.video import write_video
from l4gm.model.l4gm import L4GM
from l4gm.model.weights import save_weights
from l4gm.train.presets import debug_preset

FPS = 15.0
SIDE = 64
LIMIT = 1.10  # the long video's peak over the short one's

CHILD = """
import resource, sys
from l4gm.cli.main import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def disc(num_frames: int) -> Iterator[torch.Tensor]:
    """uint8 [SIDE, SIDE, 3]: a disc goes to and fro on white, once in two seconds."""
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for index in range(num_frames):
        center = SIDE * (0.5 + 0.1 * abs(index % 30 - 15) / 15)
        frame = torch.full((SIDE, SIDE, 3), 255, dtype=torch.uint8)
        frame[(rows - SIDE / 2) ** 2 + (columns - center) ** 2 < (0.25 * SIDE) ** 2] = 90
        yield frame


def peak_mib(folder: Path, seconds: float) -> float:
    """Of one run, in MiB."""
    video = folder / f"{seconds:g}.mp4"
    write_video(video, disc(round(seconds * FPS)), FPS)
    out = folder / f"{seconds:g}"
    options = ["--model", str(folder), "--device", "cpu", "--orbit-size", "16"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "reconstruct", str(video), "-o", str(out), *options],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    lines = done.stderr.strip().splitlines()
    if done.returncode:
        raise SystemExit("\n".join(lines))
    return int(lines[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, nargs=2, default=[20.0, 600.0])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.manual_seed(0)
        save_weights(L4GM(debug_preset().model), folder / "recon.safetensors")
        peaks = {f"{seconds:g} s": peak_mib(folder, seconds) for seconds in options.seconds}
    short, long = peaks.values()
    for label, peak in peaks.items():
        print(f"{label:>8}: peak {peak:7.1f} MiB")
    print(f"ratio {long / short:.3f}, at most {LIMIT}: {'yes' if long <= LIMIT * short else 'NO'}")
    document = {"peak_mib": peaks, "ratio": long / short, "limit": LIMIT}
    (options.output / "long_video_memory.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
