"""Decoding of video files, by PyAV: one container's pictures, upright, in SDR, with their times."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from pathlib import Path

import av
import av.error
import av.filter
import numpy as np
import torch
from av.sidedata.sidedata import Type as SideDataType
from numpy.typing import NDArray
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.colour import ColourConversion
from l4gm.media.demuxers import READ_OPTIONS
from l4gm.media.frames import upright
from l4gm.media.info import VideoInfo
from l4gm.media.limits import limited_size
from l4gm.media.timing import FrameRateResampler, FrameTimes, in_order_of_showing
from l4gm.media.truncation import is_cut_off

logger = logging.getLogger(__name__)

# FFmpeg's own VP8 and VP9 decoders drop the alpha layer of WebM; libvpx keeps it.
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# FFmpeg takes text files for terminal art.
TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")

EXPECTED = "expected a video (mp4, webm, mov, mkv, gif, ...), an image or a folder of images"

_MASK = re.compile(r"\b(alpha|mask|matte)\b", re.IGNORECASE)
_MASK_SUFFIXES = ("alpha", "mask", "matte")  # of a file beside a video: cat_mask.mp4


def probe_container(path: Path) -> VideoInfo:
    """What is known of a video file: times of all packets, and the first frame decoded.

    Raises:
        InputError: if it is not a video, or no frame can be decoded.
    """
    return _probe(path, *_state(path))[0]


def decode_container(path: Path, wanted: range, *, timed: bool = True) -> Iterator[Tensor]:
    """Frames of a video file, uint8 [H, W, 3 or 4].

    Args:
        path: a file.
        wanted: which of its frames, in their order; of the others no image is made.
        timed: count them on the even lattice of `probe_container(path).fps`; else as they are
            stored.

    Raises:
        InputError: if not one can be decoded. Less damage gives what is there and a warning.
    """
    info, times = _probe(path, *_state(path))
    resampler: FrameRateResampler[_Shown] = FrameRateResampler(info.fps)
    masks = _mask_frames(path)
    with _Decoder(path) as decoder:

        def shown() -> Iterator[_Shown]:
            for picture, time_seconds in decoder.timed_pictures():
                mask = None if masks is None else next(masks, None)
                each = _Shown(decoder, picture, mask, masks is not None)
                yield from resampler.push(each, time_seconds) if timed else (each,)
            if timed:
                yield from resampler.finish(times.last_seconds)

        for index, each in enumerate(shown()):
            if index >= wanted.stop:
                return
            if index in wanted:
                yield each.frame


def _state(path: Path) -> tuple[int, int]:
    """Changes with the file's content."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=32)
def _probe(path: Path, size: int, changed_ns: int) -> tuple[VideoInfo, FrameTimes]:
    with _Decoder(path) as decoder:
        times = decoder.times()
    with _Decoder(path) as decoder:
        info = decoder.info(times)
    return info, times


class _Decoder:
    """One open container and the decoder of one of its video streams.

    Args:
        path: a file.
        mask: the stream that is the alpha of the other one, not the main stream.

    Raises:
        InputError: if there is no such stream.
    """

    def __init__(self, path: Path, *, mask: bool = False) -> None:
        self.path = path
        try:
            self._container = av.open(
                str(path.absolute()), metadata_errors="replace", options=READ_OPTIONS
            )
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(
                f"{path}: not a video, or cut off before its index ({_reason(error)}); {EXPECTED}"
            ) from error
        main, alpha = _choose_streams(self._container)
        stream = alpha if mask else main
        if stream is None:
            self._container.close()
            raise InputError(f"{path}: no picture stream in this file; {EXPECTED}")
        self._stream = stream
        self.has_mask_stream = alpha is not None
        self._codec = stream.codec_context
        if self._codec.name in TEXT_CODECS:
            self._container.close()
            raise InputError(f"{path}: a text file, not a video; {EXPECTED}")
        self._form: _FrameForm | None = None
        self._decoder = self._choose_decoder()
        self._decoder.thread_type = "AUTO"

    def __enter__(self) -> _Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def times(self) -> FrameTimes:
        """When frames are shown, by the packets' timestamps; nothing is decoded."""
        stream, base = self._stream, float(self._stream.time_base or 0)
        decode: list[float | None] = []
        show: list[float] = []
        unknown, last = 0, 0.0
        try:
            for packet in self._container.demux(stream):
                stamp = packet.dts if packet.pts is None else packet.pts
                if packet.is_discard or packet.is_corrupt or not packet.size:
                    continue
                if stamp is None:
                    unknown += 1
                    continue
                decode.append(None if packet.dts is None else packet.dts * base)
                show.append(stamp * base)
                last = (packet.duration or 0) * base
        except (av.error.FFmpegError, OSError):
            pass  # told when frames are decoded
        seconds: list[float | None] = [None] * unknown
        seconds += in_order_of_showing(decode, show)
        rates = (stream.average_rate, stream.guessed_rate)
        declared = [float(rate) for rate in rates if rate is not None and rate > 0]
        fps = FrameTimes(seconds=seconds, declared_fps=declared).fps()
        # Some containers give the tick of their clock as the duration of each frame.
        last = max(last, 1 / fps)
        return FrameTimes(seconds=seconds, last_seconds=last, declared_fps=declared)

    def info(self, times: FrameTimes) -> VideoInfo:
        picture = next(self._pictures(), None)
        assert picture is not None  # else _pictures has raised
        frame = self.to_frame(picture)
        assert self._form is not None
        form = self._form
        fps = times.fps()
        num_frames = times.num_frames(fps, self.path) or None
        mask = "a stream" if self.has_mask_stream else _mask_file(self.path)
        notes = [] if form.conversion is None else [form.conversion.note]
        if picture.interlaced_frame:
            notes.append("deinterlaced")
        if mask is not None:
            notes.append(f"alpha from {mask if isinstance(mask, str) else mask.name}")
        return VideoInfo(
            width=frame.shape[1],
            height=frame.shape[0],
            fps=fps,
            num_frames=num_frames,
            num_pictures=len(times.seconds) or None,
            duration_seconds=None if num_frames is None else num_frames / fps,
            codec=self._codec.name,
            has_alpha=frame.shape[2] == 4 or mask is not None,
            rotation_degrees=round(picture.rotation / 90) * 90 % 360,
            notes=tuple(notes),
        )

    def timed_pictures(self) -> Iterator[tuple[av.VideoFrame, float | None]]:
        """Pictures, and when they are shown, in seconds."""
        count = 0
        for picture in self._deinterlaced():
            time = None
            base = picture.time_base or self._stream.time_base
            if picture.pts is not None and base is not None:
                time = float(picture.pts * base)
            count += 1
            yield picture, time
        if is_cut_off(self.path):
            self._warn_of_the_end(count)

    def to_frame(self, picture: av.VideoFrame) -> Tensor:
        """[H, W, C] of the first picture's size and form."""
        if self._form is None:
            self._form = _form_of(picture, self._stream.sample_aspect_ratio, self._codec)
        return _to_tensor(picture, self._form)

    def _warn_of_the_end(self, count: int) -> None:
        declared = self._stream.frames
        logger.warning(
            "%s: only the first %d frames%s can be decoded; the file is cut off",
            self.path,
            count,
            f" of about {declared}" if declared > count else "",
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

    def _deinterlaced(self) -> Iterator[av.VideoFrame]:
        """Pictures whose fields, if they are of two moments, are made whole ones of the first."""
        graph: av.filter.Graph | None = None
        for picture in self._pictures():
            if graph is None and picture.interlaced_frame:
                graph = av.filter.Graph()
                source = graph.add_buffer(template=self._stream, time_base=self._stream.time_base)
                graph.link_nodes(
                    source,
                    graph.add("bwdif", "mode=send_frame:deint=interlaced"),
                    graph.add("buffersink"),
                ).configure()
            if graph is None:
                yield picture
                continue
            graph.vpush(picture)
            yield from _pulled(graph)
        if graph is not None:
            graph.vpush(None)
            yield from _pulled(graph)

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
        if damage and not is_cut_off(self.path):
            logger.warning("%s: parts of the video are damaged (%s)", self.path, damage)


def _choose_streams(
    container: av.container.InputContainer,
) -> tuple[av.VideoStream | None, av.VideoStream | None]:
    """The largest moving picture, not a cover or a thumbnail; and the stream that is its alpha."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    cover = av.stream.Disposition.attached_pic
    moving = [stream for stream in streams if not stream.disposition & cover] or streams
    if not moving:
        return None, None
    masks = [stream for stream in moving if _says_mask(stream)]
    main = max((stream for stream in moving if stream not in masks), key=_area, default=None)
    if main is None:
        return max(moving, key=_area), None
    return main, next((stream for stream in masks if _area(stream) == _area(main)), None)


def _says_mask(stream: av.VideoStream) -> bool:
    return any(_MASK.search(stream.metadata.get(key, "")) for key in ("title", "handler_name"))


def _area(stream: av.VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _pulled(graph: av.filter.Graph) -> Iterator[av.VideoFrame]:
    """What a filter has ready."""
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _mask_file(path: Path) -> Path | None:
    """The video beside this one that is its alpha: cat_mask.mp4 beside cat.mp4."""
    names = (path.with_name(f"{path.stem}_{word}{path.suffix}") for word in _MASK_SUFFIXES)
    with suppress(OSError):  # the longer name may be too long
        return next((name for name in names if name.is_file()), None)
    return None


def _mask_frames(path: Path) -> Iterator[Tensor] | None:
    """The alpha of each frame [H, W], where it comes in a stream or a file of its own."""
    with _Decoder(path) as decoder:
        in_stream = decoder.has_mask_stream
    beside = _mask_file(path)
    if not in_stream and beside is None:
        return None

    def frames() -> Iterator[Tensor]:
        with _Decoder(path if in_stream else beside or path, mask=in_stream) as decoder:
            for picture, _ in decoder.timed_pictures():
                yield decoder.to_frame(picture)[..., :3].amax(-1)

    return frames()


@dataclass
class _Shown:
    """A picture that is made a frame when it is wanted, once if it is held.

    Args:
        decoder: whose it is.
        picture: as decoded.
        mask: [H, W] its alpha, where that comes from elsewhere.
        needs_mask: whether it does.
    """

    decoder: _Decoder
    picture: av.VideoFrame
    mask: Tensor | None
    needs_mask: bool

    @cached_property
    def frame(self) -> Tensor:
        frame = self.decoder.to_frame(self.picture)
        if not self.needs_mask:
            return frame
        if self.mask is None or self.mask.shape != frame.shape[:2]:
            found = "fewer frames"
            if self.mask is not None:
                found = f"{self.mask.shape[1]} x {self.mask.shape[0]} px"
            raise InputError(
                f"{self.decoder.path}: its mask has {found}, expected one of {frame.shape[1]} x "
                f"{frame.shape[0]} px for each frame"
            )
        return torch.cat([frame[..., :3], self.mask[..., None]], -1)


@dataclass(frozen=True, kw_only=True)
class _FrameForm:
    """What all frames of a video are brought to, even if the stream changes on the way."""

    width: int
    height: int
    has_alpha: bool
    display_matrix: NDArray[np.int32] | None
    conversion: ColourConversion | None


def _form_of(
    picture: av.VideoFrame, pixel_aspect: Fraction | None, codec: av.VideoCodecContext
) -> _FrameForm:
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
        conversion=ColourConversion.needed(
            _stated(picture.color_primaries, codec.color_primaries),
            _stated(picture.color_trc, codec.color_trc),
        ),
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


def _stated(by_picture: int, by_container: int) -> int:
    """A property by its number of H.273, where 0 and 2 say nothing."""
    return int(by_container if by_picture in (0, 2) else by_picture)


def _to_tensor(picture: av.VideoFrame, form: _FrameForm) -> Tensor:
    """uint8 [H, W, 3 or 4], upright."""
    kind = "rgba" if form.has_alpha else "rgb24"
    if form.conversion is not None:
        kind = "rgba64le" if form.has_alpha else "rgb48le"
    image = picture.reformat(width=form.width, height=form.height, format=kind).to_ndarray()
    if form.conversion is None:
        array = np.asarray(image, np.uint8)
    else:
        array = form.conversion(np.asarray(image, np.uint16))
    if form.display_matrix is not None:
        array = upright(array, form.display_matrix)
    return torch.from_numpy(np.ascontiguousarray(array))


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).lower()
