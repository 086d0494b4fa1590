"""Video in and out: any container and codec that FFmpeg reads, images and numbered images.

Frames are uint8 tensors [H, W, 3 or 4]: RGB, or RGBA with the colour not premultiplied by alpha, as
they are meant to be shown: turned and mirrored by the display matrix, with square pixels, whole
(not interlaced), in SDR and BT.709, on an even lattice of time (see `FrameRateResampler`).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media import decoding, images, sequences
from l4gm.media.decoding import EXPECTED
from l4gm.media.frames import frame_levels, frame_rate
from l4gm.media.info import MIN_SIDE_PX, VideoInfo
from l4gm.media.sequences import image_files, matching_files

Source = str | Path | Sequence[Path]

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/")


@dataclass(frozen=True, kw_only=True)
class _Encoder:
    """How one kind of file is written; alpha_format is empty where alpha is not kept."""

    codec: str
    quality: int
    options: dict[str, str]
    container_options: dict[str, str]
    alpha_format: str = ""


ENCODERS = {
    ".mp4": _Encoder(
        codec="libx264",
        quality=16,
        # x264's macroblock tree makes other bytes of the same pictures from one call to the next.
        options={"preset": "medium", "x264-params": "mbtree=0"},
        container_options={"movflags": "+faststart"},
    ),
    ".webm": _Encoder(
        codec="libvpx-vp9",
        quality=24,
        options={"b": "0", "deadline": "good", "cpu-used": "4", "row-mt": "1"},
        container_options={},
        alpha_format="yuva420p",
    ),
}
BT709 = 1  # the number of the colour space in ITU-T H.273
LIMITED_RANGE = 1


def probe_video(source: Source) -> VideoInfo:
    """What is known of a video, image or numbered images; decodes the first frame only (of animated
    images all).

    Args:
        source: video, still or animated image, folder of images, pattern such as `f_%03d.png` or
            `f_*.png`, or several images in a row.

    Raises:
        InputError: if there is nothing there, it is not a video, or no frame can be decoded.
    """
    files = source_files(source)
    if isinstance(files, list):
        info = sequences.probe_sequence(files)
    elif images.is_image(files):
        info = images.probe_image(files)
    else:
        info = decoding.probe_container(files)
    if min(info.width, info.height) < MIN_SIDE_PX:
        raise InputError(
            f"{source_name(source)}: only {info.width} x {info.height} px; expected at least "
            f"{MIN_SIDE_PX} px on each side"
        )
    return info


def read_frames(
    source: Source, *, start: int = 0, stop: int | None = None, step: int = 1, timed: bool = True
) -> Iterator[Tensor]:
    """The frames of a video, decoded one at a time as they are asked for.

    Frames are counted on the even lattice of the rate `probe_video(source).fps`: a held one several
    times.

    Args:
        source: as for `probe_video`.
        start, stop, step: as in `range`; earlier frames are decoded and dropped.
        timed: without it timestamps are ignored, and frames come as they are stored.

    Yields:
        uint8 [H, W, 3], or [H, W, 4] where the video has an alpha channel.

    Raises:
        InputError: if there is nothing there, it is not a video, or not one frame can be decoded.
            A file that is cut off or damaged further on gives the frames that are there and a
            warning in the log.
    """
    if start < 0 or step < 1 or (stop is not None and stop < 0):
        raise ValueError(
            f"need start >= 0, stop >= 0, step >= 1; got start={start}, stop={stop}, step={step}"
        )
    files = source_files(source)
    if isinstance(files, list):
        frames = sequences.read_sequence(files)
    elif images.is_image(files):
        frames = images.read_image(files, timed=timed)
    else:
        wanted = range(start, sys.maxsize if stop is None else stop, step)
        return decoding.decode_container(files, wanted, timed=timed)
    return islice(frames, start, stop, step)


def source_files(source: Source) -> Path | list[Path]:
    """The file of a video or image, or the files of numbered images in their order.

    Raises:
        InputError: if there is nothing there, or it is an address.
    """
    if isinstance(source, Sequence) and not isinstance(source, str):
        return [_existing(path) for path in source]
    path = Path(source)
    # A path takes one slash out of https://.
    if _URL.match(str(path)) and not path.exists():
        raise InputError(f"{source}: an address on the web; download the video first")
    pattern = matching_files(path)
    if pattern is not None:
        return pattern
    path = _existing(path)
    return image_files(path) if path.is_dir() else path


def source_name(source: Source) -> str:
    """For messages and file names."""
    if isinstance(source, Sequence) and not isinstance(source, str):
        return f"{source[0]} and {len(source) - 1} more"
    return str(source)


def write_video(
    path: str | Path, frames: Iterable[Tensor], fps: float, *, quality: int | None = None
) -> int:
    """Encode frames one at a time; the file appears under its name only when it is whole.

    `.mp4`: H.264, BT.709, 4:2:0, plays everywhere; odd sizes are padded by repeating the last row
    or column; alpha is not kept (an error). `.webm`: VP9, keeps alpha.

    Args:
        path: ends in .mp4 or .webm; an existing file is replaced.
        frames: all of one size; uint8 [H, W, 3 or 4], or float [3 or 4, H, W] in [0, 1].
        fps: frames per second.
        quality: constant rate factor, lower is better and larger; 16 for mp4 and 24 for webm if
            not given (without visible loss).

    Returns:
        Number of frames written.

    Raises:
        InputError: if the name ends otherwise, or its folder does not exist.
        ValueError: if there are no frames, or their sizes differ.
    """
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise InputError(f"{path}: cannot write this kind of video; use .mp4 or .webm")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; make it first")
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix.lower()}")
    try:
        count = _encode(beside, frames, fps, quality)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return count


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; {EXPECTED}")
    if not path.is_file() and not path.is_dir():  # a pipe would keep us waiting
        raise InputError(f"{path}: no file; {EXPECTED}")
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty; {EXPECTED}")
    return path


def _encode(path: Path, frames: Iterable[Tensor], fps: float, quality: int | None) -> int:
    encoder = ENCODERS[path.suffix]
    count = 0
    stream: av.VideoStream | None = None
    size: tuple[int, ...] = ()
    with av.open(str(path.absolute()), "w", options=encoder.container_options) as container:
        for frame in frames:
            array = frame_levels(frame)
            if stream is None:
                size = array.shape
                stream = _add_stream(container, encoder, size, fps, quality)
            if array.shape != size:
                raise ValueError(f"frame {count} is {array.shape}, the first one {size}")
            picture = _to_picture(array, stream)
            picture.pts = count
            container.mux(stream.encode(picture))
            count += 1
        if stream is None:
            raise ValueError(f"{path.name}: there are no frames to write")
        container.mux(stream.encode(None))
    return count


def _add_stream(
    container: av.container.OutputContainer,
    encoder: _Encoder,
    size: tuple[int, ...],
    fps: float,
    quality: int | None,
) -> av.VideoStream:
    height, width, channels = size
    if channels == 4 and not encoder.alpha_format:
        raise ValueError("mp4 keeps no alpha: write .webm, or lay the frames on a background")
    quality = encoder.quality if quality is None else quality
    rate = frame_rate(fps)
    stream = container.add_stream(
        encoder.codec, rate=rate, options=encoder.options | {"crf": str(quality)}
    )
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = encoder.alpha_format if channels == 4 else "yuv420p"
    stream.time_base = 1 / rate
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


def _to_picture(array: np.ndarray, stream: av.VideoStream) -> av.VideoFrame:
    height, width, channels = array.shape
    if height % 2 or width % 2:
        array = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    picture = av.VideoFrame.from_ndarray(
        np.ascontiguousarray(array), format="rgba" if channels == 4 else "rgb24"
    )
    return picture.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
