"""The whole pipeline with a small stand-in for the network: lengths, joins, roads, bad input."""

from __future__ import annotations

import weakref

import pytest
import torch

from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.frames import resized
from l4gm.pipeline.interpolate import Interpolator
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.rig import InputRig
from l4gm.pipeline.video_to_4d import VideoTo4D

GRID = 4  # Gaussians along each side of a view


class SmallNetwork:
    """Gaussians [B, T, 4 * 16] whose places and colours follow the pictures, and mix over time."""

    def __init__(self, video_alone=True, shift=0.0):
        self.works_from_video_alone = self.keeps_views = video_alone
        self.shift = shift
        self.calls = []

    def __call__(self, images, cameras, present=None, **known):
        # What it is told besides (alpha, the first frame) changes nothing here.
        self.calls.append((tuple(images.shape[:3]), None if present is None else present.tolist()))
        if present is not None:
            images = torch.where(present[:, None, :, None, None, None], images, 0.45)
        small = torch.nn.functional.adaptive_avg_pool2d(images.flatten(0, 2), GRID)
        small = small.reshape(*images.shape[:3], 3, GRID * GRID).transpose(-1, -2).flatten(2, 3)
        small = 0.7 * small + 0.3 * small.mean(1, keepdim=True)
        place = torch.linspace(-0.6, 0.6, GRID)
        rows, columns = torch.meshgrid(place, place, indexing="ij")
        depth = torch.zeros_like(rows)
        grid = torch.stack([columns, -rows, depth], -1).reshape(-1, 3).repeat(images.shape[2], 1)
        means = grid + 0.3 * (small - 0.5) + self.shift
        return Gaussians(
            means=means,
            quats=torch.tensor([1.0, 0, 0, 0]).expand(*means.shape[:-1], 4),
            scales=torch.full_like(means, 0.12),
            opacities=small.mean(-1).clamp(0.1, 0.9),
            colors=small.clamp(0, 1),
        )


def moving_frames(count, seed=0):
    """[count, 3, 64, 64], smooth and different."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.interpolate(
        torch.rand(count, 3, 5, 5, generator=generator), (64, 64), mode="bilinear"
    )


def pipeline(chunk_frames=4, **options):
    options.setdefault("interpolation", SmallNetwork(shift=0.01))
    options.setdefault("reconstruction", SmallNetwork())
    return VideoTo4D(chunk_frames=chunk_frames, render_size=32, **options)


def tensors(gaussians):
    return [
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
    ]


def assert_same_bits(one, other):
    for a, b in zip(tensors(one), tensors(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("chunk", [1, 2, 4])
@pytest.mark.parametrize("interpolate", [True, False])
def test_lengths_and_streaming(chunk, interpolate):
    for length in sorted({1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 3} - {0}):
        frames = moving_frames(length)
        whole = pipeline(chunk)(frames, fps=10, interpolate=interpolate)
        stream = pipeline(chunk).stream(frames, fps=10, interpolate=interpolate)
        pieces = list(stream)
        expected = 3 * (length - 1) + 1 if interpolate else length
        assert len(whole) == stream.num_frames == expected
        assert sum(len(piece) for piece in pieces) == stream.report.num_output_frames == expected
        assert stream.report.num_frames == length
        assert whole.fps == stream.fps == (30 if interpolate else 10)
        assert_same_bits(whole.gaussians, Gaussians.cat([piece.gaussians for piece in pieces]))


def test_interpolation_does_not_see_chunks():
    """The frames between depend on the base frames alone, wherever the chunks end."""
    network, between = SmallNetwork(), SmallNetwork(shift=0.01)
    frames = moving_frames(9)
    short = pipeline(4, reconstruction=network, interpolation=between, pairs_per_batch=1)
    base = short(frames, interpolate=False).gaussians
    result = short(frames).gaussians
    whole = Interpolator(between, InputRig(render_size=32), 1).push(resized(frames, 256), base)
    assert_same_bits(result, whole)


@pytest.mark.parametrize("interpolate", [True, False])
@pytest.mark.parametrize(("chunk", "renew"), [(1, True), (4, True), (4, False)])
def test_resumes_at_every_piece_with_the_same_bits(interpolate, chunk, renew):
    frames = moving_frames(11)
    video_to_4d = pipeline(chunk, renew_views=renew)
    pieces, positions = [], []
    stream = video_to_4d.stream(frames, interpolate=interpolate)
    for piece in stream:
        pieces.append(piece)
        positions.append(stream.position)
    for number, position in enumerate(positions):
        again = list(video_to_4d.stream(frames, interpolate=interpolate, resume=position))
        assert len(again) == len(pieces) - number - 1
        for one, other in zip(again, pieces[number + 1 :], strict=True):
            assert_same_bits(one.gaussians, other.gaussians)


def test_results_are_normal_tensors():
    result = pipeline()(moving_frames(3))
    means = result.gaussians.means.requires_grad_()
    (means * 2).sum().backward()
    assert means.grad is not None
    assert result.cameras is not None
    assert result.cameras.shape == ()


def test_inference_mode_does_not_leak_between_pieces():
    stream = pipeline().stream(moving_frames(9))
    next(stream)
    assert not torch.is_inference_mode_enabled()
    assert torch.ones(2, requires_grad=True).sum().requires_grad


def test_memory_of_a_long_stream_is_bounded():
    """Of 120 frames never more than two chunks are alive, nor more than that of results."""
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0

    class Source:
        fps = 15.0
        num_frames = 120

        def frames(self, start=0):
            nonlocal most
            for index in range(start, self.num_frames):
                frame = torch.full((3, 256, 256), index / 200)
                alive.add(frame)
                most = max(most, len(alive))
                yield frame

    count = 0
    for piece in pipeline(4, interpolation=None).stream(Source()):
        count += len(piece)
    assert count == 120
    assert most <= 8


@pytest.mark.parametrize("renew", [None, True])
def test_a_video_alone(renew):
    """The first chunk goes without views; the others too, unless they are rendered from it."""
    network, report = SmallNetwork(), PipelineReport()
    video_to_4d = pipeline(4, reconstruction=network, renew_views=renew)
    video_to_4d(moving_frames(5), interpolate=False, report=report)
    only_first = [[True, False, False, False]]
    assert network.calls == [((1, 4, 4), only_first), ((1, 2, 4), None if renew else only_first)]
    assert report.first_guess == "video alone"


@pytest.mark.parametrize("renew", [True, False])
def test_some_views_given(renew):
    """Given views go in, the pictures of absent ones do not matter."""
    frames, views = moving_frames(5), moving_frames(4, seed=1)
    present = [True, False, True, False]
    network, report = SmallNetwork(), PipelineReport()
    video_to_4d = pipeline(4, reconstruction=network, renew_views=renew)
    result = video_to_4d(frames, views=views, present=present, interpolate=False, report=report)
    assert network.calls[0][1] == [present]
    assert report.first_guess == "some given"
    for changed, matters in [(1, False), (2, True), (3, False)]:
        other = views.clone()
        other[changed] = 0.1
        again = video_to_4d(frames, views=other, present=present, interpolate=False)
        assert torch.equal(again.gaussians.means, result.gaussians.means) is not matters


def test_given_views_without_alignment_go_in_as_they_are():
    frames, views = moving_frames(3), moving_frames(4, seed=1)
    network, report = SmallNetwork(video_alone=False), PipelineReport()
    pipeline(4, reconstruction=network)(
        frames, views=views, align=False, interpolate=False, report=report
    )
    assert network.calls == [((1, 4, 4), None)]
    assert (report.first_guess, report.azimuth_degrees) == ("given", None)


@pytest.mark.parametrize("renew", [None, True, False])
@pytest.mark.parametrize("keeps", [True, False])
def test_views_are_kept_where_the_network_wants_them(renew, keeps):
    frames, views = moving_frames(5), moving_frames(4, seed=1)
    sides = []

    class Watching(SmallNetwork):
        def __call__(self, images, cameras, present=None, **known):
            sides.append(images[0, :, 1:].clone())
            return super().__call__(images, cameras, present, **known)

    network = Watching(video_alone=keeps)
    pipeline(4, reconstruction=network, renew_views=renew)(
        frames, views=views, align=False, interpolate=False
    )
    assert len(sides) == 2
    kept = keeps if renew is None else not renew
    assert torch.equal(sides[0][:2], sides[1][:2]) is kept


def test_given_and_generated_views_are_aligned():
    frames, views = moving_frames(3), moving_frames(4, seed=1)
    asked = []

    def multiview(image, *, elevation=0.0, seed=0):
        asked.append((tuple(image.shape), elevation, seed))
        return torch.nn.functional.interpolate(views, (256, 256), mode="bilinear")

    results = []
    for options, given in [({}, {"views": views}), ({"multiview": multiview}, {})]:
        network, report = SmallNetwork(video_alone=False), PipelineReport()
        video_to_4d = pipeline(4, reconstruction=network, **options)
        results.append(
            video_to_4d(frames, interpolate=False, elevation=5.0, seed=3, report=report, **given)
        )
        assert network.calls == [((1, 1, 4), None), ((1, 4, 4), None)]
        assert report.azimuth_degrees in range(-180, 180)
        assert report.first_guess == ("given, aligned" if given else "generated, aligned")
    assert asked == [((3, 256, 256), 5.0, 3)]
    assert_same_bits(results[0].gaussians, results[1].gaussians)


def test_progress_and_report():
    seen = []
    report = PipelineReport()
    video_to_4d = pipeline(4)
    views = moving_frames(4, seed=1)
    video_to_4d(
        moving_frames(9), views=views, progress=lambda *args: seen.append(args), report=report
    )
    assert [row for row in seen if row[0] == "reconstruct"] == [
        ("reconstruct", 4, 9),
        ("reconstruct", 7, 9),
        ("reconstruct", 9, 9),
    ]
    assert seen[-1] == ("interpolate", 9, 9)
    assert (report.num_chunks, report.num_frames, report.num_output_frames) == (3, 9, 25)
    stages = {"prepare", "first guess", "align", "reconstruct", "interpolate"}
    assert set(report.seconds) == stages
    assert all(seconds > 0 for seconds in report.seconds.values())
    assert report.as_dict()["num_chunks"] == 3


def test_elevation_moves_all_cameras():
    poses = []

    class Watching(SmallNetwork):
        def __call__(self, images, cameras, present=None, **known):
            poses.append(cameras.world_from_camera[:, 1, 3])
            return super().__call__(images, cameras, present, **known)

    result = pipeline(4, reconstruction=Watching())(moving_frames(2), elevation=30.0)
    for heights in poses:
        torch.testing.assert_close(heights, torch.full((4,), 0.75))
    assert result.cameras.world_from_camera[1, 3].item() == pytest.approx(0.75)


def test_no_interpolation_network_keeps_the_rate():
    result = pipeline(4, interpolation=None)(moving_frames(6), fps=12)
    assert (len(result), result.fps) == (6, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": torch.zeros(3, 3, 8, 8)}, r"expected 4 pictures .*got \[3, 3, 8, 8\]"),
        ({"views": torch.zeros(4, 8, 8)}, r"expected 4 pictures"),
        ({"views": torch.zeros(4, 3, 8, 9)}, "square pictures"),
        ({"views": torch.full((4, 3, 8, 8), torch.nan)}, "views: .*NaN"),
        ({"views": torch.full((4, 3, 8, 8), 255.0)}, "views: expected values in"),
        ({"present": [True] * 4}, "no views are given"),
        ({"views": torch.zeros(4, 3, 8, 8), "present": [True] * 3}, "expected 4 flags"),
        ({"fps": 0}, "fps"),
        ({"elevation": 90}, "elevation"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message) as caught:
        pipeline()(moving_frames(2), **options)
    assert "\n" not in str(caught.value)


def test_network_that_needs_views_says_so():
    released = pipeline(reconstruction=SmallNetwork(video_alone=False))
    with pytest.raises(InputError, match=r"--views.*l4gm\[multiview\]"):
        released(moving_frames(2))
    with pytest.raises(InputError, match="all four views"):
        released(moving_frames(2), views=moving_frames(4), present=[True, True, False, True])
    assert len(released(moving_frames(2), views=moving_frames(4), present=[True] * 4)) == 4


def test_bad_sources(tmp_path):
    with pytest.raises(InputError):
        pipeline()(tmp_path / "missing.mp4")

    class Empty:
        fps = 15.0
        num_frames = 0

        def frames(self, start=0):
            yield from ()

    with pytest.raises(InputError, match="no frames"):
        pipeline()(Empty())


@pytest.mark.parametrize("name", ["chunk_frames", "render_size", "stage_size", "pairs_per_batch"])
def test_sizes_below_one(name):
    with pytest.raises(ValueError, match=name):
        VideoTo4D(SmallNetwork(), **{name: 0})


@pytest.mark.parametrize("renew", [True, False])
def test_a_list_of_clips_is_one_batch_and_gives_each_its_own_result(renew):
    """Of different lengths, sizes and views; the passes take what is left of every clip."""
    clips = [moving_frames(9), moving_frames(3, seed=1)[..., :48, :48], moving_frames(5, seed=2)]
    views = [None, moving_frames(4, seed=3), None]
    network, told = SmallNetwork(), []
    video_to_4d = pipeline(4, reconstruction=network, renew_views=renew)
    reports = [PipelineReport() for _ in clips]
    results = video_to_4d(
        clips, views=views, report=reports, fps=10, progress=lambda *args: told.append(args)
    )
    # One pass of T = 1 lifts the given views; then 9, 3 and 5 frames are 3, 1 and 2 chunks of at
    # most 4, and those of equal length share a pass.
    assert [call[0] for call in network.calls] == [
        (1, 1, 4), (2, 4, 4), (1, 3, 4), (1, 4, 4), (1, 2, 4), (1, 3, 4),
    ]  # fmt: skip
    for clip, given, result, report in zip(clips, views, results, reports, strict=True):
        alone = pipeline(4, renew_views=renew)(clip, views=given, fps=10)
        assert (len(result), result.fps) == (len(alone), 30)
        assert report.num_output_frames == len(alone)
        for one, other in zip(tensors(result.gaussians), tensors(alone.gaussians), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert told[-1] == ("interpolate", 17, 17)


def test_lists_that_do_not_go_together():
    assert pipeline()([]) == []
    with pytest.raises(InputError, match="views: expected a list of 2"):
        pipeline()([moving_frames(2)] * 2, views=moving_frames(4))
    with pytest.raises(InputError, match=r"frames: expected a tensor \[T, 3 or 4, H, W\]"):
        pipeline()(list(moving_frames(2)))


@pytest.mark.parametrize("align", [True, False])
def test_kept_views_are_of_the_moment_of_the_first_frame_itself(align):
    """Later pictures are compared with the video's own first one, not with a drawn or given one."""
    told = []

    class Listening(SmallNetwork):
        def __call__(self, images, cameras, present=None, **known):
            told.append(known.get("first"))
            return super().__call__(images, cameras, present, **known)

    frames, views = moving_frames(9), moving_frames(4, seed=1)
    video_to_4d = pipeline(4, reconstruction=Listening(), renew_views=False)
    video_to_4d(frames, views=views, align=align, interpolate=False)
    size = video_to_4d.stage_size
    chunks = [first for first in told if first is not None]
    assert len(chunks) == 3
    for first in chunks:
        torch.testing.assert_close(first, resized(frames[:1], size))
