"""A page that plays a sequence: one self-contained HTML file, offline, no build step.

The page's parts lie readable in `static/`; this module lays them into one file together with the
quantised frames (payload.py). Nothing in the page is fetched, and its content security policy
forbids it to.
"""

from __future__ import annotations

import base64
import html
import json
import logging
import math
import os
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import l4gm
from l4gm.errors import InputError
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.framing import measure_framing
from l4gm.gaussians.order import rows_correspond
from l4gm.gaussians.sequence_file import read_frames, read_sequence_info
from l4gm.gaussians.types import Gaussians, GaussianSequence
from l4gm.geometry.cameras import FOV_Y_DEGREES
from l4gm.viewer.payload import (
    GROUP_FRAMES,
    STEPS,
    Quantization,
    encode_frames,
    measure_quantization,
)

MAX_PAYLOAD_BYTES = 64 * 2**20
MAX_VIDEO_BYTES = 16 * 2**20

_STATIC = Path(__file__).parent / "static"
_SCRIPTS = (
    *("camera.js", "clock.js", "pace.js", "renderer.js"),
    *("frames.js", "gestures.js", "controls.js", "main.js"),
)
_WORKER_SCRIPTS = ("payload.js", "sort.js", "worker.js")
_SHADERS = ("splat.vert", "splat.frag", "screen.vert", "screen.frag")
_VIDEO_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PlayerReport:
    """What a page holds.

    Args:
        num_frames: frames in the page.
        frame_step: every how many-th frame of the sequence was taken; 1: all.
        fps: frames per second at which the page plays them (the sequence's, over `frame_step`).
        page_bytes: size of the file.
        has_video: whether the input video lies beside it.
        notes: what was left out, in words.
    """

    num_frames: int
    frame_step: int
    fps: float
    page_bytes: int
    has_video: bool
    notes: tuple[str, ...]


def write_player(
    path: str | os.PathLike[str],
    sequence: GaussianSequence | str | os.PathLike[str],
    *,
    title: str,
    input_video: str | os.PathLike[str] | None = None,
    background: str = "#ffffff",
    autoplay: bool = True,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
) -> PlayerReport:
    """Write a page that plays a sequence, whole or not at all.

    Gaussians are quantised (payload.py); those of an opacity below 1/255, which are drawn nowhere,
    are left out. When the frames do not fit into `max_payload_bytes`, only every second,
    third ... frame is taken and played at the same pace; page, log and report say so.

    Args:
        path: the page; replaced if it exists.
        sequence: the sequence, or the path of its .safetensors file, which is then read frame by
            frame.
        title: heading, any text.
        input_video: a small .mp4 (H.264) or .webm to show beside the object, in step. It is
            embedded as it is; above 16 MiB it is left out, with a note.
        background: colour at the start, "#rrggbb".
        autoplay: start playing when the page opens (unless the visitor prefers less motion).
        max_payload_bytes: most base64 bytes of frames in the page.

    Raises:
        ValueError: values that are not finite, or a colour that is not "#rrggbb".
        InputError: no such sequence or video, or a place that cannot be written to.
    """
    if not re.fullmatch("#[0-9a-fA-F]{6}", background):
        raise ValueError(f"background must be '#rrggbb', got {background!r}")
    source = _open_source(sequence)
    notes: list[str] = []
    video = _video_element(input_video, notes)
    ranges = measure_quantization(map(source.frame, range(source.num_frames)))
    in_step = rows_correspond(source.num_frames, source.frame)
    group_frames = GROUP_FRAMES if in_step else 1
    step, texts = _encode_thinned(source, ranges, group_frames, max_payload_bytes, notes)
    fps = source.fps / step
    for note in notes:
        _log.warning("%s: %s", path, note)
    header = {
        "title": title,
        "fps": fps,
        "frames": len(texts),
        "gaussians": source.num_gaussians,
        "groupFrames": group_frames,
        "steps": _camel_case(STEPS),
        "ranges": _camel_case(asdict(ranges)),
        "home": _home_view(source),
        "background": background,
        "autoplay": autoplay,
        "notes": notes,
    }
    page = _fill(header, video, source.num_gaussians, texts)
    with atomic_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
    return PlayerReport(
        num_frames=len(texts),
        frame_step=step,
        fps=fps,
        page_bytes=Path(path).stat().st_size,
        has_video=bool(video),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Source:
    """Frames one at a time, from memory or from a file."""

    num_frames: int
    num_gaussians: int
    fps: float
    frame: Callable[[int], Gaussians]


def _open_source(sequence: GaussianSequence | str | os.PathLike[str]) -> _Source:
    if isinstance(sequence, GaussianSequence):
        gaussians = sequence.gaussians
        return _Source(
            len(sequence), gaussians.num_gaussians, sequence.fps, lambda index: gaussians[index]
        )
    path = Path(sequence)
    info = read_sequence_info(path)
    return _Source(
        info.num_frames,
        info.num_gaussians,
        info.fps,
        lambda index: read_frames(path, index, index + 1)[0],
    )


def _encode_thinned(
    source: _Source, ranges: Quantization, group_frames: int, max_bytes: int, notes: list[str]
) -> tuple[int, list[str]]:
    """The step between frames that fits, and each taken frame's base64 text."""
    step = 1
    while True:
        taken = range(0, source.num_frames, step)
        texts = _encode_within(map(source.frame, taken), ranges, group_frames, max_bytes)
        if len(texts) == len(taken):
            break
        step = max(step + 1, math.ceil(step * len(taken) / len(texts)))
    if step > 1:
        notes.append(f"every {_ordinal(step)} of {source.num_frames} frames, to stay small")
    return step, texts


def _encode_within(
    frames: Iterable[Gaussians], ranges: Quantization, group_frames: int, max_bytes: int
) -> list[str]:
    """Base64 texts of as many frames as fit, and of at least one."""
    texts: list[str] = []
    size = 0
    for packed in encode_frames(frames, ranges, group_frames):
        text = base64.b64encode(packed).decode()
        size += len(text)
        if texts and size > max_bytes:
            break
        texts.append(text)
    return texts


def _home_view(source: _Source) -> dict[str, Any]:
    """The view that the page opens with."""
    framing = measure_framing(source.num_frames, source.frame)
    return {
        "azimuth": 0,
        "elevation": 0,
        "radius": framing.radius,
        "target": list(framing.target),
        "fovY": FOV_Y_DEGREES,
    }


def _video_element(path: str | os.PathLike[str] | None, notes: list[str]) -> str:
    if path is None:
        return ""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such video to show beside the object")
    kind = _VIDEO_TYPES.get(path.suffix.lower())
    if kind is None:
        raise InputError(
            f"{path}: browsers play {', '.join(_VIDEO_TYPES)}; convert the video to one of them"
        )
    size = path.stat().st_size
    if size > MAX_VIDEO_BYTES:
        notes.append(
            f"without the input video ({size / 2**20:.0f} MiB, "
            f"more than {MAX_VIDEO_BYTES // 2**20} MiB)"
        )
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        '  <figure><figcaption>Input</figcaption><video id="video" muted playsinline '
        f'preload="auto" src="data:{kind};base64,{data}"></video></figure>\n'
    )


def _fill(header: dict[str, Any], video: str, num_gaussians: int, texts: list[str]) -> str:
    template = string.Template((_STATIC / "index.html").read_text(encoding="utf-8"))
    facts = [
        f"{len(texts)} frame{'s' if len(texts) > 1 else ''}",
        f"{header['fps']:.4g} fps",
        f"{num_gaussians:,} Gaussians",
        *header["notes"],
    ]
    frames = [_plain(f"frame-{index}", text) for index, text in enumerate(texts)]
    parts = [
        *frames,
        _plain("header", _script_safe_json(header), kind="application/json"),
        *(_plain(name, _static_text(name)) for name in _SHADERS),
        _plain("worker", "".join(map(_static_text, _WORKER_SCRIPTS))),
    ]
    return template.substitute(
        version=l4gm.__version__,
        title=html.escape(header["title"]),
        style=_static_text("player.css"),
        layout="with-video" if video else "alone",
        facts=html.escape(" · ".join(facts)),
        video=video,
        background=header["background"],
        data="\n".join(parts),
        script=f'"use strict";\n(() => {{\n{"".join(map(_static_text, _SCRIPTS))}}})();\n',
    )


def _plain(name: str, text: str, kind: str = "text/plain") -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


def _static_text(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")


def _script_safe_json(value: object) -> str:
    """JSON that no text inside it can end the script element of, nor start a comment in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _camel_case(mapping: dict[str, Any]) -> dict[str, Any]:
    def renamed(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {renamed(name): value for name, value in mapping.items()}


def _ordinal(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
