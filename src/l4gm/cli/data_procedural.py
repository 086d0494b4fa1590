"""`l4gm data procedural`: objects made from a seed, as videos with cameras."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from l4gm.cli.output_folder import REPORT_NAME, output_folder
from l4gm.cli.usage import CommonOptions, positive

if TYPE_CHECKING:
    from l4gm.data.clip import Clip

EXAMPLES = """
l4gm data procedural -o out/objects --clips 4
l4gm data procedural -o out/one --clips 1 --seed 7 --size 512 --frames 48
l4gm data procedural -o out/unseen --split heldout
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to make."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder to write."""
    clips: int = 4
    """Number of objects."""
    size: int = 256
    """Width and height in pixels."""
    frames: int = 24
    """Frames of each clip."""
    fps: float = 24.0
    """Frames per second."""
    free_views: int = 4
    """Random cameras beside the four fixed ones at azimuth 0, 90, 180, 270."""
    split: Literal["train", "heldout"] = "train"
    """heldout objects are never among those of train."""
    seed: int = 0
    """Seed of the objects."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace an earlier result."""


def run(options: Options) -> None:
    """Render the clips."""
    for name in ("clips", "size", "frames", "fps"):
        positive(f"--{name}", getattr(options, name))
    positive("--free-views", options.free_views + 1)

    from l4gm.cli.progress import Progress
    from l4gm.data.clip import ClipRequest
    from l4gm.datagen.clips import ProceduralClips

    source = ProceduralClips(options.seed, options.split)
    request = ClipRequest(
        size_px=options.size,
        num_frames=options.frames,
        fps=options.fps,
        num_supervision_views=options.free_views,
    )
    names = []
    with output_folder(options.out, overwrite=options.overwrite) as folder, Progress() as progress:
        for index in range(options.clips):
            clip = source.clip(index, request)
            write_clip(folder / f"clip_{index:04d}", clip)
            names.append(clip.name)
            progress("render", index + 1, options.clips)
        report = {"split": options.split, "seed": options.seed, "clips": names}
        (folder / REPORT_NAME).write_text(json.dumps(report, indent=1) + "\n")
    views = 4 + options.free_views
    print(f"{options.out}: {options.clips} clips, {views} views of {options.frames} frames each")


def write_clip(folder: Path, clip: Clip) -> None:
    """One clip as people and `reconstruct` can use it.

    Writes view_00.webm ... with alpha, cameras.json, and first/ with the first frame of the four
    fixed views as 0.png, 90.png, 180.png, 270.png.
    """
    import torch
    from PIL import Image

    from l4gm.media.video import write_video

    first = folder / "first"
    first.mkdir(parents=True)
    for view in range(clip.images.shape[1]):
        frames = torch.from_numpy(clip.images[:, view])
        write_video(folder / f"view_{view:02d}.webm", iter(frames), clip.fps)
    for view in range(clip.num_input_views):
        Image.fromarray(clip.images[0, view]).save(first / f"{90 * view}.png")
    (folder / "cameras.json").write_text(json.dumps(_describe(clip), indent=1) + "\n")


def _describe(clip: Clip) -> dict[str, Any]:
    """Cameras in OpenCV axes, y up world, pixels."""
    cameras = clip.cameras
    return {
        "name": clip.name,
        "fps": clip.fps,
        "width": cameras.width,
        "height": cameras.height,
        "near": cameras.near,
        "far": cameras.far,
        "world_from_camera": cameras.world_from_camera.tolist(),
        "intrinsics": cameras.intrinsics.tolist(),
    }
