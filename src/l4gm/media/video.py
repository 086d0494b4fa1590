"""Video in and out: any container and codec that FFmpeg reads, images and folders of images.

The only module that imports PyAV. Frames are uint8 tensors [H, W, 3 or 4]: RGB, or RGBA with the
colour not premultiplied by alpha, as they are meant to be shown: turned and mirrored by the
display matrix, with square pixels, at a constant rate (see `FrameRateResampler`). High dynamic
range is not tone mapped, interlaced fields are not separated.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import av.error
import numpy as np
import torch
from av.sidedata.sidedata import Type as SideDataType
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media import images
from l4gm.media.demuxers import READ_OPTIONS
from l4gm.media.frames import frame_levels, frame_rate, upright
from l4gm.media.info import FALLBACK_FPS, MIN_SIDE_PX, FrameRateResampler, VideoInfo
from l4gm.media.limits import limited_size

logger = logging.getLogger(__name__)

# FFmpeg's own VP8 and VP9 decoders drop the alpha layer of WebM; libvpx keeps it.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# FFmpeg takes text files for terminal art.
TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")

EXPECTED = "expected a video (mp4, webm, mov, mkv, gif, ...), an image or a folder of images"


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


def probe_video(path: str | Path) -> VideoInfo:
    """What is known of a video, image or folder of images; decodes the first frame only.

    Raises:
        InputError: if there is nothing there, it is not a video, or no frame can be decoded.
    """
    path = _existing(path)
    if path.is_dir():
        info = images.probe_folder(path)
    elif images.is_image(path):
        info = images.probe_image(path)
    else:
        with _Decoder(path) as decoder:
            info = decoder.info()
    if min(info.width, info.height) < MIN_SIDE_PX:
        raise InputError(
            f"{path}: only {info.width} x {info.height} px; expected at least {MIN_SIDE_PX} px "
            "on each side"
        )
    return info


def read_frames(
    path: str | Path, *, start: int = 0, stop: int | None = None, step: int = 1
) -> Iterator[Tensor]:
    """The frames of a video, decoded one at a time as they are asked for.

    Frames are counted after resampling to the constant rate `probe_video(path).fps`.

    Args:
        path: video, still or animated image, or folder of images.
        start, stop, step: as in `range`; earlier frames are decoded and dropped.

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
    path = _existing(path)
    if path.is_dir():
        frames = images.read_folder(path)
    elif images.is_image(path):
        frames = images.read_image(path)
    else:
        frames = _decode_video(path)
    return islice(frames, start, stop, step)


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


def _decode_video(path: Path) -> Iterator[Tensor]:
    with _Decoder(path) as decoder:
        resampler = FrameRateResampler(decoder.fps)
        for frame, time_seconds in decoder.frames():
            yield from resampler.push(frame, time_seconds)


class _Decoder:
    """One open container and the decoder of its best video stream."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._container = av.open(
                str(path.absolute()), metadata_errors="replace", options=READ_OPTIONS
            )
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(
                f"{path}: not a video, or cut off before its index ({_reason(error)}); {EXPECTED}"
            ) from error
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            self._container.close()
            raise InputError(f"{path}: no picture stream in this file; {EXPECTED}")
        assert isinstance(stream, av.VideoStream)
        self._stream = stream
        self._codec = stream.codec_context
        if self._codec.name in TEXT_CODECS:
            self._container.close()
            raise InputError(f"{path}: a text file, not a video; {EXPECTED}")
        self._decoder = self._choose_decoder()
        self._decoder.thread_type = "AUTO"

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def fps(self) -> float:
        """Average frames per second, by the container."""
        for rate in (self._stream.average_rate, self._stream.guessed_rate):
            if rate is not None and 0 < rate <= 1000:
                return float(rate)
        return FALLBACK_FPS

    @property
    def _duration_seconds(self) -> float | None:
        stream = self._stream
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if self._container.duration and len(self._container.streams) == 1:
            return self._container.duration / av.time_base
        return None

    def info(self) -> VideoInfo:
        picture = next(self._pictures(), None)
        assert picture is not None  # else _pictures has raised
        stream = self._stream
        frame = _to_tensor(picture, _form_of(picture, stream.sample_aspect_ratio))
        return VideoInfo(
            width=frame.shape[1],
            height=frame.shape[0],
            fps=self.fps,
            num_frames=stream.frames or None,
            duration_seconds=self._duration_seconds,
            codec=self._codec.name,
            has_alpha=frame.shape[2] == 4,
            rotation_degrees=round(picture.rotation / 90) * 90 % 360,
        )

    def frames(self) -> Iterator[tuple[Tensor, float | None]]:
        """Frames [H, W, C], all of the first one's size, and when they are shown, in seconds."""
        form: _FrameForm | None = None
        count = 0
        for picture in self._pictures():
            if form is None:
                form = _form_of(picture, self._stream.sample_aspect_ratio)
            time = None
            if picture.pts is not None and self._stream.time_base is not None:
                time = float(picture.pts * self._stream.time_base)
            count += 1
            yield _to_tensor(picture, form), time
        self._warn_if_short(count)

    def _warn_if_short(self, count: int) -> None:
        """Say so if clearly fewer frames came than the container declares."""
        declared = self._stream.frames or (self._duration_seconds or 0) * self.fps
        if count < 0.95 * declared - 2:
            logger.warning(
                "%s: only the first %d frames of about %d can be decoded; the file is cut off",
                self.path,
                count,
                round(declared),
            )

    def _choose_decoder(self) -> av.video.codeccontext.VideoCodecContext:
        name = ALPHA_DECODERS.get(self._codec.name)
        if name and self._stream.metadata.get("alpha_mode") == "1":
            try:
                decoder = av.CodecContext.create(name, "r")
            except av.error.FFmpegError:
                logger.warning("%s: its alpha is ignored: FFmpeg has no %s", self.path, name)
            else:
                assert isinstance(decoder, av.video.codeccontext.VideoCodecContext)
                return decoder
        return self._codec

    def _pictures(self) -> Iterator[av.VideoFrame]:
        """Decoded pictures; damage is logged, and what can be decoded after it still comes."""
        damage: str | None = None
        found = False
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                pictures = self._decoder.decode(packet)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                if isinstance(error, av.error.EOFError):
                    break
                damage = damage or _reason(error)
                continue
            found = found or bool(pictures)
            yield from pictures
        if not found:
            raise InputError(
                f"{self.path}: not one frame can be decoded; the video is cut off or damaged: "
                "encode it again"
            )
        if damage:
            logger.warning("%s: parts of the video are damaged (%s)", self.path, damage)


@dataclass(frozen=True, kw_only=True)
class _FrameForm:
    """What all frames of a video are brought to, even if the stream changes on the way."""

    width: int
    height: int
    has_alpha: bool
    display_matrix: NDArray[np.int32] | None


def _form_of(picture: av.VideoFrame, pixel_aspect: Fraction | None) -> _FrameForm:
    """The form of the first frame, with square pixels.

    Asked of one frame only: PyAV's side data and its frame refer to each other, so that a frame
    whose side data was looked at stays in memory until Python's garbage collector comes by.
    """
    width = picture.width
    if pixel_aspect and 0.2 < pixel_aspect < 5:
        width = max(1, round(width * pixel_aspect))
    width, height = limited_size(width, picture.height)
    return _FrameForm(
        width=width,
        height=height,
        has_alpha=any(component.is_alpha for component in picture.format.components),
        display_matrix=_display_matrix(picture),
    )


def _display_matrix(picture: av.VideoFrame) -> NDArray[np.int32] | None:
    """[9] in FFmpeg's form, or None."""
    try:
        matrix = picture.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    except ValueError:  # a kind of side data that PyAV has no name for, as EXIF is in FFmpeg 8
        if not picture.rotation:
            return None
        turn = np.deg2rad(picture.rotation)  # counterclockwise
        cosine, sine = round(65536 * np.cos(turn)), round(65536 * np.sin(turn))
        return np.array([cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30], np.int32)
    return None if matrix is None else np.frombuffer(bytes(matrix), np.int32)


def _to_tensor(picture: av.VideoFrame, form: _FrameForm) -> Tensor:
    """uint8 [H, W, 3 or 4], upright."""
    picture_rgb = picture.reformat(
        width=form.width, height=form.height, format="rgba" if form.has_alpha else "rgb24"
    )
    array = np.asarray(picture_rgb.to_ndarray(), np.uint8)
    if form.display_matrix is not None:
        array = upright(array, form.display_matrix)
    return torch.from_numpy(np.ascontiguousarray(array))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).lower()


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
