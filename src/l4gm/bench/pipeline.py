"""The whole pipeline on one clip, stage by stage."""

from __future__ import annotations

import time

import torch

from l4gm.bench.results import Row
from l4gm.bench.timing import wait, watched_memory
from l4gm.model.protocol import works_from_video_alone
from l4gm.pipeline.report import PipelineReport
from l4gm.pipeline.video_to_4d import VideoTo4D


def moving_disc(num_frames: int, size: int = 256) -> torch.Tensor:
    """[T, 3, size, size]: a disc on white, going round."""
    line = torch.linspace(-1, 1, size)
    angles = torch.linspace(0, 6.28, num_frames)[:, None, None]
    distance = (line - 0.3 * angles.cos()) ** 2 + (line[:, None] - 0.3 * angles.sin()) ** 2
    disc = (distance < 0.2).float()[:, None]
    color = torch.tensor([0.8, 0.3, 0.1])[:, None, None]
    return 1 - disc * (1 - color)


def bench_pipeline(
    name: str, video_to_4d: VideoTo4D, num_frames: int, *, repeats: int = 1, warm_up: int = 1
) -> list[Row]:
    """Seconds of each stage of a prepared clip; views are given where the network needs them.

    Args:
        name: of the model, for the table.
        video_to_4d: the pipeline.
        num_frames: of the clip.
        repeats: runs of which the fastest counts.
        warm_up: runs before them (kernels are compiled in the first).
    """
    frames = moving_disc(num_frames)
    video_is_enough = works_from_video_alone(video_to_4d.reconstruction)
    views = None if video_is_enough else frames[:1].repeat(4, 1, 1, 1)
    best: tuple[float, PipelineReport, int | None] | None = None
    for turn in range(warm_up + repeats):
        report = PipelineReport()
        with watched_memory(video_to_4d.device) as memory:
            start = time.perf_counter()
            video_to_4d(frames, views=views, report=report)
            wait(video_to_4d.device)
            seconds = time.perf_counter() - start
        if turn >= warm_up and (best is None or seconds < best[0]):
            best = seconds, report, max(memory.above, default=None)
    assert best is not None
    seconds, report, peak_bytes = best
    figures = {"total seconds": seconds, "frames out": float(report.num_output_frames)}
    figures |= {f"{stage} seconds": value for stage, value in report.seconds.items()}
    if peak_bytes is not None:
        figures["MiB above weights"] = peak_bytes / 2**20
    case = f"{name}, {num_frames} frames"
    return [Row(case=case, competitor="l4gm", figures=figures)]
