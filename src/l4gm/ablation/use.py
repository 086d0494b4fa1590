"""Ablations of a finished network's use, which need no training: frames a pass, rolls, given views.

Repetitions are held-out objects; a claim is judged by the interval over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.findings import Claim, Curve, Findings, judge
from l4gm.evaluation.metrics import flicker, psnr
from l4gm.evaluation.renders import clip_images, clip_rgba, single_pass
from l4gm.gaussians.types import Gaussians
from l4gm.pipeline.video_to_4d import VideoTo4D
from l4gm.splat.render import render

FPS = 8.0
# The paper: "10 or more rolls without large loss". What we take as large.
LARGE_LOSS_DB = 1.0


@dataclass
class UseTest:
    """A model and the objects that it is tried on.

    Args:
        pipeline: the model.
        sources: held-out clips by name; objects are taken from them in turn.
        clips: objects in all.
        size_px: of the pictures.
        frames_in_use, rolls, frames_per_roll: what is tried.
        on_clip: called with (suite, objects done, objects in all).
    """

    pipeline: VideoTo4D
    sources: dict[str, ClipSource]
    clips: int = 4
    size_px: int = 128
    frames_in_use: Sequence[int] = (1, 4, 8, 16)
    rolls: int = 10
    frames_per_roll: int = 4
    on_clip: Callable[[str, int, int], None] = field(default=lambda suite, done, total: None)

    def objects(self, suite: str, num_frames: int, fps: float = FPS) -> list[Clip]:
        """Clips of `num_frames` frames of all the objects."""
        request = ClipRequest(size_px=self.size_px, num_frames=num_frames, fps=fps)
        sources = list(self.sources.values())
        made = []
        for index in range(self.clips):
            self.on_clip(suite, index, self.clips)
            made.append(sources[index % len(sources)].clip(index // len(sources), request))
        return made

    def describe(self) -> str:
        """Size and objects, for the setup of the findings."""
        return (
            f"{self.size_px} px, {self.clips} held-out objects of: {' and '.join(self.sources)}; "
            "free views; the four views of the first frame given unless said."
        )


@torch.inference_mode()
def frames(test: UseTest) -> Findings:
    """T in use: the same network on pieces of 1, 4, 8, 16 frames of one clip."""
    longest = max(test.frames_in_use)
    network = test.pipeline.reconstruction
    quality: list[tuple[float, ...]] = []
    unrest: list[tuple[float, ...]] = []
    for clip in test.objects("frames", longest):
        images, given = clip_images(clip), clip_rgba(clip)
        rows = []
        for piece in test.frames_in_use:
            reconstruct = single_pass(network, max_frames=piece)
            drawn, truth = _drawn(reconstruct(given[:, 0], given[0, :4]), clip), images[:, 4:]
            rows.append((psnr(drawn, truth).mean().item(), flicker(drawn, truth).item()))
        quality.append(tuple(row[0] for row in rows))
        unrest.append(tuple(row[1] for row in rows))
    x = tuple(float(piece) for piece in test.frames_in_use)
    return Findings(
        suite="frames",
        title="How many frames in one pass?",
        setup=test.describe() + f" Clips of {longest} frames in pieces of T, no hand-over.",
        x_label="T, frames of a pass",
        repetitions="objects",
        curves=(
            Curve("the same network", "psnr", x, tuple(quality)),
            Curve("the same network", "flicker", x, tuple(unrest)),
        ),
        claims=(
            judge(
                f"a network is as good at T = {longest} as at less (trained at 8, used at 16)",
                f"PSNR in dB, T = {longest} less T = {test.frames_in_use[-2]}, not below -0.1",
                [row[-1] for row in quality],
                [row[-2] for row in quality],
                margin=-0.1,
            ),
        ),
    )


@torch.inference_mode()
def autoregressive(test: UseTest) -> Findings:
    """Quality against the number of rolls, and frames put between with and without a network."""
    step = test.frames_per_roll - 1
    pipeline = _with_chunks(test.pipeline, test.frames_per_roll)
    handed_on: list[tuple[float, ...]] = []
    fresh: list[tuple[float, ...]] = []
    for clip in test.objects("autoregressive", test.rolls * step + 1):
        images, given = clip_images(clip), clip_rgba(clip)
        result = pipeline(given[:, 0], views=given[0, :4], align=False, interpolate=False)
        handed_on.append(_per_roll(result.gaussians, clip, images, step))
        pieces = []
        for start in range(0, len(images) - 1, step):
            piece = given[start : start + step + 1, 0]
            found = pipeline(piece, views=given[start, :4], align=False, interpolate=False)
            # As in the pipeline: of the shared frame, the earlier piece's copy is kept.
            pieces.append(found.gaussians[1:] if start else found.gaussians)
        fresh.append(_per_roll(Gaussians.cat(pieces), clip, images, step))
    x = tuple(float(roll + 1) for roll in range(test.rolls))
    curves = [
        Curve("views handed on from roll to roll", "psnr", x, tuple(handed_on)),
        Curve("true views given at every roll", "psnr", x, tuple(fresh)),
    ]
    lost = [
        [h - f for h, f in zip(*pair, strict=True)] for pair in zip(handed_on, fresh, strict=True)
    ]
    claims = [
        judge(
            f"{test.rolls} rolls lose little",
            f"PSNR in dB at roll {test.rolls}, handed on less true views, not below "
            f"-{LARGE_LOSS_DB:g}",
            [row[-1] for row in lost],
            [0.0] * len(lost),
            margin=-LARGE_LOSS_DB,
        )
    ]
    if pipeline.interpolation is not None:
        more_curves, claim = _interpolation(test, pipeline)
        curves += more_curves
        claims.append(claim)
    return Findings(
        suite="autoregressive",
        title="What do autoregressive rolls cost, and what does interpolation bring?",
        setup=test.describe() + f" Rolls of T = {test.frames_per_roll}, one frame shared.",
        x_label="rolls",
        repetitions="objects",
        curves=tuple(curves),
        claims=tuple(claims),
    )


def _interpolation(test: UseTest, pipeline: VideoTo4D) -> tuple[list[Curve], Claim]:
    """PSNR of the frames between, in two rolls: as the model makes them, and with the ends held."""
    way = "interpolation network"
    step = test.frames_per_roll - 1
    between: list[tuple[float, ...]] = []
    held: list[tuple[float, ...]] = []
    for clip in test.objects("interpolation", 3 * 2 * step + 1, fps=3 * FPS):
        images, given = clip_images(clip), clip_rgba(clip)
        result = pipeline(given[::3, 0], views=given[0, :4], align=False).gaussians
        nearest = [round(index / 3) * 3 for index in range(len(images))]
        middle = [index for index in range(len(images)) if index % 3]
        for rows, drawn in (
            (between, _drawn(result, clip)),
            (held, _drawn(result, clip)[nearest]),
        ):
            values = psnr(drawn, images[:, 4:]).mean(1)
            halves = [i for i in middle if i < 3 * step], [i for i in middle if i > 3 * step]
            rows.append(tuple(values[half].mean().item() for half in halves))
    curves = [
        Curve(way, "psnr of frames between", (1.0, 2.0), tuple(between)),
        Curve("nearest frame held", "psnr of frames between", (1.0, 2.0), tuple(held)),
    ]
    claim = judge(
        "interpolation makes the animation smoother without loss",
        f"PSNR in dB of the frames between, {way} less nearest frame held",
        [sum(row) / 2 for row in between],
        [sum(row) / 2 for row in held],
    )
    return curves, claim


@torch.inference_mode()
def views(test: UseTest) -> Findings:
    """How many of the four views of the first frame are given."""
    quality: list[tuple[float, ...]] = []
    for clip in test.objects("views", test.pipeline.chunk_frames // 2 or 1):
        images, given = clip_images(clip), clip_rgba(clip)
        row = []
        for count in (1, 2, 3, 4):
            present = [view in _GIVEN_FIRST[:count] for view in range(4)]
            result = test.pipeline(
                given[:, 0], views=given[0, :4], present=present, align=False, interpolate=False
            )
            row.append(psnr(_drawn(result.gaussians, clip), images[:, 4:]).mean().item())
        quality.append(tuple(row))
    return Findings(
        suite="views",
        title="How many views of the first frame?",
        setup=test.describe() + " In the order: front, back, then the sides.",
        x_label="views given",
        repetitions="objects",
        curves=(Curve("whole pipeline", "psnr", (1.0, 2.0, 3.0, 4.0), tuple(quality)),),
        claims=(
            judge(
                "four views are better than the front alone (not in the paper)",
                "PSNR in dB, four views less one",
                [row[-1] for row in quality],
                [row[0] for row in quality],
            ),
        ),
    )


_GIVEN_FIRST = (0, 2, 1, 3)

SUITES: dict[str, Callable[[UseTest], Findings]] = {
    "frames": frames,
    "autoregressive": autoregressive,
    "views": views,
}


def _with_chunks(pipeline: VideoTo4D, chunk_frames: int) -> VideoTo4D:
    """The same networks with another T, handing views on from chunk to chunk."""
    return VideoTo4D(
        pipeline.reconstruction,
        pipeline.interpolation,
        pipeline.multiview,
        chunk_frames,
        pipeline.render_size,
        stage_size=pipeline.stage_size,
        shrink=pipeline.shrink,
        pairs_per_batch=pipeline.pairs_per_batch,
        renew_views=True,  # as in the paper, whose claim is tried
        device=pipeline.device,
    )


def _drawn(gaussians: Gaussians, clip: Clip) -> Tensor:
    """[T, S, 3, H, W] the free views."""
    cameras = clip.cameras[clip.num_input_views :]
    return render(gaussians.to("cpu"), cameras).image.clamp(0, 1)


def _per_roll(gaussians: Gaussians, clip: Clip, images: Tensor, step: int) -> tuple[float, ...]:
    """Mean PSNR of the frames that each roll adds; the shared first frame is the roll's before."""
    values = psnr(_drawn(gaussians, clip), images[:, 4:]).mean(1)[1:]
    return tuple(part.mean().item() for part in values.split(step))
