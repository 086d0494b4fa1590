"""`l4gm evaluate renders`: how good a model is on objects whose truth is known."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from l4gm.cli.usage import CommonOptions, positive

if TYPE_CHECKING:
    from torch import Tensor

    from l4gm.cli.progress import Progress
    from l4gm.data.clip import Clip
    from l4gm.evaluation.renders import Reconstruct
    from l4gm.evaluation.scores import ClipScore

EXAMPLES = """
l4gm evaluate renders                                   # the bundled model
l4gm evaluate renders --model runs/big --clips 8 --pictures out/compare
l4gm evaluate renders --models my_glb_files/ --json
l4gm evaluate renders --multiview imagedream            # the video's other views from a generator
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """Which model, on what."""

    model: Annotated[str, tyro.conf.arg(metavar="NAME")] = "mini"
    """mini (bundled), official (the paper's), a folder, a .safetensors file, or a hub name."""
    models: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of animated .glb or .gltf models to score too (their held-out ones)."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DIR|URL")] = None
    """Packed set (l4gm data pack), whose held-out clips take the place of procedural objects."""
    multiview: Annotated[str, tyro.conf.arg(metavar="NAME")] = "none"
    """Who makes the views that a video alone lacks: none, imagedream, or its folder."""
    clips: int = 32
    """Objects of each set."""
    frames: int = 8
    """Frames of each clip, at 8 a second."""
    size: int = 256
    """Width and height of the images, given and compared."""
    network_alone: tyro.conf.FlagCreatePairsOff[bool] = False
    """One forward pass of the network a chunk, without first guess and hand-over of views."""
    pictures: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Also write what was seen: for each clip the truth above the rendering."""
    seed: int = 0
    """Seed of the objects; none is among those of training, whatever the seed."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON with every measure of every clip instead of a table."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """auto, cpu, cuda or mps."""


def run(options: Options) -> None:
    """Print quality on novel views, with the four first views given and from the video alone."""
    for name in ("clips", "frames", "size"):
        positive(f"--{name}", getattr(options, name))

    from l4gm.cli.output_folder import output_folder
    from l4gm.cli.progress import Progress
    from l4gm.cli.sources import clip_sources
    from l4gm.data.clip import ClipRequest
    from l4gm.evaluation.judges import load_judges
    from l4gm.evaluation.renders import evaluate_renders
    from l4gm.evaluation.tables import markdown_table
    from l4gm.pipeline.device import find_device

    sources = clip_sources(options.models, options.data, seed=options.seed, split="heldout")
    settings, reconstruct = reconstruction_of(
        options.model, options.device, options.network_alone, options.multiview
    )
    judges = load_judges(find_device(options.device))
    request = ClipRequest(size_px=options.size, num_frames=options.frames)
    scores: dict[str, list[ClipScore]] = {}
    with ExitStack() as stack:
        folder = None
        if options.pictures is not None:
            folder = stack.enter_context(output_folder(options.pictures))
        progress = stack.enter_context(Progress())
        for name, source in sources.items():
            seen = _Watcher(name, options.clips * len(settings), progress, folder)
            scores[name] = evaluate_renders(
                source,
                reconstruct,
                request,
                num_clips=options.clips,
                settings=settings,
                judges=judges,
                surfaces=True,
                on_clip=seen,
            )
    if options.json:
        print(json.dumps({name: [asdict(s) for s in rows] for name, rows in scores.items()}))
        return
    print(markdown_table(scores, request))
    for metric, name in {"st_lpips": "ST-LPIPS", "lpips_vgg": "LPIPS"}.items():
        if metric in judges.skipped:
            print(f"\n{name} skipped: {judges.skipped[metric]}")


def reconstruction_of(
    model: str, device: str, network_alone: bool = False, multiview: str = "none"
) -> tuple[tuple[str, ...], Reconstruct]:
    """The settings that a model can work in, and how it reconstructs a clip."""
    from l4gm.cli.view_sources import load_generator
    from l4gm.evaluation.renders import SETTINGS, single_pass
    from l4gm.gaussians.types import Gaussians
    from l4gm.model.protocol import works_from_video_alone
    from l4gm.pipeline.device import find_device
    from l4gm.pipeline.video_to_4d import VideoTo4D

    generator = load_generator(multiview, find_device(device))
    pipeline = VideoTo4D.from_pretrained(model, device=device, multiview=generator)
    network = pipeline.reconstruction
    generated = generator is not None and not network_alone
    video_is_enough = works_from_video_alone(network) or generated
    settings = tuple(name for name, given in SETTINGS.items() if given or video_is_enough)
    alone = single_pass(network, max_frames=pipeline.chunk_frames)

    def reconstruct(frames: Tensor, views: Tensor | None) -> Gaussians:
        frames = frames.to(pipeline.device)
        views = None if views is None else views.to(pipeline.device)
        if network_alone:
            return alone(frames, views).to("cpu")
        return pipeline(frames, views=views, align=False, interpolate=False).gaussians.to("cpu")

    return settings, reconstruct


class _Watcher:
    """Called after each clip: tells the progress and keeps the pictures."""

    def __init__(self, name: str, total: int, progress: Progress, folder: Path | None) -> None:
        self._name = name
        self._total = total
        self._progress = progress
        self._folder = folder
        self._done = 0
        self._clip: Clip | None = None
        self._index = -1

    def __call__(self, clip: Clip, score: ClipScore, predicted: Tensor) -> None:
        from PIL import Image

        from l4gm.evaluation.renders import comparison_sheet

        self._done += 1
        if clip is not self._clip:  # each clip comes once per setting
            self._clip, self._index = clip, self._index + 1
        self._progress(f"evaluate {self._name}", self._done, self._total)
        if self._folder is not None:
            setting = score.setting.replace(" ", "_")
            path = self._folder / f"{self._name}_{self._index:03d}_{setting}.png"
            Image.fromarray(comparison_sheet(clip, predicted)).save(path)
