"""Every reader of files from outside, with a small good file to start from."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from l4gm.cli.assets import open_asset
from l4gm.files import load, save
from l4gm.gaussians.types import Gaussians, GaussianSequence


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One kind of file.

    Args:
        name: of the file; readers go by its suffix.
        make: writes a good one to a path (a folder where the name has no suffix).
        read: reads it; anything but success and InputError is a fault.
        target: of a folder, the file that is damaged.
        cost: of a case, in those of the others; so much fewer are tried.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], object]
    target: str = ""
    cost: int = 1


def some(*lead: int, count: int = 12) -> Gaussians:
    generator = torch.Generator().manual_seed(1)
    random = torch.rand(*lead, count, 14, generator=generator)
    return Gaussians(
        means=random[..., :3] - 0.5,
        quats=torch.nn.functional.normalize(random[..., 3:7] - 0.5, dim=-1),
        scales=0.01 + 0.1 * random[..., 7:10],
        opacities=random[..., 10],
        colors=random[..., 11:],
    )


def _still(path: Path) -> None:
    save(some(), path, prune=False)


def _still_v4(path: Path) -> None:
    save(some(), path, prune=False, layout="v4")


def _sequence(path: Path) -> None:
    save(GaussianSequence(some(3), 12.0), path)


def _ascii_ply(path: Path) -> None:
    import plyfile

    save(some(), path, prune=False)
    data = plyfile.PlyData.read(str(path), mmap=False)
    data.text = True
    data.write(str(path))


def _asset(path: Path) -> object:
    """As every verb does: opened, and all frames read piece by piece."""
    asset = open_asset(path, fps=12.0)
    return [frames for _, frames in asset.pieces(2)]


def _picture(kind: str, **options: Any) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        levels = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
        image = Image.fromarray(levels)
        image.save(path, kind, **options)

    return make


def _animation(kind: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        levels = np.random.default_rng(0).integers(0, 256, (4, 24, 20, 3)).astype(np.uint8)
        first, *rest = map(Image.fromarray, levels)
        first.save(path, kind, save_all=True, append_images=rest, duration=80)

    return make


def _video(path: Path) -> None:
    from l4gm.media.video import write_video

    frames = torch.randint(0, 256, (5, 32, 32, 3), generator=torch.Generator().manual_seed(0))
    write_video(path, list(frames.to(torch.uint8)), 12.0)


def _frames(path: Path) -> object:
    from itertools import islice

    from l4gm.media.video import probe_video, read_frames

    probe_video(path)
    return sum(frame.shape[0] for frame in islice(read_frames(path), 300))


def _weights(path: Path) -> None:
    from l4gm.model.l4gm import L4GM
    from l4gm.model.weights import save_weights
    from l4gm.train.presets import debug_preset

    torch.manual_seed(0)
    save_weights(L4GM(debug_preset().model), path)


def _load_weights(path: Path) -> object:
    from l4gm.model.weights import load_model

    return load_model(path)


def _checkpoint(path: Path) -> None:
    from l4gm.train.checkpoints import Checkpoint, save_checkpoint

    weights = {"a": torch.rand(3, 4)}
    save_checkpoint(path, Checkpoint(1, {}, weights, weights, {}, [0.5], {}, 1.0))


def _load_checkpoint(path: Path) -> object:
    from l4gm.train.checkpoints import load_checkpoint

    return load_checkpoint(path)


def _model(path: Path) -> None:
    """A triangle that moves, with a texture, as .glb."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    times, steps = np.array([0, 1], np.float32), np.array([[0, 0, 0], [1, 0, 0]], np.float32)
    texture = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(texture, "PNG")
    pieces = [
        positions.tobytes(),
        np.array([0, 1, 2, 0], np.uint16).tobytes(),
        np.array([[0, 0], [1, 0], [0, 1]], np.float32).tobytes(),
        times.tobytes(),
        steps.tobytes(),
        texture.getvalue() + bytes(-len(texture.getvalue()) % 4),
    ]
    starts = np.cumsum([0, *map(len, pieces)]).tolist()
    views = [
        {"buffer": 0, "byteOffset": start, "byteLength": len(piece)}
        for start, piece in zip(starts[:-1], pieces, strict=True)
    ]
    kinds = ((5126, 3, "VEC3"), (5123, 3, "SCALAR"), (5126, 3, "VEC2"), (5126, 2, "SCALAR"))
    accessors = [
        {"bufferView": index, "componentType": component, "count": count, "type": kind}
        for index, (component, count, kind) in enumerate((*kinds, (5126, 2, "VEC3")))
    ]
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {
                "primitives": [
                    {"attributes": {"POSITION": 0, "TEXCOORD_0": 2}, "indices": 1, "material": 0}
                ]
            }
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 5, "mimeType": "image/png"}],
        "animations": [
            {
                "channels": [{"sampler": 0, "target": {"node": 0, "path": "translation"}}],
                "samplers": [{"input": 3, "output": 4}],
            }
        ],
        "bufferViews": views,
        "accessors": accessors,
        "buffers": [{"byteLength": starts[-1]}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(pieces)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    chunks += struct.pack("<II", len(binary), 0x004E4942) + binary
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)


def _load_model(path: Path) -> object:
    from l4gm.datagen.gltf import load_gltf

    return load_gltf(path)


def _clip(path: Path) -> None:
    from l4gm.data.layout import (
        ClipFacts,
        StoredCameras,
        StoredClip,
        StoredView,
        clip_key,
        write_clip,
    )
    from l4gm.data.pictures import encode_pictures
    from l4gm.geometry.cameras import orbit_cameras

    cameras = orbit_cameras([0, 90, 180, 270], 0.0, size=16)
    levels = np.random.default_rng(0).integers(0, 256, (4, 2, 16, 16, 4)).astype(np.uint8)
    views = tuple(StoredView(pictures=(encode_pictures(v),), suffix="webp") for v in levels)
    stored = StoredCameras(
        world_from_camera=cameras.world_from_camera.numpy(),
        intrinsics=cameras.intrinsics.numpy(),
        width=16,
        height=16,
        near=cameras.near,
        far=cameras.far,
        num_fixed=4,
    )
    facts = ClipFacts(key=clip_key("object"), uid="object", fps=24.0, num_frames=2)
    write_clip(path, StoredClip(facts=facts, cameras=stored, views=views))


def _load_clip(path: Path) -> object:
    from l4gm.data.layout import read_clip
    from l4gm.data.packed import cameras_of
    from l4gm.data.pictures import decode_view

    clip = read_clip(path)
    count = clip.facts.num_frames
    size = clip.cameras.width
    pictures = [decode_view(view, count, size, [0, count - 1], 16) for view in clip.views]
    return pictures, cameras_of(clip)


def _views(path: Path) -> None:
    path.mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (20, 20, 4)).astype(np.uint8)
    for azimuth in (0, 90):
        Image.fromarray(levels).save(path / f"{azimuth}.png")


def _load_views(path: Path) -> object:
    from l4gm.multiview.given import read_given_views

    return read_given_views(path)


def _results(path: Path) -> None:
    from l4gm.bench.results import Results, Row, write

    row = Row(case="a", competitor="b", figures={"seconds": 1.0})
    write(Results(subject="model", rows=[row], machine={}, notes=[]), path)


def _load_results(path: Path) -> object:
    from l4gm.bench.results import compare, markdown, read

    results = read(path)
    return markdown(results), compare(results.rows, results.rows)


def _preprocessor(path: Path) -> None:
    values = {"size": {"shortest_edge": 224}, "crop_size": 224, "image_mean": [0.5, 0.5, 0.5]}
    path.write_text(json.dumps(values))


def _load_preprocessor(path: Path) -> object:
    from l4gm.multiview.clip_image import ClipPreprocessing

    return ClipPreprocessing.read(path)


READERS = [
    *(Reader(name=name, make=_still, read=load) for name in ("a.ply", "a.compressed.ply")),
    Reader(name="ascii.ply", make=_ascii_ply, read=load),
    *(Reader(name=f"a.{kind}", make=_still, read=load) for kind in ("splat", "spz", "sog", "glb")),
    Reader(name="v4.spz", make=_still_v4, read=load),
    *(Reader(name=f"a.{kind}", make=_sequence, read=_asset) for kind in ("safetensors", "l4gm")),
    Reader(name="index", make=_sequence, read=_asset, target="../index.json"),
    Reader(name="frames", make=_sequence, read=_asset, target="frame_0001.ply"),
    *(
        Reader(name=f"a.{kind.lower()}", make=_picture(kind), read=_frames)
        for kind in ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
    ),
    Reader(name="moving.gif", make=_animation("GIF"), read=_frames),
    Reader(name="moving.webp", make=_animation("WEBP"), read=_frames),
    Reader(name="moving.png", make=_animation("PNG"), read=_frames),
    *(Reader(name=f"a.{kind}", make=_video, read=_frames, cost=2) for kind in ("mp4", "webm")),
    Reader(name="views", make=_views, read=_load_views, target="90.png"),
    Reader(name="weights.safetensors", make=_weights, read=_load_weights, cost=4),
    Reader(name="checkpoint.pt", make=_checkpoint, read=_load_checkpoint),
    Reader(name="model.glb", make=_model, read=_load_model),
    Reader(name="clip.tar", make=_clip, read=_load_clip),
    Reader(name="results.json", make=_results, read=_load_results),
    Reader(name="preprocessor.json", make=_preprocessor, read=_load_preprocessor),
]
if find_spec("pxr") is not None:
    READERS += [
        Reader(name=name, make=_sequence, read=load, cost=20) for name in ("a.usdc", "a.usda")
    ]
