"""What twelve autoregressive rolls cost: decibels between the first and the last loop.

    python benchmarks/autoregressive_rolls.py                    # the bundled model, three objects
    python benchmarks/autoregressive_rolls.py --model my_model/ --objects 8

A procedural object moves to and fro, so that the same frames come again in every loop: whatever
differs between loops is what rolling does. Novel views are compared with the truth. Views are
handed on from chunk to chunk as the model does it: the bundled one keeps the first frame's.
Writes autoregressive_rolls.json to benchmarks/results (--output).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest
from l4gm.datagen.clips import ProceduralClips
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import clip_images, clip_rgba
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render

WAY_FRAMES = 16  # of one way; there and back is a loop
LIMIT_DB = 1.5


def there_and_back(num_frames: int) -> Tensor:
    """[num_frames] which frame of the way is shown at each time."""
    loop = [*range(WAY_FRAMES), *range(WAY_FRAMES - 2, 0, -1)]
    return torch.tensor([loop[index % len(loop)] for index in range(num_frames)])


def loop_psnr(pipeline: VideoTo4D, clip: Clip, rolls: int, views_given: bool) -> list[float]:
    """Of novel views, dB, a mean for each whole loop."""
    images, given = clip_images(clip), clip_rgba(clip)
    length = rolls * (pipeline.chunk_frames - 1) + 1
    shown = there_and_back(length)
    views = given[0, : clip.num_input_views] if views_given else None
    free = clip.cameras[clip.num_input_views :]
    values: list[Tensor] = []
    stream = pipeline.stream(
        given[shown, 0], fps=clip.fps, views=views, align=False, interpolate=False
    )
    for piece in stream:
        truth = images[shown[len(values) : len(values) + len(piece)], clip.num_input_views :]
        predicted = render(piece.gaussians.to("cpu"), free).image.clamp(0, 1)
        values += psnr(predicted, truth).mean(-1).reshape(len(piece))
    loop = 2 * (WAY_FRAMES - 1)
    whole = torch.stack(values)[: length // loop * loop]
    return [float(value) for value in whole.reshape(-1, loop).mean(1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--rolls", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    pipeline = VideoTo4D.from_pretrained(options.model, device=options.device)
    clips = ProceduralClips(seed=0, split="heldout")
    request = ClipRequest(size_px=options.size, num_frames=WAY_FRAMES)
    document: dict[str, object] = {"model": options.model, "rolls": options.rolls}
    for setting in ("views given", "video only"):
        rows = [
            loop_psnr(pipeline, clips.clip(index, request), options.rolls, setting == "views given")
            for index in range(options.objects)
        ]
        loops = torch.tensor(rows).mean(0)
        loss = float(loops[0] - loops[-1])
        print(
            f"{setting}: " + " ".join(f"{float(value):.2f}" for value in loops) + f" dB; the last "
            f"loop loses {loss:.2f} dB, at most {LIMIT_DB}: {'yes' if loss <= LIMIT_DB else 'NO'}"
        )
        document[setting] = {"loops_db": [[round(v, 3) for v in row] for row in rows], "loss": loss}
    path = options.output / "autoregressive_rolls.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
