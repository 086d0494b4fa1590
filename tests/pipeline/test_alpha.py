"""The way of the video's alpha: from background removal or RGBA tensors to every network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from l4gm.gaussians.types import Gaussians
from l4gm.media.matte import on_white
from l4gm.model.l4gm import L4GM
from l4gm.pipeline.frames import resized
from l4gm.pipeline.prepare import prepare_video
from l4gm.pipeline.rig import InputRig
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.train.presets import debug_preset

FIELDS = ("means", "quats", "scales", "opacities", "colors")
SIZE = 32  # of the pipeline's pictures


class ListeningNetwork:
    """One Gaussian a frame, coloured like the mean of view 0; keeps what it was told."""

    works_from_video_alone = keeps_views = True

    def __init__(self):
        self.images, self.alphas = [], []

    def __call__(self, images, cameras, present=None, *, alpha=None, first=None):
        self.images.append(images)
        self.alphas.append(alpha)
        colors = images[:, :, :1].mean((-2, -1))
        return Gaussians(
            means=0.4 * colors - 0.2,
            quats=torch.tensor([1.0, 0, 0, 0]).expand(*colors.shape[:-1], 4),
            scales=torch.full_like(colors, 0.15),
            opacities=torch.full_like(colors[..., 0], 0.9),
            colors=colors,
        )


def pipeline(reconstruction, interpolation=None, **options):
    return VideoTo4D(
        reconstruction, interpolation, chunk_frames=3, render_size=2 * SIZE, stage_size=SIZE,
        **options,
    )  # fmt: skip


def rgba_pictures(count, size=SIZE, seed=0):
    """Smooth and different, with every alpha from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 4, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


def assert_same_bits(one, other):
    for name in FIELDS:
        assert torch.equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("size", [SIZE, 48, 20])
def test_networks_see_the_colour_on_white_and_the_alpha_of_the_same_pixels(size):
    frames, network = rgba_pictures(4, size), ListeningNetwork()
    pipeline(network)(frames, views=frames, align=False)
    color, alpha = frames[:, :3], frames[:, 3:]
    seen = resized(torch.cat([color * alpha + 1 - alpha, alpha], 1), SIZE)
    told = torch.cat(network.alphas, 1)[0]  # chunks of 3, the second shorter
    images = torch.cat(network.images, 1)[0]
    order = [0, 1, 2, 2, 3]
    torch.testing.assert_close(told[:, 0], seen[order, 3], atol=1e-6, rtol=0)
    torch.testing.assert_close(images[:, 0], seen[order, :3], atol=1e-6, rtol=0)
    for view in (1, 2, 3):  # those of the first frame are kept
        torch.testing.assert_close(told[0, view], seen[view, 3], atol=1e-6, rtol=0)


def test_drawn_views_bring_the_alpha_they_were_drawn_with():
    frames, network = rgba_pictures(4), ListeningNetwork()
    pipeline(network, renew_views=True)(frames, views=frames, align=False)
    first = network(network.images[0], None)[0, 2]
    drawn = InputRig(size=SIZE, render_size=2 * SIZE, with_alpha=True).draw_all(first)
    assert drawn.shape == (4, 4, SIZE, SIZE)
    assert drawn[:, 3].max() > 0.5
    assert drawn[:, 3].min() == 0
    torch.testing.assert_close(network.alphas[1][0, 0, 1:], drawn[1:, 3])
    torch.testing.assert_close(network.images[1][0, 0, 1:], drawn[1:, :3])


def test_alpha_is_blended_like_colour_between_frames():
    frames, between = rgba_pictures(2), ListeningNetwork()
    pipeline(ListeningNetwork(), between)(frames)
    alpha = between.alphas[0][0, :, 0]
    third = frames[0, 3] + (frames[1, 3] - frames[0, 3]) / 3
    torch.testing.assert_close(alpha[1], third)
    torch.testing.assert_close(alpha[3], frames[1, 3])


def test_views_without_alpha_get_the_guess_beside_a_video_with_it():
    frames, network = rgba_pictures(1), ListeningNetwork()
    views = on_white(rgba_pictures(4, seed=1))[:, :3]
    pipeline(network)(frames, views=views, align=False)
    told = network.alphas[0][0, 0]
    torch.testing.assert_close(told[0], frames[0, 3])
    torch.testing.assert_close(told[1:], 1 - views[1:].amin(1))


@pytest.mark.parametrize("align", [True, False])
def test_nobody_is_told_the_alpha_of_views_beside_a_video_without(align):
    frames, views = rgba_pictures(4)[:, :3], rgba_pictures(4, seed=1)
    network = ListeningNetwork()
    result = pipeline(network, network)(frames, views=views, align=align).gaussians
    assert network.alphas == [None] * len(network.alphas)
    plain = pipeline(ListeningNetwork(), ListeningNetwork())
    assert_same_bits(result, plain(frames, views=on_white(views)[:, :3], align=align).gaussians)


@pytest.mark.parametrize("renew", [True, False])
def test_networks_that_take_no_notice_of_alpha_give_the_same_result(renew):
    """But for the rounding of putting colours on white."""
    frames, views = rgba_pictures(7), rgba_pictures(4, seed=1)
    told = pipeline(ListeningNetwork(), ListeningNetwork(), renew_views=renew)
    plain = pipeline(ListeningNetwork(), ListeningNetwork(), renew_views=renew)
    for given in (views, None):
        result = told(frames, views=given).gaussians
        white = None if given is None else on_white(given)[:, :3]
        expected = plain(on_white(frames)[:, :3], views=white).gaussians
        for name in FIELDS:
            one, other = getattr(result, name), getattr(expected, name)
            torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_clips_with_and_without_alpha_in_one_list():
    clips = [rgba_pictures(4), rgba_pictures(5, seed=1)[:, :3], rgba_pictures(2, seed=2)]
    network = ListeningNetwork()
    results = pipeline(network)(clips)
    assert [None if a is None else len(a) for a in network.alphas] == [None, None, 1, 2]
    for clip, result in zip(clips, results, strict=True):
        alone = pipeline(ListeningNetwork())(clip).gaussians
        for name in FIELDS:
            torch.testing.assert_close(getattr(result.gaussians, name), getattr(alone, name))


def square_on_gray(count=5, size=64):
    """uint8 [T, size, size, 3]: a white square with a dark stripe moves on grey."""
    frames = torch.full((count, size, size, 3), 90, dtype=torch.uint8)
    for index in range(count):
        frames[index, 18:48, 14 + index : 44 + index] = 255
        frames[index, 30:36, 14 + index : 44 + index] = 20
    return frames


def test_background_removal_tells_its_alpha_and_no_matting_nothing():
    video = prepare_video(square_on_gray(), size=SIZE)
    network = ListeningNetwork()
    pipeline(network)(video)
    told = torch.cat(network.alphas, 1)[0, [0, 1, 2, 4, 5], 0]
    assert torch.equal(told, torch.cat(list(video.alphas())))
    assert torch.equal(network.images[0][0, 0, 0], video.first_frame)
    # The white of the square is on white now: only alpha tells it from background.
    middle = told[0, SIZE // 2 - 6, SIZE // 2]
    assert middle > 0.95
    assert video.first_frame[:, SIZE // 2 - 6, SIZE // 2].min() > 0.95
    network = ListeningNetwork()
    pipeline(network)(prepare_video(square_on_gray(), size=SIZE, matting=False))
    assert network.alphas == [None, None]


def test_a_prepared_video_at_another_rate_keeps_its_alpha():
    network = ListeningNetwork()
    result = pipeline(network)(prepare_video(square_on_gray(), size=SIZE), fps=5.0)
    assert result.fps == 5.0
    assert all(alpha is not None for alpha in network.alphas)


def test_a_stream_goes_on_with_the_same_bits():
    torch.manual_seed(0)
    config = debug_preset().model
    network, between = L4GM(config).eval(), L4GM(config).eval()
    frames, views = rgba_pictures(7), rgba_pictures(4, seed=1)

    def stream(resume=None):
        video_to_4d = pipeline(network, between, renew_views=True)
        return video_to_4d.stream(frames, views=views, resume=resume)

    whole = list(stream())
    cut_off = stream()
    next(cut_off)
    rest = list(stream(cut_off.position))
    assert len(rest) == len(whole) - 1 > 0
    for one, other in zip(rest, whole[1:], strict=True):
        assert_same_bits(one.gaussians, other.gaussians)


def test_a_white_object_in_a_folder_of_transparent_pictures_is_told_as_object(tmp_path):
    """End to end: on white it would be invisible."""
    pixels = np.full((SIZE, SIZE, 4), 255, np.uint8)
    pixels[..., 3] = 0
    pixels[8:24, 8:24, 3] = 255
    pixels[8:24, 15:17, :3] = 0  # a stripe
    for index in range(2):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    prepared = prepare_video(tmp_path, size=SIZE)
    assert prepared.report["matting"] == "alpha channel"
    network = ListeningNetwork()
    pipeline(network)(prepared, interpolate=False)
    told = network.alphas[0][0, 0, 0]
    assert told[8:24, 8:24].min() > 0.95
    assert told[:6].max() == told[:, :6].max() == 0
