"""From a video to square frames on white: bookkeeping of lengths, crop, thinning, memory."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import l4gm
from l4gm.errors import InputError
from l4gm.gaussians.types import Gaussians
from l4gm.media.video import read_frames, write_video
from l4gm.pipeline.framing import along
from l4gm.pipeline.prepare import OBJECT_SHARE, prepare_video, thinning_step

WHITE, GREEN = (255, 255, 255), (40, 200, 60)


def picture(
    box: tuple[int, int, int, int] | None,
    *,
    width: int = 128,
    height: int = 128,
    background: tuple[int, int, int] = WHITE,
) -> Tensor:
    """uint8 [H, W, 3] with a shaded rectangle (left, top, right, bottom)."""
    image = torch.tensor(background, dtype=torch.uint8).expand(height, width, 3).clone()
    if box is not None:
        left, top, right, bottom = box
        image[top:bottom, left:right] = torch.tensor([170, 50, 40], dtype=torch.uint8)
        image[top : (top + bottom) // 2, left:right, 2] = 110
    return image


def moving(count: int) -> list[Tensor]:
    """A well placed object whose position tells the frame's index."""
    return [picture((30 + index % 16, 30, 80 + index % 16, 98)) for index in range(count)]


def box_of(frame: Tensor) -> list[int]:
    """left, top, right, bottom of what is not white in a frame [3, S, S]."""
    mask = frame.amin(0) < 0.9
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 33])
def test_number_order_and_form_of_frames(tmp_path: Path, count: int) -> None:
    write_video(tmp_path / "a.mp4", moving(count), 12, quality=8)
    video = prepare_video(tmp_path / "a.mp4", size=64)
    assert (video.num_frames, video.size) == (count, 64)
    assert video.fps == pytest.approx(12)
    for _ in range(2):  # frames can be asked for again
        frames = list(video.frames())
        assert len(frames) == count
        for index, frame in enumerate(frames):
            assert (frame.dtype, list(frame.shape)) == (torch.float32, [3, 64, 64])
            assert 0 <= float(frame.min()) <= float(frame.max()) <= 1
            assert abs(box_of(frame)[0] - (30 + index % 16) / 2) <= 1
    assert torch.equal(video.stack(), torch.stack(frames))
    assert torch.equal(video.first_frame, frames[0])
    alphas = list(video.alphas())
    assert len(alphas) == count
    assert list(alphas[0].shape) == [1, 64, 64]
    part = list(video.frames(count // 2, count))
    assert len(part) == count - count // 2
    assert torch.equal(part[-1], frames[-1])


@pytest.mark.parametrize(
    ("fps", "step"),
    [(7.5, 1), (12, 1), (15, 1), (16, 1), (24, 1), (29.97, 2), (30, 2), (50, 3), (60, 4)],
)
def test_frame_rates_are_thinned_as_in_the_released_pipeline(
    tmp_path: Path, fps: float, step: int
) -> None:
    assert thinning_step(fps) == step
    write_video(tmp_path / "a.mp4", moving(13), fps)
    video = prepare_video(tmp_path / "a.mp4", size=64)
    assert video.num_frames == len(range(0, 13, step))
    assert video.fps == pytest.approx(fps / step, rel=1e-3)
    (second,) = video.frames(1, 2)
    assert abs(box_of(second)[0] - (30 + step) / 2) <= 1


@pytest.mark.parametrize("max_frames", [1, 4, 100])
def test_max_frames_counts_thinned_frames(tmp_path: Path, max_frames: int) -> None:
    write_video(tmp_path / "a.mp4", moving(13), 30)
    video = prepare_video(tmp_path / "a.mp4", size=32, max_frames=max_frames)
    assert video.num_frames == len(list(video.frames())) == min(max_frames, 7)


def test_a_prepared_clip_is_only_resized_by_area(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving(5), 12)
    video = prepare_video(tmp_path / "a.mp4", size=64)
    raw = torch.stack(list(read_frames(tmp_path / "a.mp4"))).permute(0, 3, 1, 2).float() / 255
    expected = functional.interpolate(raw, size=64, mode="area")
    assert video.report["crop"]["side_px"] == 128
    assert float((video.stack() - expected).abs().mean()) < 1e-3
    assert float((video.stack() - expected).abs().max()) < 0.05


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (160, 90, (10, 20, 50, 70)),
        (90, 160, (20, 100, 80, 150)),
        (128, 128, (20, 20, 50, 50)),  # too small
        (128, 128, (4, 30, 60, 98)),  # not in the middle
        (128, 128, (2, 2, 126, 126)),  # too large: the crop reaches beyond the frame
        (97, 131, (30, 30, 61, 90)),
    ],
)
@pytest.mark.parametrize("background", [WHITE, GREEN])
def test_object_is_centred_and_gets_its_share(
    width: int, height: int, box: tuple[int, int, int, int], background: tuple[int, int, int]
) -> None:
    frames = torch.stack([picture(box, width=width, height=height, background=background)] * 2)
    video = prepare_video(frames, size=100)
    left, top, right, bottom = box_of(video.first_frame)
    assert max(right - left, bottom - top) == pytest.approx(100 * OBJECT_SHARE, abs=2.5)
    assert left + right == pytest.approx(100, abs=2.5)
    assert top + bottom == pytest.approx(100, abs=2.5)
    aspect = (box[2] - box[0]) / (box[3] - box[1])
    assert (right - left) / (bottom - top) == pytest.approx(aspect, rel=0.08)
    # What surrounds the object is white, inside the old frame and beyond it.
    assert float(video.first_frame[:, 0].min()) > 0.99
    assert float(video.first_frame[:, 50, 0].min()) > 0.99


def test_one_crop_serves_the_whole_clip() -> None:
    boxes = [(40, 40, 70, 70), (50, 40, 80, 70), (60, 40, 90, 70)]
    frames = torch.stack([picture(box, width=160, height=90) for box in boxes])
    video = prepare_video(frames, size=130)
    found = [box_of(frame) for frame in video.frames()]
    scale = 130 * OBJECT_SHARE / (90 - 40)  # of the union of all boxes
    for index in range(3):
        assert found[index][2] - found[index][0] == pytest.approx(30 * scale, abs=2)
        assert found[index][0] - found[0][0] == pytest.approx(10 * index * scale, abs=2)
    assert found[0][0] + found[2][2] == pytest.approx(130, abs=2)
    assert video.motion is None


def test_an_object_that_crosses_the_frame_is_followed() -> None:
    lefts = [10 + 12 * index for index in range(24)]
    frames = torch.stack(
        [picture((left, 40, left + 30, 76), width=360, height=120) for left in lefts]
    )
    video = prepare_video(frames, size=100)
    for frame in video.frames():
        left, top, right, bottom = box_of(frame)
        assert bottom - top == pytest.approx(100 * OBJECT_SHARE, abs=3)  # it keeps its size
        assert left + right == pytest.approx(100, abs=3)  # and its place
        assert top + bottom == pytest.approx(100, abs=3)
    assert video.motion is not None
    assert len(video.report["motion"]) == 24
    # One step of 12 px, where 36 px are 0.73 of the picture that shows 1.37 units of the world.
    step = 12 / 36 * OBJECT_SHARE * 1.3703
    torch.testing.assert_close(
        video.motion[1:, 0] - video.motion[:-1, 0], torch.full((23,), step), atol=0.01, rtol=0
    )
    assert float(video.motion[:, 1].abs().max()) < 0.01


def test_large_frames_are_shrunk_on_the_way() -> None:
    frame = picture((100, 300, 500, 620), width=1300, height=700)
    video = prepare_video(frame[None], size=64)
    left, top, right, bottom = box_of(video.first_frame)
    assert right - left == pytest.approx(64 * OBJECT_SHARE, abs=1.5)
    assert left + right == pytest.approx(64, abs=1.5)
    assert top + bottom == pytest.approx(64, abs=1.5)


def test_object_share_is_an_option() -> None:
    frame = picture((20, 20, 50, 50))
    video = prepare_video(frame[None], size=100, object_share=0.5)
    left, _, right, _ = box_of(video.first_frame)
    assert right - left == pytest.approx(50, abs=2)


def test_own_alpha_channel() -> None:
    frame = torch.zeros(64, 100, 4, dtype=torch.uint8)
    frame[..., :3] = torch.randint(0, 255, (64, 100, 3), dtype=torch.uint8)  # hidden clutter
    frame[20:44, 30:70] = torch.tensor([200, 30, 30, 255], dtype=torch.uint8)
    video = prepare_video(frame[None], size=64)
    assert video.report["matting"] == "alpha channel"
    left, _, right, _ = box_of(video.first_frame)
    assert right - left == pytest.approx(64 * OBJECT_SHARE, abs=1.5)
    assert float(video.first_frame[:, :8].min()) == 1


def test_without_matting_frames_stay_whole_on_their_background() -> None:
    clutter = torch.randint(0, 255, (3, 60, 90, 3), dtype=torch.uint8)
    video = prepare_video(clutter, size=90, matting=False)
    wanted = clutter[1].permute(2, 0, 1).float() / 255
    torch.testing.assert_close(list(video.frames())[1][:, 15:75], wanted)
    assert float(video.first_frame[:, :15].min()) == 1
    assert video.num_frames == 3
    with pytest.raises(InputError, match="--no-matting"):
        prepare_video(clutter)


def test_frame_rate_can_be_given(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", moving(8), 12)
    video = prepare_video(tmp_path / "a.mp4", size=32, fps=60)
    assert (video.num_frames, video.fps) == (2, 15)


def test_raw_frames_have_a_default_rate() -> None:
    video = prepare_video(torch.stack(moving(3)), size=32)
    assert video.fps == 15
    assert video.num_frames == 3


def test_progress_is_reported_frame_by_frame() -> None:
    seen: list[int] = []
    prepare_video(torch.stack(moving(5)), size=32, on_frame=seen.append)
    assert seen == [1, 2, 3, 4, 5]


def test_the_demo_clip_is_small_and_needs_no_crop() -> None:
    path = Path(l4gm.__file__).parent / "assets" / "demo.mp4"
    assert path.stat().st_size <= 150_000
    video = prepare_video(path)
    assert (video.num_frames, video.fps, video.size) == (24, 12, 256)
    assert video.report["crop"]["side_px"] == 256
    assert video.report["frames_touching_the_edge"] == 0


# Bad and doubtful input


@pytest.mark.parametrize("level", [255, 0, 128])
def test_no_object(tmp_path: Path, level: int) -> None:
    frames = [torch.full((64, 64, 3), level, dtype=torch.uint8)] * 3
    write_video(tmp_path / "blank.mp4", frames, 12)
    with pytest.raises(InputError, match=r"blank\.mp4: no object found"):
        prepare_video(tmp_path / "blank.mp4")


def test_one_pixel() -> None:
    with pytest.raises(InputError, match="1 x 1 px"):
        prepare_video(torch.zeros(1, 1, 1, 3, dtype=torch.uint8))


def test_no_frames() -> None:
    with pytest.raises(InputError, match="no frames"):
        prepare_video(torch.zeros(0, 32, 32, 3, dtype=torch.uint8))


def test_object_at_the_edge_is_told(caplog: pytest.LogCaptureFixture) -> None:
    frames = torch.stack([picture((40, 40, 128, 90)), picture((30, 40, 110, 90))])
    with caplog.at_level(logging.WARNING):
        video = prepare_video(frames, size=32)
    assert "touches the edge of the frame in 1 of 2 frames" in caplog.text
    assert video.report["frames_touching_the_edge"] == 1


def test_object_that_leaves_the_frame_is_told(caplog: pytest.LogCaptureFixture) -> None:
    frames = torch.stack([*moving(2), picture(None)])
    with caplog.at_level(logging.WARNING):
        video = prepare_video(frames, size=32)
    assert "no object in 1 of 3 frames" in caplog.text
    assert float(list(video.frames())[2].min()) == 1


@pytest.mark.parametrize("per_pair", [1, 3])
def test_the_way_of_a_followed_object_can_be_put_back(per_pair: int) -> None:
    motion = torch.tensor([[-1.0, 0.0], [0.0, 0.3], [1.0, 0.0]])
    total = per_pair * 2 + 1
    still = Gaussians(
        means=torch.rand(total, 5, 3),
        quats=torch.rand(total, 5, 4),
        scales=torch.rand(total, 5, 3),
        opacities=torch.rand(total, 5),
        colors=torch.rand(total, 5, 3),
    )
    pieces = [along(still[start : start + 2], motion, start, total) for start in range(0, total, 2)]
    moved = torch.cat([piece.means for piece in pieces]) - still.means
    torch.testing.assert_close(moved[:, :, 2], torch.zeros(total, 5))
    torch.testing.assert_close(moved[::per_pair, 0, :2], motion)
    torch.testing.assert_close(moved[:, 0, 0], torch.linspace(-1, 1, total))


@pytest.fixture
def two_shots() -> Tensor:
    """8 frames on white, then 16 on green of another object."""
    second = [picture((40, 50 + index, 90, 90 + index), background=GREEN) for index in range(16)]
    return torch.stack([*moving(8), *second])


def test_of_several_shots_the_longest_is_used(
    two_shots: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        video = prepare_video(two_shots, size=32)
    assert video.num_frames == 16
    assert "2 shots: the longest, number 2, is used (frames 8 to 23 of 24)" in caplog.text
    assert "--shot N" in video.report["notes"][0]


def test_a_shot_can_be_chosen(two_shots: Tensor) -> None:
    video = prepare_video(two_shots, size=64, shot=1)
    assert video.num_frames == 8
    assert box_of(video.first_frame)[0] == pytest.approx(15, abs=1)
    assert prepare_video(two_shots, size=32, shot=2, max_frames=5).num_frames == 5
    with pytest.raises(InputError, match="shot 3 of 2; expected 1 to 2"):
        prepare_video(two_shots, shot=3)


@pytest.mark.parametrize("level", [0, 255])
def test_fades_are_left_out(level: int) -> None:
    shares = [0, 0.25, 0.5, 0.75] + [1] * 20 + [0.6, 0.3, 0]
    frames = torch.stack(
        [
            (frame.float() * share + level * (1 - share)).round().to(torch.uint8)
            for share, frame in zip(shares, moving(len(shares)), strict=True)
        ]
    )
    video = prepare_video(frames, size=32)
    assert 18 <= video.num_frames <= 20
    assert f"{len(shares) - video.num_frames} frames of a fade" in video.report["notes"][0]


def test_an_object_that_grows_on_white_does_not_fade() -> None:
    frames = torch.stack([picture((60 - k, 60 - k, 64 + k, 64 + k)) for k in range(1, 30)])
    assert prepare_video(frames, size=32).num_frames == 29


@pytest.mark.parametrize("rate", [8.0, 10.0, 24.0, 25 / 3])
def test_a_rate_can_be_asked_for(rate: float) -> None:
    video = prepare_video(torch.stack(moving(16)), fps=12, rate=rate, size=64)
    assert video.fps == rate
    assert video.num_frames / rate == pytest.approx(16 / 12, abs=1 / rate)
    for index, frame in enumerate(video.frames()):
        shown = (2 * box_of(frame)[0] - 30) % 16
        assert abs(shown - index / rate * 12) <= 1.6


def test_cut_off_video_is_the_same_in_both_passes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    noise = torch.Generator().manual_seed(0)
    frames = moving(24)
    for frame in frames:
        patch = torch.randint(0, 160, (40, 40, 3), dtype=torch.uint8, generator=noise)
        frame[40:80, 40:80] = patch
    write_video(path, frames, 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    video = prepare_video(path, size=32)
    assert 4 <= video.num_frames < 24
    assert len(list(video.frames())) == video.num_frames


@pytest.mark.parametrize(
    "wrong", [{"size": 0}, {"max_fps": 0.0}, {"object_share": 1.5}, {"max_frames": 0}]
)
def test_wrong_arguments(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"need size|at least 1"):
        prepare_video(torch.stack(moving(1)), **wrong)  # type: ignore[arg-type]


MEASURE = """
import resource, sys
from l4gm.pipeline.prepare import prepare_video
video = prepare_video(sys.argv[1], size=64)
count = sum(1 for _ in video.frames())
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """Holding the frames that the longer clip has more would take some 200 MB. Of 500 frames all is
    there that is kept of any clip: what silhouettes are judged on."""
    frames = [
        picture((60 + index, 60, 160 + index, 196), width=256, height=256) for index in range(8)
    ]
    peaks = {}
    for count in (500, 1500):
        path = tmp_path / f"{count}.mp4"
        write_video(path, (frames[index % 8] for index in range(count)), 12)
        output = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
        ).stdout
        found, peaks[count] = map(int, output.split())
        assert found == count
    assert peaks[1500] < 1.06 * peaks[500]
