"""What may come in, and how it is brought to the pipeline's size."""

from __future__ import annotations

import pytest
import torch

from l4gm.errors import InputError
from l4gm.pipeline.frames import TensorFrames, checked_frames, resized

CPU = torch.device("cpu")


def test_area_resize_is_the_mean_over_the_covered_area():
    picture = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    whole = torch.nn.functional.avg_pool2d(picture, 3)
    torch.testing.assert_close(resized(picture, 4), whole)
    # 12 -> 5: repeat each pixel 5 times, then average over squares of 12
    fine = picture.repeat_interleave(5, -1).repeat_interleave(5, -2)
    torch.testing.assert_close(resized(picture, 5), torch.nn.functional.avg_pool2d(fine, 12))


@pytest.mark.parametrize("size", [1, 100, 256, 300, 512])
def test_any_size_can_be_brought_to_any_size(size):
    pictures = torch.full((2, 3, size, size), 0.25)
    assert torch.allclose(resized(pictures, 256), torch.full((2, 3, 256, 256), 0.25))


def test_frames_can_be_read_twice_and_from_the_middle():
    frames = TensorFrames(torch.arange(5.0)[:, None, None, None].expand(5, 3, 256, 256) / 5, fps=8)
    values = [[frame[0, 0, 0].item() for frame in frames.frames(start)] for start in (0, 0, 3)]
    assert values[0] == values[1] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert values[2] == values[0][3:]
    assert (frames.num_frames, frames.fps) == (5, 8.0)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(0, 3, 8, 8), "no frames"),
        (torch.zeros(3, 8, 8), r"expected a tensor \[T, 3 or 4, H, W\]"),
        (torch.zeros(2, 8, 8, 3), "channels first"),
        (torch.zeros(2, 5, 8, 8), r"RGB or RGBA\), got \[2, 5, 8, 8\]"),
        (torch.zeros(2, 1, 8, 8), r"got \[2, 1, 8, 8\]"),
        (torch.zeros(2, 3, 8, 9), "square pictures, got 9 x 8"),
        (torch.zeros(2, 3, 0, 0), "square pictures"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "divide 8-bit values by 255"),
        (torch.full((2, 3, 8, 8), 200.0), "got 200 to 200"),
        (torch.full((2, 3, 8, 8), -0.1), "got -0.1 to -0.1"),
        (torch.tensor([0.5, torch.nan]).reshape(2, 1, 1, 1).expand(2, 3, 8, 8), "number 1 .*NaN"),
        (torch.full((1, 3, 8, 8), torch.inf), "number 0 .*NaN or infinity"),
    ],
)
def test_bad_frames(frames, message):
    with pytest.raises(InputError, match=message) as caught:
        TensorFrames(frames)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_bad_rate(fps):
    with pytest.raises(InputError, match="fps"):
        TensorFrames(torch.zeros(1, 3, 8, 8), fps)


class Source:
    fps = 15.0
    num_frames = 3

    def __init__(self, *frames):
        self._frames = frames

    def frames(self, start=0):
        yield from self._frames[start:]


def test_bad_frame_in_the_middle_of_a_source_is_named():
    good = torch.zeros(3, 256, 256)
    bad = good.clone()
    bad[1, 2, 3] = torch.nan
    frames = checked_frames(Source(good, good, bad), 256, CPU)
    next(frames)
    next(frames)
    with pytest.raises(InputError, match=r"frame 2: .*NaN"):
        next(frames)
    with pytest.raises(InputError, match="frame 0: expected square pictures, got 64 x 128"):
        next(checked_frames(Source(torch.zeros(3, 128, 64)), 256, CPU))
