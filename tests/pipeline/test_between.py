"""A video at three times its rate, from any frame on."""

from __future__ import annotations

import pytest
import torch

from l4gm.pipeline.between import FramesBetween
from l4gm.pipeline.frames import TensorFrames, knows_alpha

pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("channels", [3, 4])
def test_frames_from_any_start(count: int, channels: int) -> None:
    video = TensorFrames(torch.rand(count, channels, 32, 32), 10.0)
    tripled = FramesBetween(video, 32)
    read = tripled.cutouts if channels == 4 else tripled.frames
    frames = list(read())
    assert len(frames) == tripled.num_frames == 3 * (count - 1) + 1
    assert tripled.fps == 30.0
    assert knows_alpha(tripled) == (channels == 4)
    originals = list(video.cutouts() if channels == 4 else video.frames())
    for index, original in enumerate(originals):
        assert torch.equal(frames[3 * index], original)
    for start in range(len(frames)):
        rest = list(read(start))
        assert len(rest) == len(frames) - start
        assert all(torch.equal(a, b) for a, b in zip(rest, frames[start:], strict=True))
