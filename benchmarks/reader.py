"""How much faster a packed set is read than training uses it up, and whether memory grows.

    l4gm data procedural -o out/set --clips 12 --size 128 --heldout-share 0
    python benchmarks/reader.py out/set

Both in one run and in processor seconds, so that other load on the machine does not matter:
reading clips at 128 px as the bundled model's preset asks for them, and the training steps of that
preset (network, rendering, losses and their gradients) that use them.
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
from l4gm.model.l4gm import L4GM
from l4gm.splat.render import render
from l4gm.train.batches import BatchSampler
from l4gm.train.losses import losses
from l4gm.train.presets import mini_preset

STAGES = (1, 2)  # of the preset: those at 128 px, of single frames and of clips


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
    source, config = PackedClips(options.set), mini_preset()
    print("| stage | read, s a clip | train, s a clip | ratio |\n|---|---|---|---|")
    for index in STAGES:
        stage = config.stages[index]
        request = ClipRequest(
            size_px=stage.size_px,
            num_frames=config.frames_per_clip,
            fps=stage.fps or config.fps,
            num_supervision_views=config.num_supervision_views,
        )
        stream = stream_clips(source, request, num_threads=1)
        reading = processor_seconds(lambda stream=stream: next(stream), options.seconds)
        batch = BatchSampler(config, index, source).batch(0)
        model = L4GM(config.model)

        def step(stage=stage, batch=batch, model=model) -> None:
            gaussians = model(
                batch.images,
                batch.cameras,
                batch.present,
                alpha=batch.alpha,
                input_size=stage.size_px,
            )
            out = render(gaussians, batch.target_cameras)
            losses(config, stage.surface_weight, batch, gaussians, out)["loss"].backward()

        training = processor_seconds(step, options.seconds) / stage.batch_size
        name = f"{stage.size_px} px, T = {stage.num_frames}, batch {stage.batch_size}"
        print(f"| {name} | {reading:.4f} | {training:.3f} | {training / reading:.0f} |")
    stream = stream_clips(source, request)
    for number in range(options.clips + 1):
        next(stream)
        if number % (options.clips // 6) == 0:
            print(f"after {number:5d} clips: {resident_mb():.0f} MB")


if __name__ == "__main__":
    main()
