"""Clips as phones, recorders, games and generators write them: frames, duration, alpha, colours.

Each frame is one grey level that says its number, so that order, holes and repetitions show.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.frames import frame_rate
from l4gm.media.video import probe_video, read_frames

SIDE = 32
SetUp = Callable[[av.VideoStream], None]


def grey(index: int) -> np.ndarray:
    """uint8 [S, S, 3]."""
    return np.full((SIDE, SIDE, 3), 24 + 8 * index, np.uint8)


def indices(frames: Sequence[Tensor]) -> list[int]:
    return [round((float(frame[..., :3].float().mean()) - 24) / 8) for frame in frames]


def encoded(
    path: Path,
    codec: str,
    pix_fmt: str = "yuv420p",
    *,
    times: Sequence[float] | None = None,
    count: int = 6,
    fps: float = 12,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    set_up: SetUp = lambda stream: None,
) -> Path:
    """`count` grey frames at `fps`, or at these times in seconds."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=frame_rate(fps), options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pix_fmt
        set_up(stream)
        for index in range(len(times) if times is not None else count):
            picture = av.VideoFrame.from_ndarray(grey(index), format="rgb24")
            picture.pts, picture.time_base = index, 1 / frame_rate(fps)
            if times is not None:
                picture.pts, picture.time_base = round(times[index] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def check(path: Path, expected: list[int], fps: float, log: pytest.LogCaptureFixture) -> None:
    """What is read is this, what is said beforehand agrees, and nothing is complained about."""
    with log.at_level(logging.WARNING):
        info = probe_video(path)
        found = indices(list(read_frames(path)))
    assert found == expected
    assert info.fps == pytest.approx(fps, rel=2e-3)
    assert info.num_frames == len(expected)
    assert info.duration_seconds == pytest.approx(len(expected) / fps, rel=2e-3)
    assert not log.records


CONTAINERS = [
    ("a.mp4", "libx264", "yuv420p"),
    ("a.mp4", "libx265", "yuv420p10le"),
    ("a.mp4", "libsvtav1", "yuv420p"),
    ("a.m4v", "mpeg4", "yuv420p"),
    ("a.mov", "prores_ks", "yuv422p10le"),
    ("a.mov", "mjpeg", "yuvj420p"),
    ("a.mov", "qtrle", "rgb24"),
    ("a.mkv", "libx264", "yuv444p"),
    ("a.mkv", "ffv1", "yuv420p"),
    ("a.webm", "libvpx-vp9", "yuv420p"),
    ("a.webm", "libvpx", "yuv420p"),
    ("a.avi", "mpeg4", "yuv420p"),
    ("a.avi", "mjpeg", "yuvj420p"),
    ("a.avi", "rawvideo", "bgr24"),
    ("a.ts", "libx264", "yuv420p"),
    ("a.ts", "mpeg2video", "yuv420p"),
    ("a.mpg", "mpeg2video", "yuv420p"),
    ("a.flv", "flv", "yuv420p"),
    ("a.nut", "ffv1", "yuv420p"),
    ("a.wmv", "wmv2", "yuv420p"),
    ("a.3gp", "libx264", "yuv420p"),
    ("a.gif", "gif", "rgb8"),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt"), CONTAINERS)
def test_even_clips_come_as_they_were(
    tmp_path: Path, name: str, codec: str, pix_fmt: str, caplog: pytest.LogCaptureFixture
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    fps = 25 if codec in ("mpeg2video", "gif") else 24
    path = encoded(tmp_path / name, codec, pix_fmt, fps=fps)
    if name == "a.gif":  # few colours: only the order is exact
        frames = list(read_frames(path))
        assert (len(frames), probe_video(path).fps) == (6, 25)
        return
    check(path, list(range(6)), fps, caplog)


@pytest.mark.parametrize("fps", [10, 12.5, 15, 24000 / 1001, 24, 25, 30000 / 1001, 50, 60, 120])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_rates(tmp_path: Path, name: str, fps: float, caplog: pytest.LogCaptureFixture) -> None:
    path = encoded(tmp_path / name, "libx264", fps=fps, count=9)
    check(path, list(range(9)), fps, caplog)


UNEVEN = {
    "pause": ([0, 0.1, 0.2, 0.3, 0.8, 0.9], [0, 1, 2, 3, 3, 3, 3, 3, 4, 5], 10),
    "jitter": ([0, 0.032, 0.068, 0.1, 0.131, 0.168], [0, 1, 2, 3, 4, 5], 30),
    "dropped frames": ([0, 0.04, 0.12, 0.16, 0.2, 0.28], [0, 1, 1, 2, 3, 4, 4, 5], 25),
    "slide show, then motion": ([0, 0.4, 0.8, 0.84, 0.88, 0.92], None, 25),
    "starts late": ([5.0, 5.1, 5.2, 5.3, 5.4, 5.5], [0, 1, 2, 3, 4, 5], 10),
}


@pytest.mark.parametrize("name", UNEVEN)
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".webm", "libvpx")])
def test_uneven_times_are_kept(
    tmp_path: Path, name: str, suffix: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    times, expected, fps = UNEVEN[name]
    path = encoded(tmp_path / f"a{suffix}", codec, times=times, fps=1000)
    if expected is None:
        expected = [0] * 10 + [1] * 10 + [2, 3, 4, 5]
    check(path, expected, fps, caplog)


def test_twenty_minutes_of_pause_are_left_out(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mkv", "libx264", times=[0, 0.1, 0.2, 1200.3, 1200.4], fps=1000)
    assert indices(list(read_frames(path))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("joint", ["back", "forward"])
def test_joined_transport_streams_give_both_halves(
    tmp_path: Path, joint: str, caplog: pytest.LogCaptureFixture
) -> None:
    times = [0, 0.1, 0.2, 0.3]
    start = 400 if joint == "forward" else 0
    first = encoded(tmp_path / "a.ts", "libx264", times=times, fps=1000)
    second = encoded(tmp_path / "b.ts", "libx264", times=[start + time for time in times], fps=1000)
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    with caplog.at_level(logging.WARNING):
        assert indices(list(read_frames(path))) == [0, 1, 2, 3, 0, 1, 2, 3]
    assert not caplog.records


DURATIONS = {
    "even": ([40] * 6, list(range(6)), 25),
    "last frame held": ([40] * 5 + [400], [0, 1, 2, 3, 4] + [5] * 10, 25),
    "first frame held": ([200] + [50] * 5, [0, 0, 0, 0, 1, 2, 3, 4, 5], 20),
    "held in the middle": ([100, 100, 300, 100, 100, 100], [0, 1, 2, 2, 2, 3, 4, 5], 10),
    "no durations": ([0] * 6, list(range(6)), 10),
}


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_durations_of_animated_images(
    tmp_path: Path, suffix: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    durations, expected, fps = DURATIONS[name]
    if suffix == ".avif" and name == "no durations":
        pytest.skip("AVIF has no frames without a duration")
    frames = [Image.fromarray(grey(index)) for index in range(6)]
    path = tmp_path / f"a{suffix}"
    options = {".webp": {"lossless": True}, ".avif": {"quality": 95, "speed": 10}}.get(suffix, {})
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=durations, loop=0, **options
    )
    check(path, expected, fps, caplog)


# Alpha


def disc(index: int, mode: str = "RGBA") -> Image.Image:
    """A red square that moves, on transparent."""
    array = np.zeros((SIDE, SIDE, 4), np.uint8)
    array[8:20, 4 + 2 * index : 16 + 2 * index] = (200, 60, 40, 255)
    return Image.fromarray(array).convert(mode)


def check_alpha(source: Path, count: int = 4) -> None:
    info, frames = probe_video(source), list(read_frames(source))
    assert info.has_alpha
    assert len(frames) == count
    for index, frame in enumerate(frames):
        alpha = frame[..., 3]
        assert int(alpha[10:18, 6 + 2 * index : 14 + 2 * index].min()) > 250
        assert int(alpha[24:].max()) < 5
        color = frame[12:16, 8 + 2 * index : 12 + 2 * index, :3].float().mean((0, 1))
        assert float((color - torch.tensor([200.0, 60, 40])).abs().max()) < 12


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_alpha_of_animated_images(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    options = {".gif": {"disposal": 2}, ".webp": {"lossless": True}, ".avif": {"quality": 95}}
    rest = [disc(index) for index in range(1, 4)]
    disc(0).save(path, save_all=True, append_images=rest, duration=80, **options.get(suffix, {}))
    check_alpha(path)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "png", "rgba"),
        ("a.mkv", "ffv1", "yuva420p"),
        ("a.avi", "png", "rgba"),
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
    ],
)
def test_alpha_of_videos(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    options = {"auto-alt-ref": "0"} if codec == "libvpx" else {}
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=12, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pix_fmt
        for index in range(4):
            picture = av.VideoFrame.from_ndarray(np.array(disc(index)), format="rgba")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    check_alpha(tmp_path / name)


def test_alpha_is_decided_for_the_clip_not_by_its_first_frame(tmp_path: Path) -> None:
    disc(0, "RGB").save(tmp_path / "0.png")
    for index in range(1, 4):
        disc(index).save(tmp_path / f"{index}.png")
    frames = list(read_frames(tmp_path))
    assert [frame.shape[2] for frame in frames] == [4] * 4
    assert [int(frame[..., 3].min()) for frame in frames] == [255, 0, 0, 0]


@pytest.mark.parametrize("where", ["{}_mask.png", "{}-alpha.png", "{}.matte.png", "masks/{}.png"])
def test_masks_beside_the_frames(tmp_path: Path, where: str) -> None:
    for index in range(4):
        mask = tmp_path / where.format(index)
        mask.parent.mkdir(exist_ok=True)
        disc(index, "RGB").save(tmp_path / f"{index}.png")
        disc(index).getchannel("A").save(mask)
    check_alpha(tmp_path)


def test_a_frame_without_the_mask_that_others_have_is_named(tmp_path: Path) -> None:
    for index in range(3):
        disc(index, "RGB").save(tmp_path / f"{index}.png")
    disc(0).getchannel("A").save(tmp_path / "0_mask.png")
    with pytest.raises(InputError, match=r"1\.png: no mask"):
        list(read_frames(tmp_path))


@pytest.mark.parametrize("place", ["stream", "file"])
def test_a_video_whose_alpha_is_a_video(tmp_path: Path, place: str) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=12) for _ in range(1 + (place == "stream"))]
        for stream in streams:
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv444p"
        streams[-1].metadata["title"] = "alpha" if place == "stream" else ""
        write_discs(container, streams)
    if place == "file":
        with av.open(str(tmp_path / "a_mask.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=12)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv444p"
            write_discs(container, [None, stream])
    check_alpha(path)


def write_discs(
    container: av.container.OutputContainer, streams: Sequence[av.VideoStream | None]
) -> None:
    """The colour of four discs into the first stream, their alpha into the second."""
    for index in range(4):
        contents = [np.array(disc(index, "RGB"))]
        contents.append(np.repeat(np.array(disc(index))[..., 3:], 3, -1))
        for stream, content in zip(streams, contents, strict=False):
            if stream is not None:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(content), format="rgb24")
                container.mux(stream.encode(picture))
    for stream in streams:
        if stream is not None:
            container.mux(stream.encode(None))


# Colour


def signal_of(rgb: tuple[int, int, int], transfer: str) -> np.ndarray:
    """uint16 [3]: an SDR colour as BT.2020 HLG or PQ, by the equations of the standards."""
    matrix = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    nits = matrix @ (np.array(rgb) / 255) ** 2.4 * 203
    if transfer == "pq":
        power = (nits / 10000) ** (2610 / 16384)
        signal = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        scene = (nits / 1000) ** (1 / 1.2)
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        low = np.sqrt(3 * scene)
        signal = np.where(scene <= 1 / 12, low, a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)
    return (signal * 65535).round().astype(np.uint16)


COLORS = [(255, 255, 255), (200, 60, 40), (40, 160, 60), (30, 60, 190), (0, 0, 0), (120, 120, 120)]


@pytest.mark.parametrize("transfer", ["hlg", "pq"])
@pytest.mark.parametrize("rgb", COLORS)
def test_high_dynamic_range_becomes_the_colours_it_was_made_of(
    tmp_path: Path, transfer: str, rgb: tuple[int, int, int]
) -> None:
    def tags(stream: av.VideoStream) -> None:
        context = stream.codec_context
        context.colorspace, context.color_primaries = 9, 9
        context.color_trc = {"pq": 16, "hlg": 18}[transfer]

    image = np.broadcast_to(signal_of(rgb, transfer), (SIDE, SIDE, 3))
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("prores_ks", rate=12)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv444p10le"
        tags(stream)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb48le")
        picture = picture.reformat(format="yuv444p10le", dst_colorspace=9)
        picture.color_primaries, picture.color_trc = 9, {"pq": 16, "hlg": 18}[transfer]
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    assert "converted to SDR" in probe_video(tmp_path / "a.mov").notes[0]
    found = next(read_frames(tmp_path / "a.mov")).float().mean((0, 1))
    assert float((found - torch.tensor(rgb)).abs().max()) <= (4 if max(rgb) else 8)


@pytest.mark.parametrize("color_range", [1, 2])
def test_ranges(tmp_path: Path, color_range: int) -> None:
    def tag(stream: av.VideoStream) -> None:
        stream.codec_context.color_range = color_range

    path = encoded(tmp_path / "a.mp4", "libx264", times=[0, 0.1], fps=1000, set_up=tag)
    frames = list(read_frames(path))
    if color_range == 2:  # the encoder was given limited levels and marked them as full
        assert int(frames[0].float().mean()) == pytest.approx(16 + 24 * 219 / 255, abs=3)
    else:
        assert int(frames[0].float().mean()) == pytest.approx(24, abs=3)


def test_a_display_p3_image(tmp_path: Path) -> None:
    """Red of Display P3 lies outside sRGB, grey stays what it is."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.fromarray(grey(10))
    image.save(tmp_path / "broken.png", icc_profile=profile)  # a profile of no RGB image
    assert next(read_frames(tmp_path / "broken.png")).numpy().tolist() == grey(10).tolist()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "srgb.png", icc_profile=srgb)
    assert next(read_frames(tmp_path / "srgb.png")).numpy().tolist() == grey(10).tolist()


def test_interlaced_fields_are_made_whole_pictures(tmp_path: Path) -> None:
    """A bright bar moves 6 px from field to field; a comb would alternate between both places."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, SIDE, "yuv420p"
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=64, height=SIDE, format="yuv420p", time_base=Fraction(1, 25)
        )
        nodes = [source, graph.add("setfield", "tff"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        for index in range(6):
            array = np.full((SIDE, 64, 3), 20, np.uint8)
            left = 4 + 8 * index
            array[0::2, left : left + 8] = 230
            array[1::2, left + 6 : left + 14] = 230
            picture = av.VideoFrame.from_ndarray(array, format="rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            graph.vpush(picture)
            container.mux(stream.encode(graph.vpull()))
        container.mux(stream.encode(None))
    if not next(av.open(str(path)).decode(video=0)).interlaced_frame:
        pytest.skip("this FFmpeg's FFV1 does not store that fields are interlaced")
    frames = list(read_frames(path))
    assert len(frames) == 6
    assert "deinterlaced" in probe_video(path).notes
    for frame in frames[1:-1]:
        levels = frame.float().mean(-1)
        comb = (levels[1:-1] - (levels[:-2] + levels[2:]) / 2).abs().mean()
        assert float(comb) < 6  # that of the stored picture is 39


# What a file is


def test_a_photograph_with_a_preview_is_one_picture(tmp_path: Path) -> None:
    big, small = Image.fromarray(grey(5)), Image.fromarray(grey(20)).resize((16, 16))
    big.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[small])
    pages = [Image.fromarray(grey(index)) for index in (5, 20)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    for name in ("a.jpg", "a.tif"):
        assert indices(list(read_frames(tmp_path / name))) == [5]


def test_the_fallback_picture_of_an_apng_is_no_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(grey(index)) for index in range(4)]
    frames[0].save(
        tmp_path / "a.png",
        save_all=True,
        append_images=frames[1:],
        default_image=True,
        duration=50,
    )
    assert indices(list(read_frames(tmp_path / "a.png"))) == [1, 2, 3]


def test_the_largest_stream_is_the_video_and_a_cover_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        small, large = (container.add_stream("ffv1", rate=12) for _ in range(2))
        small.width = small.height = 16
        large.width = large.height = SIDE
        for index in range(4):
            for stream, picture in ((small, grey(20)[:16, :16]), (large, grey(index))):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in (small, large):
            container.mux(stream.encode(None))
    assert indices(list(read_frames(path))) == [0, 1, 2, 3]


@pytest.mark.parametrize("pattern", ["f_%03d.png", "f_*.png", "f_00[0-9].png", "several"])
def test_patterns_and_images_in_a_row(tmp_path: Path, pattern: str) -> None:
    for index in range(4):
        Image.fromarray(grey(index)).save(tmp_path / f"f_{index:03d}.png")
    Image.fromarray(grey(20)).save(tmp_path / "other.png")
    source = tmp_path / pattern
    if pattern == "several":
        source = tuple(tmp_path / f"f_{index:03d}.png" for index in range(4))  # type: ignore
    assert indices(list(read_frames(source))) == [0, 1, 2, 3]
    assert probe_video(source).num_frames == 4


def test_a_pattern_that_matches_nothing_and_an_address(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        probe_video(tmp_path / "f_%03d.png")
    for address in ("https://example.org/cat.mp4", "http://x/y.webm", "s3://bucket/cat.mp4"):
        for source in (address, Path(address)):
            with pytest.raises(InputError, match="download the video first"):
                probe_video(source)


# Never "cut off" of a whole file; always of a cut one


def test_an_edit_list_is_kept_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Packets from the second key frame on, and the first one's frames skipped by an edit list."""
    whole = encoded(tmp_path / "whole.mp4", "libx264", count=12, options={"g": "4", "bf": "0"})
    path = tmp_path / "a.mp4"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = 6 / 12 / source.streams.video[0].time_base
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - int(shift), packet.dts - int(shift)
                packet.stream = stream
                target.mux(packet)
    with caplog.at_level(logging.WARNING):
        frames = indices(list(read_frames(path)))
    assert frames[-1] == 11
    assert frames == list(range(frames[0], 12))
    assert not caplog.records


def test_longer_sound_does_not_make_a_video_cut_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12)
        sound = container.add_stream("aac", rate=8000)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        for index in range(6):
            picture = av.VideoFrame.from_ndarray(grey(index), format="rgb24")
            container.mux(stream.encode(picture))
        for index in range(40):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 8000, 1024 * index
            container.mux(sound.encode(samples))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    check(path, list(range(6)), 12, caplog)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "ffv1"), ("a.webm", "libvpx"), ("a.avi", "mjpeg")],
)
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_a_cut_off_file_is_named_as_such(
    tmp_path: Path, name: str, codec: str, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / name
    options = {"movflags": "+faststart"} if name == "a.mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=12)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(24):
            picture = random.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with caplog.at_level(logging.WARNING):
        count = len(list(read_frames(path)))
    assert 0 < count < 24
    assert [record.getMessage() for record in caplog.records if "cut off" in record.getMessage()]
