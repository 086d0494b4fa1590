"""Reading and writing video, on files that the tests make through PyAV and Pillow."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from l4gm.errors import InputError
from l4gm.media.frames import frame_rate
from l4gm.media.video import probe_video, read_frames, write_video

RED, GREEN, BLUE, WHITE = (200, 40, 40), (40, 160, 40), (40, 40, 200), (255, 255, 255)


def quarters(height: int = 48, width: int = 64) -> Tensor:
    """uint8 [H, W, 3]: red and green above, blue and white below."""
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:] = torch.tensor(RED), torch.tensor(GREEN)
    image[top:, :left], image[top:, left:] = torch.tensor(BLUE), torch.tensor(WHITE)
    return image.to(torch.uint8)


def counting(count: int, height: int = 32, width: int = 32) -> list[Tensor]:
    """Grey frames from whose level the index can be read."""
    return [
        torch.full((height, width, 3), 20 + 8 * index % 220, dtype=torch.uint8)
        for index in range(count)
    ]


def noise_frames(count: int) -> list[Tensor]:
    """Frames that no codec compresses well."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8, generator=generator)
        for _ in range(count)
    ]


def index_of(frame: Tensor) -> int:
    return round((float(frame[..., :3].float().mean()) - 20) / 8)


def encode(
    path: Path,
    frames: list[Tensor],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    fps: float = 12,
    times: list[float] | None = None,
    set_up: Callable[[av.VideoStream], None] | None = None,
) -> Path:
    """Encode uint8 [H, W, 3 or 4] frames with settings that `write_video` does not offer."""
    with av.open(str(path), "w") as container:
        options = {"libx264": {"crf": "4"}, "libvpx": {"auto-alt-ref": "0"}}.get(codec, {})
        stream = container.add_stream(codec, rate=frame_rate(fps), options=options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if set_up:
            set_up(stream)
        for index, frame in enumerate(frames):
            name = "rgba" if frame.shape[2] == 4 else "rgb24"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.numpy()), format=name)
            picture.pts = index
            picture.time_base = 1 / frame_rate(fps)
            if times is not None:
                picture.time_base = Fraction(1, 1000)
                picture.pts = round(times[index] * 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def assert_close(frame: Tensor, expected: Tensor, levels: float = 4) -> None:
    """All but the pixels beside colour edges agree (chroma is stored at half resolution)."""
    assert frame.shape == expected.shape
    difference = (frame.float() - expected.float()).abs().amax(-1)
    assert float(difference.flatten().sort().values[int(0.85 * difference.numel())]) <= levels


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mov", "libx264", "yuv444p"),
        ("a.mkv", "libx265", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mkv", "ffv1", "yuv420p10le"),
        ("a.mov", "prores_ks", "yuv422p10le"),
    ],
)
def test_reads_containers_and_codecs(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    path = encode(tmp_path / name, [quarters()] * 5, codec=codec, pix_fmt=pix_fmt)
    info = probe_video(path)
    assert (info.width, info.height, info.has_alpha) == (64, 48, False)
    assert info.fps == pytest.approx(12, rel=0.01)
    frames = list(read_frames(path))
    assert len(frames) == 5
    assert_close(frames[2], quarters(), levels=10)


@pytest.mark.parametrize(("height", "width"), [(33, 47), (16, 101), (101, 16), (64, 64)])
def test_odd_sizes_are_padded_by_the_last_row_and_column(
    tmp_path: Path, height: int, width: int
) -> None:
    down = torch.linspace(0, 255, height)[:, None, None].expand(height, width, 3)
    right = torch.linspace(0, 255, width)[:, None]
    image = ((down + right) / 2).to(torch.uint8)
    write_video(tmp_path / "a.mp4", [image] * 3, 12, quality=4)
    frame = next(read_frames(tmp_path / "a.mp4"))
    assert frame.shape == (height + height % 2, width + width % 2, 3)
    assert_close(frame[:height, :width], image)
    assert_close(frame[-1:, :width], image[-1:])
    assert_close(frame[:height, -1:], image[:, -1:])


def test_reads_odd_sizes(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", [quarters(33, 47)] * 2, codec="ffv1", pix_fmt="yuv444p")
    assert_close(next(read_frames(path)), quarters(33, 47))


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_flag(tmp_path: Path, degrees: int) -> None:
    path = encode(
        tmp_path / "a.mp4",
        [quarters()] * 2,
        set_up=lambda stream: stream.set_display_rotation(degrees) if degrees else None,
    )
    turned = torch.rot90(quarters(), degrees // 90)  # counterclockwise
    info = probe_video(path)
    assert (info.height, info.width) == turned.shape[:2]
    assert info.rotation_degrees == degrees
    assert_close(next(read_frames(path)), turned)


def test_mirrored_display_matrix(tmp_path: Path) -> None:
    one = 65536
    path = encode(
        tmp_path / "a.mp4",
        [quarters()] * 2,
        set_up=lambda stream: stream.set_display_matrix([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30]),
    )
    assert_close(next(read_frames(path)), quarters().flip(1))


def test_anamorphic_pixels_become_square(tmp_path: Path) -> None:
    def set_up(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(3, 2)

    path = encode(tmp_path / "a.mp4", [quarters()] * 2, set_up=set_up)
    assert probe_video(path).width == 96
    assert next(read_frames(path)).shape == (48, 96, 3)


@pytest.mark.parametrize("space", ["ITU601", "ITU709"])
def test_tagged_color_spaces(tmp_path: Path, space: str) -> None:
    number = {"ITU601": 6, "ITU709": 1}[space]
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=12, options={"crf": "4"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.codec_context.colorspace = number
        picture = av.VideoFrame.from_ndarray(quarters().numpy(), format="rgb24")
        container.mux(stream.encode(picture.reformat(format="yuv444p", dst_colorspace=space)))
        container.mux(stream.encode(None))
    assert_close(next(read_frames(path)), quarters(), levels=3)


@pytest.mark.parametrize("fps", [12, 23.976, 24, 29.97, 30, 59.94, 60, 7.5])
@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frame_rate_and_number_of_frames_survive(tmp_path: Path, fps: float, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    assert write_video(path, counting(20), fps) == 20
    assert probe_video(path).fps == pytest.approx(fps, rel=2e-3)
    assert [index_of(frame) for frame in read_frames(path)] == list(range(20))


def test_frame_rate_fractions() -> None:
    assert frame_rate(29.97) == Fraction(30000, 1001)
    assert frame_rate(24000 / 1001) == Fraction(24000, 1001)
    assert frame_rate(30) == 30
    assert frame_rate(7.5) == Fraction(15, 2)
    assert frame_rate(0.4) == Fraction(2, 5)


@pytest.mark.parametrize("count", [1, 2, 3, 17])
def test_start_stop_step_are_those_of_range(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, counting(count), 12)
    for start, stop, step in [(0, None, 1), (0, 1, 1), (1, None, 2), (3, 9, 3), (40, None, 1)]:
        wanted = list(range(count))[start:stop:step]
        frames = read_frames(path, start=start, stop=stop, step=step)
        assert [index_of(frame) for frame in frames] == wanted


def test_first_frames_come_without_reading_all(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, noise_frames(40), 12)
    whole = list(read_frames(path, stop=2))
    with path.open("r+b") as file:  # overwrite the second half
        size = path.stat().st_size
        file.seek(size // 2)
        file.write(bytes(size - size // 2))
    for frame, expected in zip(read_frames(path, stop=2), whole, strict=True):
        assert torch.equal(frame, expected)


def test_variable_frame_rate_is_resampled_to_its_average(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 0.3, 0.9, 1.0, 1.1, 1.2]  # a pause after the fourth
    path = encode(tmp_path / "a.mp4", counting(8), fps=10, times=times)
    info = probe_video(path)
    indices = [index_of(frame) for frame in read_frames(path)]
    for place, index in enumerate(indices):
        following = times[index + 1] if index < 7 else float("inf")
        slack = 1 / info.fps
        assert times[index] - slack <= place / info.fps <= following + slack
    assert indices == sorted(indices)
    assert len(indices) == pytest.approx(1.2 * info.fps + 1, abs=1)
    assert indices.count(3) >= 3


def test_alpha_survives_webm(tmp_path: Path) -> None:
    frame = torch.zeros(48, 64, 4, dtype=torch.uint8)
    frame[12:36, 16:48] = torch.tensor([200, 40, 40, 255])
    write_video(tmp_path / "a.webm", [frame] * 4, 12)
    assert probe_video(tmp_path / "a.webm").has_alpha
    frames = list(read_frames(tmp_path / "a.webm"))
    assert len(frames) == 4
    assert_close(frames[1][..., 3:], frame[..., 3:])
    assert_close(frames[1][16:32, 20:44], frame[16:32, 20:44])


def test_vp8_alpha(tmp_path: Path) -> None:
    frame = torch.full((48, 64, 4), 255, dtype=torch.uint8)
    frame[:, :32, 3] = 0
    path = encode(tmp_path / "a.webm", [frame] * 3, codec="libvpx", pix_fmt="yuva420p")
    assert_close(next(read_frames(path))[..., 3:], frame[..., 3:])


def test_animated_gif_with_transparency(tmp_path: Path) -> None:
    pictures = []
    for index in range(5):
        array = np.zeros((32, 40, 4), np.uint8)
        array[8:24, 4 + 4 * index : 12 + 4 * index] = (200, 40, 40, 255)
        pictures.append(Image.fromarray(array))
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, disposal=2)
    info = probe_video(path)
    assert (info.width, info.height, info.has_alpha) == (40, 32, True)
    assert info.fps == pytest.approx(20)
    frames = list(read_frames(path))
    assert len(frames) == 5
    for index, frame in enumerate(frames):
        assert frame[16, 8 + 4 * index].tolist()[3] == 255
        assert int(frame[..., 3].gt(0).sum()) == 16 * 8


@pytest.mark.parametrize(("suffix", "options"), [(".webp", {"lossless": True}), (".png", {})])
def test_animated_webp_and_png(tmp_path: Path, suffix: str, options: dict[str, bool]) -> None:
    pictures = [Image.fromarray(frame.numpy()) for frame in counting(6)]
    path = tmp_path / f"a{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, **options)
    assert probe_video(path).fps == pytest.approx(10)
    assert [index_of(frame) for frame in read_frames(path)] == list(range(6))


def test_gif_with_uneven_durations_keeps_time(tmp_path: Path) -> None:
    pictures = [Image.fromarray(frame.numpy()) for frame in counting(4)]
    path = tmp_path / "a.gif"
    durations = [100, 400, 100, 100]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations)
    indices = [index_of(frame) for frame in read_frames(path)]
    assert indices.count(1) >= 2
    assert indices[0] == 0
    assert indices[-1] == 3


def test_folder_of_images_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for index, frame in enumerate(counting(12)):
        Image.fromarray(frame.numpy()).save(tmp_path / f"frame {index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    info = probe_video(tmp_path)
    assert info.num_frames == 12
    assert [index_of(frame) for frame in read_frames(tmp_path)] == list(range(12))


def test_folder_with_an_image_of_another_size(tmp_path: Path) -> None:
    Image.fromarray(quarters().numpy()).save(tmp_path / "0.png")
    Image.fromarray(quarters(50, 64).numpy()).save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"1\.png: 64 x 50 px"):
        list(read_frames(tmp_path))


def test_single_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    Image.fromarray(quarters().numpy()).save(tmp_path / "a.png")
    assert probe_video(tmp_path / "a.png").num_frames == 1
    (frame,) = read_frames(tmp_path / "a.png")
    assert torch.equal(frame, quarters())


def test_image_is_turned_by_its_exif_orientation(tmp_path: Path) -> None:
    image = Image.fromarray(quarters().numpy())
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned: show it rotated clockwise by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    (frame,) = read_frames(tmp_path / "a.jpg")
    assert_close(frame, torch.rot90(quarters(), -1), levels=8)


def test_sixteen_bit_and_palette_images(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    (frame,) = read_frames(tmp_path / "grey.png")
    assert frame.shape == (32, 32, 3)
    np.testing.assert_allclose(frame[..., 0].numpy(), grey >> 8, atol=1)
    Image.fromarray(quarters().numpy()).quantize(8).save(tmp_path / "palette.png")
    (frame,) = read_frames(tmp_path / "palette.png")
    assert_close(frame, quarters())


def test_float_frames_are_written_like_levels(tmp_path: Path) -> None:
    image = quarters()
    write_video(tmp_path / "a.mp4", [image.permute(2, 0, 1).float() / 255] * 2, 12, quality=4)
    assert_close(next(read_frames(tmp_path / "a.mp4")), image)


def test_white_stays_white(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [torch.ones(3, 64, 64)] * 3, 12)
    assert int(next(read_frames(tmp_path / "a.mp4")).min()) == 255


# Bad input


def bad_files(folder: Path) -> Iterator[tuple[str, Path]]:
    whole = folder / "whole.mp4"
    write_video(whole, noise_frames(30), 12)
    content = whole.read_bytes()
    yield "no such file", folder / "nothing.mp4"
    for name, message, data in [
        ("empty.mp4", "is empty", b""),
        ("text.mp4", "not a video", b"Dear diary,\n" * 200),
        ("text.txt", "not a video", b"Dear diary,\n" * 200),
        ("page.html", "not a video", b"<html><body>404</body></html>"),
        ("noise.mp4", "not a video", np.random.default_rng(0).bytes(50_000)),
        ("start.mp4", "cut off", content[:1000]),
        ("header.mp4", "no picture stream", content[:40]),
    ]:
        (folder / name).write_bytes(data)
        yield message, folder / name
    (folder / "without images").mkdir()
    yield "no images", folder / "without images"
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    yield "1 x 1 px", folder / "pixel.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
        folder / "half.png"
    )
    (folder / "half.png").write_bytes((folder / "half.png").read_bytes()[:5000])
    yield "damaged image", folder / "half.png"


def test_bad_input_gives_one_line_that_names_it(tmp_path: Path) -> None:
    for message, path in bad_files(tmp_path):
        for action in (probe_video, lambda path: list(read_frames(path))):
            if path.name == "pixel.png" and action is not probe_video:
                continue
            with pytest.raises(InputError) as caught:
                action(path)
            text = str(caught.value)
            assert message in text
            assert str(path) in text
            assert "\n" not in text


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
    with pytest.raises(InputError, match="no picture stream"):
        probe_video(tmp_path / "a.wav")


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_cut_off_video_gives_the_frames_that_are_there(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, noise_frames(30), 12)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        read = list(read_frames(path))
    assert 5 <= len(read) <= 20
    assert "cut off" in caplog.text


def test_damage_in_the_middle_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, noise_frames(30), 12)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = np.random.default_rng(0).bytes(500)
    path.write_bytes(content)
    assert len(list(read_frames(path))) >= 20


# Writing whole or not at all


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, counting(3), 12)
    before = path.read_bytes()

    def frames() -> Iterator[Tensor]:
        yield from counting(5)
        raise RuntimeError("the renderer broke")

    with pytest.raises(RuntimeError, match="renderer broke"):
        write_video(path, frames(), 12)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_frames_are_taken_as_they_are_encoded(tmp_path: Path) -> None:
    """No list of all frames is built: the file grows while frames are still asked for."""
    seen: list[int] = []

    def frames() -> Iterator[Tensor]:
        for frame in noise_frames(200):
            yield frame
            seen.append(sum(part.stat().st_size for part in tmp_path.iterdir()))

    write_video(tmp_path / "a.mp4", frames(), 12)
    assert seen[-1] > 100_000


def test_writing_refuses_what_it_cannot_keep(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4 or \.webm"):
        write_video(tmp_path / "a.avi", counting(1), 12)
    with pytest.raises(InputError, match="does not exist"):
        write_video(tmp_path / "no" / "a.mp4", counting(1), 12)
    with pytest.raises(ValueError, match="no alpha"):
        write_video(tmp_path / "a.mp4", [torch.zeros(32, 32, 4, dtype=torch.uint8)], 12)
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], 12)
    with pytest.raises(ValueError, match="frame 1 is"):
        write_video(tmp_path / "a.mp4", [quarters(), quarters(50, 64)], 12)
    assert list(tmp_path.iterdir()) == []


def test_the_same_pictures_become_the_same_bytes(tmp_path: Path) -> None:
    """Also among other users of memory, of which an encoder may read what it never wrote."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(30, 3, 6, 6, generator=generator)
    pictures = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 1)

    def among_others() -> Iterator[torch.Tensor]:
        for index, picture in enumerate(pictures):
            _ = [torch.rand(1000 * (7 * index + k) % 90_000 + 1) for k in range(5)]
            yield picture.clone()

    contents = set()
    for _ in range(6):
        write_video(tmp_path / "a.mp4", among_others(), 12)
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1
