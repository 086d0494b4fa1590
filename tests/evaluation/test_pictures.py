"""Folders of pictures: read right, or refused with one line that names what does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from l4gm.errors import InputError
from l4gm.evaluation.pictures import picture_paths, read_picture, read_pictures


def write(folder: Path, numbers: range | list[int], size: int = 8, mode: str = "RGB") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        color = (number, 20, 30, 128)[: len(mode)]
        Image.new(mode, (size, size), color).save(folder / f"{number}.png")
    return folder


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    sequence = read_pictures(write(tmp_path, range(12)))
    assert sequence.frames[:, 0, 0, 0].tolist() == list(range(12))
    assert sequence.size_px == (8, 8)
    assert not sequence.had_alpha


def test_transparent_pictures_are_put_on_white_by_their_alpha(tmp_path: Path) -> None:
    pixel = np.array([[[100, 0, 255, 0], [100, 0, 255, 255], [100, 0, 255, 51]]], np.uint8)
    Image.fromarray(pixel).save(tmp_path / "0.png")
    sequence = read_pictures(tmp_path)
    assert sequence.had_alpha
    expected = [[255, 255, 255], [100, 0, 255], [224, 204, 255]]  # 51 / 255 is a fifth
    assert sequence.frames[0, 0].tolist() == expected


def test_a_transparent_palette_counts_as_alpha(tmp_path: Path) -> None:
    picture = Image.new("P", (4, 4), 0)
    picture.putpalette([10, 20, 30])
    picture.save(tmp_path / "0.png", transparency=0)
    frame, had_alpha = read_picture(tmp_path / "0.png")
    assert had_alpha
    assert (frame == 255).all()


@pytest.mark.parametrize(
    ("numbers", "expected", "text"),
    [
        ([0, 1, 3], None, "1 of 4 frames are missing: 2.png"),
        ([1, 2, 3], None, "0.png"),
        (range(3), 8, "5 of 8 frames are missing: 3.png, 4.png, 5.png and 2 more"),
        (range(4), 3, "4 frames where 3 are expected"),
        ([], None, "1 of 1 frames are missing: 0.png"),
    ],
)
def test_missing_and_extra_frames_are_named(tmp_path, numbers, expected, text) -> None:
    with pytest.raises(InputError, match=text.replace(".", r"\.")) as caught:
        read_pictures(write(tmp_path, numbers), expected)
    assert str(tmp_path) in str(caught.value)


def test_other_names_and_doubled_numbers_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path, range(2))
    (folder / ".DS_Store").touch()
    assert len(picture_paths(folder)) == 2
    Image.new("RGB", (8, 8)).save(folder / "01.png")
    with pytest.raises(InputError, match="two pictures have the same number"):
        picture_paths(folder)
    (folder / "frame.jpg").touch()
    with pytest.raises(InputError, match=r"found frame\.jpg"):
        picture_paths(folder)
    with pytest.raises(InputError, match="no such folder"):
        picture_paths(folder / "nothing")


def test_sizes_and_alpha_that_change_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a", [0, 1])
    write(tmp_path / "a", [2], size=9)
    with pytest.raises(InputError, match=r"2\.png: 9 x 9 px, but 0\.png is 8 x 8"):
        read_pictures(tmp_path / "a")
    write(tmp_path / "b", [0, 1])
    write(tmp_path / "b", [2], mode="RGBA")
    with pytest.raises(InputError, match=r"2\.png: an alpha channel, unlike"):
        read_pictures(tmp_path / "b")


def png_of_16_bits(path: Path, color_type: int) -> None:
    """Written by hand: Pillow writes no 16-bit colour."""
    import struct
    import zlib

    channels = {0: 1, 2: 3, 6: 4}[color_type]
    row = b"\0" + b"\x12\x34" * channels * 4

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 4, 4, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row * 4))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("color_type", [0, 2, 6])
def test_16_bit_pictures_are_refused(tmp_path: Path, color_type: int) -> None:
    png_of_16_bits(tmp_path / "0.png", color_type)
    Image.open(tmp_path / "0.png").load()  # a picture that Pillow would take
    with pytest.raises(InputError, match=r"0\.png: 16 bits a channel"):
        read_pictures(tmp_path)


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n cut off")
    with pytest.raises(InputError, match=r"0\.png: not a readable picture"):
        read_pictures(tmp_path)
