from __future__ import annotations

import numpy as np
import pytest

from l4gm.data.layout import DamagedClipError, StoredView
from l4gm.data.pictures import decode_view, encode_pictures


def animation(frames):
    return StoredView(pictures=(encode_pictures(frames),), suffix="webp")


def on_black(frames):
    values = frames.astype(float)
    return values[..., :3] * values[..., 3:] / 255


@pytest.mark.parametrize("num_frames", [1, 2, 9])
def test_an_animation_is_exact(pictures, num_frames):
    frames = pictures(1, num_frames)
    assert set(np.unique(frames[..., 3])) == {0, 128, 255}
    np.testing.assert_array_equal(decode_view(animation(frames), num_frames, 16), frames)


def test_equal_frames_in_a_row_are_not_lost(pictures):
    """The encoder stores them once."""
    frames = pictures(1, 6)
    frames[1] = frames[0]
    frames[4] = frames[5] = frames[3]
    np.testing.assert_array_equal(decode_view(animation(frames), 6, 16), frames)
    still = np.repeat(frames[:1], 24, 0)
    np.testing.assert_array_equal(decode_view(animation(still), 24, 16), still)
    np.testing.assert_array_equal(decode_view(animation(still), 24, 16, [23]), still[:1])


def test_a_picture_a_frame_is_the_same_clip(pictures, png):
    frames = pictures(2, 3)
    view = StoredView(pictures=tuple(png(frame) for frame in frames), suffix="png")
    np.testing.assert_array_equal(decode_view(view, 3, 16), frames)
    np.testing.assert_array_equal(decode_view(view, 3, 16, [2]), frames[2:])


def test_frames_may_be_chosen_and_repeated(pictures):
    frames = pictures(3, 8)
    chosen = [1, 1, 4, 7]
    np.testing.assert_array_equal(decode_view(animation(frames), 8, 16, chosen), frames[chosen])


def test_shrinking_is_the_mean_of_what_is_seen(pictures):
    frames = pictures(4, 2)
    small = decode_view(animation(frames), 2, 16, size_px=8)
    blocks = frames.reshape(2, 8, 2, 8, 2, 4).astype(float)
    alpha = blocks[..., 3].mean((2, 4))
    np.testing.assert_allclose(small[..., 3], alpha, atol=1.0)
    np.testing.assert_allclose(on_black(small), on_black(blocks).mean((2, 4)), atol=2.5)
    assert (small[small[..., 3] == 0] == [255, 255, 255, 0]).all()


def test_other_sizes(pictures):
    frames = np.full((1, 16, 16, 4), 255, np.uint8)
    frames[:, :, 8:, :3] = 0
    for size in (5, 24, 64):
        out = decode_view(animation(frames), 1, 16, size_px=size)[0]
        assert out.shape == (size, size, 4)
        assert (out[..., 3] == 255).all()
        assert out[0, 0, 0] == 255
        assert out[0, -1, 0] == 0


def test_damaged_pictures_are_refused(pictures):
    frames = pictures(5, 4)
    data = encode_pictures(frames)
    for view, text in [
        (StoredView(pictures=(data[: len(data) // 2],), suffix="webp"), "decoded"),
        (StoredView(pictures=(b"",), suffix="webp"), "decoded"),
        (StoredView(pictures=(data,), suffix="png"), "decoded"),
        (animation(frames[:2]), "frame 2 is missing"),
        (animation(pictures(5, 4, size_px=8)), "8 x 8 px instead of 16"),
    ]:
        with pytest.raises(DamagedClipError, match=text):
            decode_view(view, 4, 16)


def test_wrong_arrays_are_refused():
    for array in (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 4, 4, 4)), np.zeros((0, 4, 4, 4))):
        with pytest.raises(ValueError, match="frames must be"):
            encode_pictures(array)
