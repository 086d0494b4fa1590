"""What frames between are worth: our motion network, blends, and the true pictures in between.

    python benchmarks/interpolation.py --models FOLDER --clips 8 -o FILE.json --picture FILE.png

Clips of held-out objects at 24 frames a second, of which the video has every third. PSNR in dB over
four free views: of the video's frames; of the frames between, reconstructed from their true
pictures (the most that can be had), as the model puts them there, as plain blends of both ends'
Gaussians, and with the nearer end's Gaussians held; by how far things move.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from l4gm.cli.sources import clip_sources
from l4gm.data.clip import Clip, ClipRequest
from l4gm.evaluation.metrics import psnr
from l4gm.evaluation.renders import SETTINGS, clip_images, clip_rgba
from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.interpolate import RATE
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render

NUM_ENDS = 8
FPS = 24.0
NUM_PICTURES = 4


def frame_scores(gaussians: Gaussians, clip: Clip) -> Tensor:
    """[T] PSNR over the free views."""
    free = slice(clip.num_input_views, None)
    drawn = render(gaussians, clip.cameras[free]).image.clamp(0, 1)
    return psnr(drawn, clip_images(clip)[:, free]).mean(1)


def reconstruct(pipeline: VideoTo4D, clip: Clip, views_given: bool) -> dict[str, Gaussians]:
    """Gaussians [T] of all frames, by way."""
    given = clip_rgba(clip)
    views = given[0, : clip.num_input_views] if views_given else None
    network = pipeline.interpolation

    def of_video(way: object, interpolate: bool = True) -> Gaussians:
        pipeline.interpolation = way
        result = pipeline(given[::RATE, 0], views=views, align=False, interpolate=interpolate)
        return result.gaussians

    every = pipeline(given[:, 0], views=views, align=False, interpolate=False).gaussians
    nearest = (torch.arange(len(given)) / RATE).round().long()
    held = of_video(None, False).map(lambda values: values[nearest])
    ways = {"true pictures": every, "blends": of_video("linear"), "held": held}
    return ways | {"model": of_video(network)}


def score(ways: dict[str, Gaussians], clip: Clip) -> dict[str, float]:
    """Mean PSNR by way, of the frames between; "video": of the video's frames."""
    scores = {name: frame_scores(gaussians, clip) for name, gaussians in ways.items()}
    between = torch.arange(len(clip.images)) % RATE != 0
    found = {name: values[between].mean().item() for name, values in scores.items()}
    return found | {"video": scores["true pictures"][~between].mean().item()}


def drawn_beside(ways: dict[str, Gaussians], clip: Clip) -> Tensor:
    """[3, 2 H, 4 W]: truth, true pictures, blends, model, at a frame between of the middle.

    From the front and from the first free camera.
    """
    frame = RATE * (NUM_ENDS // 2) + 2
    views = [0, clip.num_input_views]
    columns = [clip_images(clip)[frame, views]]
    for name in ("true pictures", "blends", "model"):
        columns.append(render(ways[name][frame], clip.cameras[views]).image.clamp(0, 1))
    return torch.cat([torch.cat(column.unbind(0), -2) for column in columns], -1)


def pixels_moved(clip: Clip) -> float:
    """Mean change of the front view's colours from one video frame to the next, in 1/255."""
    front = clip_images(clip)[::RATE, 0]
    return 255 * (front[1:] - front[:-1]).abs().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=None)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("-o", "--out", type=Path, default=None)
    parser.add_argument("--picture", type=Path, default=None, help="of the fastest clips")
    options = parser.parse_args()
    pipeline = VideoTo4D.from_pretrained(options.model)
    request = ClipRequest(size_px=128, num_frames=RATE * (NUM_ENDS - 1) + 1, fps=FPS)
    rows, pictures = [], []
    for kind, source in clip_sources(options.models, None, seed=0, split="heldout").items():
        for index in range(options.clips):
            clip = source.clip(index, request)
            for setting, views_given in SETTINGS.items():
                about = {"set": kind, "setting": setting, "clip": clip.name}
                about["change"] = pixels_moved(clip)
                ways = reconstruct(pipeline, clip, views_given)
                rows.append(about | score(ways, clip))
                if views_given and options.picture is not None:
                    pictures.append((about["change"], drawn_beside(ways, clip)))
    names = ["video", "true pictures", "model", "blends", "held"]
    summary = []
    for kind in dict.fromkeys(row["set"] for row in rows):
        for setting in SETTINGS:
            group = [row for row in rows if (row["set"], row["setting"]) == (kind, setting)]
            fast = sorted(group, key=lambda row: -row["change"])[: (len(group) + 3) // 4]
            for label, chosen in (("all", group), ("fastest quarter", fast)):
                means = {n: round(float(np.mean([row[n] for row in chosen])), 2) for n in names}
                summary.append(
                    {"set": kind, "setting": setting, "clips": label, "count": len(chosen)} | means
                )
                print(summary[-1])
    if options.picture is not None:
        fastest = sorted(pictures, key=lambda pair: -pair[0])[:NUM_PICTURES]
        shown = torch.cat([picture for _, picture in fastest], -2)
        pixels = (shown.movedim(0, -1) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(options.picture, optimize=True)
    if options.out is not None:
        document = {"model": options.model, "summary": summary, "clips": rows}
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
