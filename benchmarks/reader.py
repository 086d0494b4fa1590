"""How fast a packed set is read, and whether memory grows.

    l4gm data procedural -o out/set --clips 12 --size 128 --heldout-share 0
    python benchmarks/reader.py out/set

Reading is in processor seconds of one thread, so that other load on the machine does not matter.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path

import torch

from l4gm.data.clip import ClipRequest
from l4gm.data.loader import stream_clips
from l4gm.data.packed import PackedClips

SIZES_PX = (64, 128, 256)


def processor_seconds(run: Callable[[], object], least_seconds: float) -> float:
    """Of one call, from as many as it takes; the first is not counted."""
    run()
    began, calls = time.process_time(), 0
    while time.process_time() - began < least_seconds:
        run()
        calls += 1
    return (time.process_time() - began) / calls


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("set", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--clips", type=int, default=3000, help="read to see whether memory grows")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = PackedClips(options.set)
    print("| clips of 8 views, 4 frames | read, s a clip |\n|---|---|")
    for size in SIZES_PX:
        request = ClipRequest(size_px=size, num_frames=4, num_supervision_views=4)
        stream = stream_clips(source, request, num_threads=1)
        reading = processor_seconds(lambda stream=stream: next(stream), options.seconds)
        print(f"| {size} px | {reading:.4f} |")
    stream = stream_clips(source, request)
    for number in range(options.clips + 1):
        next(stream)
        if number % max(1, options.clips // 6) == 0:
            print(f"after {number:5d} clips: {resident_mb():.0f} MB")


if __name__ == "__main__":
    main()
