"""`l4gm data procedural`: objects made from a seed, as a training set or as videos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from l4gm.cli.output_folder import output_folder, write_report
from l4gm.cli.usage import CommonOptions, UsageError, positive

if TYPE_CHECKING:
    from l4gm.data.clip import Clip

EXAMPLES = """
l4gm data procedural -o sets/objects --clips 1000 --size 128
l4gm data procedural -o sets/small --clips 100 --size 64 --free-views 8 --no-depth
l4gm data procedural -o out/look --clips 4 --videos
"""


@dataclass(frozen=True, kw_only=True)
class Options(CommonOptions):
    """What to make."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder of the set. The same command again goes on where an earlier one stopped."""
    clips: int = 100
    """Number of objects."""
    size: int = 256
    """Width and height in pixels."""
    frames: int = 24
    """Frames of each clip."""
    fps: float = 24.0
    """Frames per second."""
    fixed_views: int = 16
    """Cameras at elevation 0 with even azimuths from 0 on; with --videos 4."""
    free_views: int = 32
    """Random cameras beside them."""
    no_depth: tyro.conf.FlagCreatePairsOff[bool] = False
    """Leave out the distances, which training on small networks learns from."""
    split: Literal["train", "heldout"] = "train"
    """heldout objects are never among those of train."""
    seed: int = 0
    """Seed of the objects."""
    heldout_share: float = 0.02
    """Share of the set's objects that training on it does not see."""
    shard_mb: float = 1000.0
    """Megabytes of a shard."""
    videos: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write transparent videos and pictures to look at, not a set."""
    overwrite: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace earlier videos."""


def run(options: Options) -> None:
    """Render the clips."""
    for name in ("clips", "size", "frames", "fps", "fixed_views", "shard_mb"):
        positive(f"--{name.replace('_', '-')}", getattr(options, name))
    positive("--free-views", options.free_views + 1)
    if not 0 <= options.heldout_share < 1:
        raise UsageError(f"--heldout-share {options.heldout_share}: expected 0 to 1")
    if options.videos:
        _write_videos(options)
    else:
        _pack(options)


def _pack(options: Options) -> None:
    from l4gm.cli.data_pack import summary
    from l4gm.cli.progress import Progress
    from l4gm.data.pack import PackOptions, pack_clips
    from l4gm.datagen.clips import ProceduralClips
    from l4gm.datagen.procedural import GENERATOR_VERSION
    from l4gm.datagen.stored import StoredRequest, procedural_clip

    source = ProceduralClips(options.seed, options.split)
    request = StoredRequest(
        size_px=options.size,
        num_frames=options.frames,
        fps=options.fps,
        num_fixed=options.fixed_views,
        num_free=options.free_views,
        depth=not options.no_depth,
    )
    # Whatever changes a clip is in its name, by which a begun set is known again.
    what = f"procedural {GENERATOR_VERSION} {options.split} {options.seed} {request}"
    how = PackOptions(shard_bytes=int(options.shard_mb * 1e6), heldout_share=options.heldout_share)
    with Progress() as progress:
        report = pack_clips(
            [f"{what} {index}" for index in range(options.clips)],
            lambda index: procedural_clip(source, index, request),
            options.out,
            how,
            lambda done, total: progress("render", done, total),
        )
    print(summary(options.out, report))


def _write_videos(options: Options) -> None:
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
        write_report(folder, {"split": options.split, "seed": options.seed, "clips": names})
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
