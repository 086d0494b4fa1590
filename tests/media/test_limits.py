"""Large images are made smaller at once, in bounded memory, and look the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.errors import InputError
from l4gm.media import limits
from l4gm.media.limits import MAX_PIXELS, limited_size, reduced
from l4gm.media.video import probe_video, read_frames, write_video


def test_sizes_keep_their_proportion() -> None:
    assert limited_size(3840, 2160) == (3840, 2160)
    width, height = limited_size(7680, 4320)
    assert MAX_PIXELS * 0.99 < width * height <= MAX_PIXELS
    assert width / height == pytest.approx(16 / 9, rel=1e-3)
    assert limited_size(10**9, 1)[1] == 1


def smooth(width: int, height: int) -> np.ndarray:
    """[H, W, 4]: a colour gradient whose right half is transparent and wildly coloured there."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    levels = np.stack([200 * x, 200 * y, 100 + 0 * x, 255 + 0 * x], -1)
    levels[:, width // 2 :] = (0, 255, 0, 0)
    return levels.astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16", "CMYK"])
def test_smaller_ones_look_the_same(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", 3000)
    monkeypatch.setattr(limits, "_STRIP_ROWS", 7)  # several strips, the last not whole
    rgba = Image.fromarray(smooth(203, 151))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(rgba.convert("L")).astype(np.uint16) * 256)
    else:
        image = rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode)
    small = reduced(image)
    assert small.width * small.height <= 3000
    assert small.width / small.height == pytest.approx(203 / 151, rel=0.03)
    if mode == "I;16":
        return
    one, other = (np.asarray(i.convert("RGBA")).astype(float) for i in (small, image))
    # Of palettes and black and white, whose pixels are dithered, the quarters' means.
    for rows in (slice(0, 0.5), slice(0.5, 1)):
        a, b = (
            side[int(rows.start * len(side)) : int(rows.stop * len(side)), : side.shape[1] // 2]
            for side in (one, other)
        )
        assert np.abs(a.mean((0, 1)) - b.mean((0, 1))).max() < 3
    if mode not in ("P", "1"):
        for share in (0.1, 0.3, 0.8):  # of the height, at a quarter of the width
            a = one[int(share * len(one)), one.shape[1] // 4]
            b = other[int(share * len(other)), other.shape[1] // 4]
            assert np.abs(a - b).max() < 12
    if mode == "RGBA":  # what is hidden has not bled into what is seen
        seen = one[..., 3] > 0
        assert one[seen][:, 1].max() <= 201


def test_small_images_stay_as_they_are() -> None:
    image = Image.fromarray(smooth(20, 10))
    assert reduced(image) is image


def test_turned_photographs_are_still_turned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", 3000)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to show
    Image.fromarray(smooth(200, 100)[..., :3]).save(tmp_path / "a.jpg", exif=exif)
    (frame,) = read_frames(tmp_path / "a.jpg")
    assert frame.shape[0] > frame.shape[1]
    info = probe_video(tmp_path / "a.jpg")
    assert (info.height, info.width) == tuple(frame.shape[:2])


def test_large_videos_are_read_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", [torch.full((90, 160, 3), 90, dtype=torch.uint8)] * 2, 12.0)
    monkeypatch.setattr(limits, "MAX_PIXELS", 3600)
    info = probe_video(tmp_path / "a.mp4")
    assert (info.width, info.height) == (80, 45)
    for frame in read_frames(tmp_path / "a.mp4"):
        assert frame.shape == (45, 80, 3)


# Not ru_maxrss: a child begins with its parent's.
_MEASURE = """
import sys
from PIL import Image
from l4gm.media.video import read_frames
Image.new("RGBA", (13000, 13000), (200, 30, 30, 128)).save(sys.argv[1], compress_level=1)
(frame,) = read_frames(sys.argv[1])
status = open("/proc/self/status").read()
print(1024 * int(status.split("VmHWM:")[1].split()[0]), *frame.shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_view_of_169_megapixels_takes_less_than_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / "a.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, height, width, channels = map(int, done.stdout.split())
    assert (width, height, channels) == (2600, 2600, 4)
    assert peak < 1.5 * 2**30


def test_animations_larger_than_8k_are_refused(tmp_path: Path) -> None:
    first, *rest = (Image.new("P", (7000, 6000), k) for k in range(2))
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest)
    with pytest.raises(InputError, match=r"7000 x 6000 pixels.*scale it down"):
        probe_video(tmp_path / "a.gif")
