"""Backgrounds, bars, marks, shadows and cuts as clips have them, against the true silhouette."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.media.bars import picture_window
from l4gm.media.judge import judge
from l4gm.media.matte import WHOLE
from l4gm.media.matting import choose_matting
from l4gm.media.shots import Shot, find_shots, thumbnail
from l4gm.pipeline.prepare import prepare_video

SIDE, FRAMES = 160, 8
_axis = (torch.arange(2 * SIDE) + 0.5) / 2
Y, X = _axis[:, None], _axis[None]


def body(time: float) -> tuple[Tensor, Tensor]:
    """Premultiplied colour [3, S, S] and alpha [1, S, S] of a head with a waving arm."""
    head = (X - 75) ** 2 + (Y - 70) ** 2 < 34**2
    foot = ((X - 75).abs() < 18) & ((Y - 110).abs() < 18)
    turn = 0.8 * math.sin(math.tau * time)
    u = (X - 100) * math.cos(turn) - (Y - 75) * math.sin(turn)
    v = (X - 100) * math.sin(turn) + (Y - 75) * math.cos(turn)
    arm = (u > 0) & (u < 36) & (v.abs() < 6)
    colors = torch.tensor([[200, 60, 40], [40, 80, 190], [30, 150, 60]]).float() / 255
    color = torch.zeros(3, 2 * SIDE, 2 * SIDE)
    for part, value in ((head, colors[0]), (foot, colors[1]), (arm, colors[2])):
        color = torch.where(part[None], value[:, None, None], color)
    alpha = (head | foot | arm).float()[None]
    shrunk = functional.avg_pool2d(torch.cat([color * alpha, alpha])[None], 2)[0]
    return shrunk[:3], shrunk[3:]


def on(background: Tensor, noise: float = 1.0) -> tuple[Tensor, Tensor]:
    """Frames uint8 [T, S, S, 3] and the true alpha [T, 1, S, S]; the background [3, S, S] is in
    levels."""
    generator = torch.Generator().manual_seed(0)
    frames, alphas = [], []
    for index in range(FRAMES):
        color, alpha = body(index / FRAMES)
        levels = 255 * color + (1 - alpha) * background
        levels = levels + noise * torch.randn(levels.shape, generator=generator)
        frames.append(levels.clamp(0, 255).round().byte().permute(1, 2, 0))
        alphas.append(alpha)
    return torch.stack(frames), torch.stack(alphas)


def overlap(frames: Tensor, true: Tensor) -> float:
    """The least intersection over union of what is found with what is there."""
    method = choose_matting(list(frames), "clip").method
    found = torch.stack([method.matte(frame, whole=frame).alpha > 0.5 for frame in frames])
    wanted = true > 0.5
    both, either = (found & wanted).flatten(1).sum(1), (found | wanted).flatten(1).sum(1)
    return float((both / either).min())


PLACE_X, PLACE_Y = X[:, ::2] / SIDE, Y[::2] / SIDE
RADIUS = ((PLACE_X - 0.5) ** 2 + (PLACE_Y - 0.5) ** 2).sqrt()
SMOOTH: dict[str, Tensor] = {
    "white": torch.full((SIDE, SIDE), 255.0),
    "studio": 230 - 110 * PLACE_Y + 0 * PLACE_X,
    "sideways": 90 + 120 * PLACE_X + 0 * PLACE_Y,
    "vignette": 235 - 130 * RADIUS**2 / 0.5,
    "cone": 240 - 120 * RADIUS,
    "spot": 120 + 110 * torch.exp(-((RADIUS / 0.35) ** 2)),
    "sweep": 225 - 60 / (1 + torch.exp(-(PLACE_Y - 0.7) / 0.08)) + 0 * PLACE_X,
}


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (0.8, 0.95, 1.0)])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_backgrounds_give_the_whole_object(
    name: str, tint: tuple[float, float, float]
) -> None:
    background = SMOOTH[name] * torch.tensor(tint)[:, None, None]
    assert overlap(*on(background)) > 0.96


def test_a_smooth_background_leaves_no_fringe() -> None:
    frames, true = on(SMOOTH["studio"].expand(3, -1, -1))
    method = choose_matting(list(frames), "clip").method
    assert method.name == "smooth background"
    white = method.matte(frames[0]).over(1.0)
    wanted = body(0)[0] + 1 - true[0]
    assert float((white - wanted).abs().mean()) < 0.004


@pytest.mark.parametrize("softness", [18.0, 28.0])
def test_soft_shadows_are_no_object(softness: float) -> None:
    distance = ((PLACE_X * SIDE - 80) / 46) ** 2 + ((PLACE_Y * SIDE - 130) / softness) ** 2
    shade = 250 * (1 - 0.35 * torch.exp(-distance))
    frames, true = on(shade.expand(3, -1, -1), noise=0.5)
    choice = choose_matting(list(frames), "clip")
    assert overlap(frames, true) > 0.93
    without = [choice.method.mask(frame)[140:].any() for frame in frames]
    assert not any(without)


def test_an_outline_through_even_colour_is_not_believed() -> None:
    frames, _ = on(SMOOTH["vignette"].expand(3, -1, -1))
    disc = (RADIUS < 0.45).numpy()
    verdict = judge(list(frames), [disc] * len(frames))
    assert "runs through even colour" in (verdict.fault or "")
    true = (on(SMOOTH["vignette"].expand(3, -1, -1))[1] > 0.5)[:, 0].numpy()
    assert judge(list(frames), list(true)).fault is None


def test_noise_is_refused_in_one_line() -> None:
    noise = torch.randint(0, 255, (6, 96, 96, 3), dtype=torch.uint8)
    with pytest.raises(InputError, match=r"a\.mp4: no background.*--no-matting") as caught:
        choose_matting(list(noise), "a.mp4")
    assert "\n" not in str(caught.value)


# Bars, lines, panels


def padded(frames: Tensor, sides: tuple[int, int, int, int], color: tuple[int, ...]) -> Tensor:
    """With bars of (left, top, right, bottom) px beside the frames."""
    left, top, right, bottom = sides
    count, height, width = frames.shape[:3]
    out = torch.tensor(color, dtype=torch.uint8).expand(
        count, height + top + bottom, width + left + right, 3
    )
    out = out.clone()
    out[:, top : top + height, left : left + width] = frames
    return out


BARS = {
    "pillars": (60, 0, 60, 0),
    "letterbox": (0, 30, 0, 30),
    "one side": (0, 0, 44, 0),
    "a line": (0, 0, 0, 2),
    "bar and line": (40, 0, 40, 1),
}


@pytest.mark.parametrize("color", [(0, 0, 0), (20, 90, 160)])
@pytest.mark.parametrize("name", BARS)
def test_bars_are_left_out(name: str, color: tuple[int, ...]) -> None:
    frames, _ = on(torch.full((3, SIDE, SIDE), 250.0))
    sides = BARS[name]
    video = prepare_video(padded(frames, sides, color), size=64)
    assert "bars or lines" in video.report["notes"][-1]
    plain = prepare_video(frames, size=64)
    left, top, right, bottom = plain.report["object_box_px"]
    found = video.report["object_box_px"]
    assert found == pytest.approx([left, top, right, bottom], abs=3)


@pytest.mark.parametrize("name", ["white", "studio", "spot"])
def test_no_bars_are_seen_where_there_are_none(name: str) -> None:
    frames, _ = on(SMOOTH[name].expand(3, -1, -1), noise=0)
    assert picture_window(list(frames)) == WHOLE


def test_a_panel_within_a_page() -> None:
    """A screen recording: the player with the clip in the middle of a grey page."""
    frames, _ = on(torch.full((3, SIDE, SIDE), 250.0))
    video = prepare_video(padded(frames, (50, 40, 70, 40), (205, 208, 212)), size=64)
    assert any("rectangle" in note for note in video.report["notes"])
    left, top, right, bottom = video.report["object_box_px"]
    assert right - left < 100
    assert bottom - top < 100


def test_a_rectangular_object_is_no_panel() -> None:
    frames = torch.full((8, 160, 160, 3), 250, dtype=torch.uint8)
    frames[:, 30:130, 40:120] = torch.tensor([150, 60, 40]).byte()
    frames[:, 60:100, 55:105] = torch.tensor([230, 220, 180]).byte()
    video = prepare_video(frames, size=64)
    assert video.report["object_box_px"] == [40, 30, 120, 130]


# Marks


@pytest.mark.parametrize(
    ("place", "name"),
    [((148, 110), "bottom right"), ((4, 6), "top left"), ((4, 120), "top right")],
)
def test_watermarks_are_left_out_and_named(
    place: tuple[int, int], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    frames, _ = on(torch.full((3, SIDE, SIDE), 255.0))
    marked = frames.clone()
    for letter in range(5):
        x = place[1] + 7 * letter
        marked[:, place[0] : place[0] + 6, x : x + 4] = 120
    with caplog.at_level(logging.WARNING):
        video = prepare_video(marked, size=64)
    assert f"a mark that never moves is left out at the {name}" in caplog.text
    plain = prepare_video(frames, size=64)
    assert video.report["object_box_px"] == plain.report["object_box_px"]
    assert float((video.stack() - plain.stack()).abs().mean()) < 0.002


def test_a_part_that_hovers_is_no_mark() -> None:
    frames, _ = on(torch.full((3, SIDE, SIDE), 255.0))
    for index in range(FRAMES):
        frames[index, 6:16, 60 + 3 * index : 70 + 3 * index] = 90
    video = prepare_video(frames, size=64)
    assert video.report["object_box_px"][1] <= 6


# Shots


def thumbs_of(*parts: Tensor) -> list:
    return [thumbnail(frame) for part in parts for frame in part]


WHITE = torch.full((3, SIDE, SIDE), 250.0)
ROOM = SMOOTH["spot"] * torch.tensor([0.5, 0.9, 0.3])[:, None, None]
Cut = Callable[[Tensor], Tensor]


def test_cuts_are_found_and_motion_is_none() -> None:
    white, room = on(WHITE)[0], on(ROOM)[0]
    assert find_shots(thumbs_of(white)) == [Shot(0, 8)]
    assert find_shots(thumbs_of(white, room)) == [Shot(0, 8), Shot(8, 16)]
    assert len(find_shots(thumbs_of(white, room, white))) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda frames: frames[[0, 1, 2, 2, 2, 2, 6, 7]],  # a lag
        lambda frames: (
            torch.roll(frames, 30, 2) * (torch.arange(8) > 3)[:, None, None, None]
            + frames * (torch.arange(8) <= 3)[:, None, None, None]
        ),  # it jumps
        lambda frames: torch.where(
            (torch.arange(8) == 4)[:, None, None, None], torch.tensor(255).byte(), frames
        ),  # a flash
        lambda frames: torch.cat([frames, torch.full_like(frames[:4], 250)]),  # it vanishes
    ],
)
def test_what_is_no_cut(change: Cut) -> None:
    frames = change(on(WHITE, noise=0)[0])
    assert len(find_shots(thumbs_of(frames))) == 1
