"""Quality on rendered clips with known truth: novel views, with views given and from video alone.

Protocol: of every clip the network sees the front view of each frame and, where "views are given",
the true views at azimuth 90, 180, 270 of the first frame. It is judged on free cameras at every
frame; the four input azimuths, where it is easier to look well, are reported apart ("on axis").
It is told the alpha of what it sees, as background removal tells it of a user's video.
Two baselines say what a number is worth: an all-white picture, and the nearest (by angle between
viewing directions) of the pictures that were given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.judges import Judges
from l4gm.evaluation.metrics import SSIM_WINDOW_PX, alpha_iou, flicker, psnr, ssim
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.media.matte import on_white
from l4gm.model.protocol import Reconstructor
from l4gm.splat.render import render

# frames [T, 4, H, W], views of the first frame [4, 4, H, W] or None -> Gaussians [T, N]; both are
# straight RGBA.
Reconstruct = Callable[[Tensor, Tensor | None], Gaussians]

SETTINGS = {"views given": True, "video only": False}


@dataclass(frozen=True, kw_only=True)
class ClipScore:
    """One clip in one setting, averaged over frames and free views; PSNR in dB.

    Args:
        name, setting: what.
        psnr, psnr_white, psnr_nearest: of the result and of the two baselines.
        flicker: see `metrics.flicker`.
        psnr_on_axis: at the four input azimuths, over all frames.
        ssim: None for pictures smaller than its window.
        alpha_iou: overlap of silhouettes.
        lpips: VGG; None without its weights.
    """

    name: str
    setting: str
    psnr: float
    psnr_white: float
    psnr_nearest: float
    flicker: float
    psnr_on_axis: float
    ssim: float | None
    alpha_iou: float
    lpips: float | None = None

    @property
    def gain(self) -> float:
        """Decibels above the better baseline of this clip."""
        return self.psnr - max(self.psnr_white, self.psnr_nearest)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Means over clips, and the worst one. `gain` is against the better of both mean baselines."""

    setting: str
    clips: int
    psnr: float
    psnr_white: float
    psnr_nearest: float
    worst_psnr: float
    worst_name: str
    flicker: float
    psnr_on_axis: float
    ssim: float | None
    alpha_iou: float
    lpips: float | None

    @property
    def gain(self) -> float:
        return self.psnr - max(self.psnr_white, self.psnr_nearest)


def clip_images(clip: Clip) -> Tensor:
    """[T, V, 3, H, W] in [0, 1] on white: what results are compared with."""
    return on_white(clip_rgba(clip))[:, :, :3]


def clip_rgba(clip: Clip) -> Tensor:
    """[T, V, 4, H, W] in [0, 1], straight RGBA: what networks and the pipeline are given."""
    return torch.from_numpy(clip.images).movedim(-1, -3).float() / 255


def nearest_given_picture(clip: Clip, images: Tensor, views_given: bool) -> Tensor:
    """[T, S, 3, H, W]: for each free camera the given picture from the nearest direction.

    Given are the front view of the same time and, with `views_given`, the others of frame 0.
    """
    given = clip.num_input_views if views_given else 1
    forward = clip.cameras.world_from_camera[:, :3, 2]
    nearest = (forward[clip.num_input_views :] @ forward[:given].T).argmax(1)  # [S]
    pictures = images[:1, :given].repeat(len(images), 1, 1, 1, 1)
    pictures[:, 0] = images[:, 0]
    return pictures[:, nearest]


@torch.inference_mode()
def score_clip(
    clip: Clip, reconstruct: Reconstruct, setting: str, judges: Judges | None = None
) -> tuple[ClipScore, Tensor]:
    """Score one clip.

    Args:
        judges: for LPIPS; None leaves it out.

    Returns:
        the score and the renderings of the free views [T, S, 3, H, W].
    """
    views_given = SETTINGS[setting]
    images = clip_images(clip)
    fixed = clip.num_input_views
    given = clip_rgba(clip)
    gaussians = reconstruct(given[:, 0], given[0, :fixed] if views_given else None)
    drawn = render(gaussians, clip.cameras)
    predicted = drawn.image[:, fixed:].clamp(0, 1)
    truth = images[:, fixed:]
    true_alpha = torch.from_numpy(clip.images[:, fixed:, None, :, :, 3]).float() / 255
    baseline = nearest_given_picture(clip, images, views_given)
    score = ClipScore(
        name=clip.name,
        setting=setting,
        psnr=psnr(predicted, truth).mean().item(),
        psnr_white=psnr(torch.ones_like(truth), truth).mean().item(),
        psnr_nearest=psnr(baseline, truth).mean().item(),
        flicker=flicker(predicted, truth).item(),
        psnr_on_axis=psnr(drawn.image[:, :fixed].clamp(0, 1), images[:, :fixed]).mean().item(),
        ssim=ssim(predicted, truth).mean().item() if truth.shape[-1] >= SSIM_WINDOW_PX else None,
        alpha_iou=alpha_iou(drawn.alpha[:, fixed:], true_alpha).mean().item(),
        lpips=_lpips(predicted, truth, judges),
    )
    return score, predicted


def _lpips(predicted: Tensor, truth: Tensor, judges: Judges | None) -> float | None:
    if judges is None or judges.lpips_vgg is None:
        return None
    found = judges.picture_metrics(predicted.flatten(0, 1), truth.flatten(0, 1))
    return found["lpips_vgg"].mean().item()


def summarize(scores: Iterable[ClipScore]) -> list[Summary]:
    """One summary per setting, in the order of `SETTINGS`."""
    by_setting: dict[str, list[ClipScore]] = {name: [] for name in SETTINGS}
    for score in scores:
        by_setting[score.setting].append(score)
    summaries = []
    for setting, group in by_setting.items():
        if not group:
            continue

        def mean(field: str, group: list[ClipScore] = group) -> float:
            return sum(getattr(score, field) for score in group) / len(group)

        def mean_if_all(field: str, group: list[ClipScore] = group) -> float | None:
            return None if any(getattr(s, field) is None for s in group) else mean(field, group)

        worst = min(group, key=lambda score: score.psnr)
        summaries.append(
            Summary(
                setting=setting,
                clips=len(group),
                psnr=mean("psnr"),
                psnr_white=mean("psnr_white"),
                psnr_nearest=mean("psnr_nearest"),
                worst_psnr=worst.psnr,
                worst_name=worst.name,
                flicker=mean("flicker"),
                psnr_on_axis=mean("psnr_on_axis"),
                ssim=mean_if_all("ssim"),
                alpha_iou=mean("alpha_iou"),
                lpips=mean_if_all("lpips"),
            )
        )
    return summaries


def single_pass(model: Reconstructor, max_frames: int | None = None) -> Reconstruct:
    """The network alone, absent views marked as such, no chunk fed from the one before.

    Args:
        max_frames: cut the clip in pieces of this many frames (a network trained at T = 1 has an
            untrained temporal attention); None: all in one forward pass.
    """

    def reconstruct(frames: Tensor, views: Tensor | None) -> Gaussians:
        images = on_white(frames)[:, None].repeat(1, 4, 1, 1, 1)
        if views is not None:
            images[:, 1:] = on_white(views)[1:]
        present = torch.tensor([[True] + [views is not None] * 3], device=frames.device)
        cameras = orbit_cameras([0, 90, 180, 270], size=frames.shape[-1])
        pieces = images[None].split(max_frames or len(images), 1)
        network = partial(model, cameras=cameras, present=present)
        return Gaussians.cat(
            [network(piece[:, :, :, :3], alpha=piece[:, :, :, 3])[0] for piece in pieces]
        )

    return reconstruct


def evaluate_renders(
    source: ClipSource,
    reconstruct: Reconstruct,
    request: ClipRequest,
    *,
    num_clips: int,
    settings: Iterable[str] = tuple(SETTINGS),
    judges: Judges | None = None,
    on_clip: Callable[[Clip, ClipScore, Tensor], None] | None = None,
) -> list[ClipScore]:
    """Score the first `num_clips` clips of a source in each setting.

    Args:
        judges: for LPIPS; None leaves it out.
        on_clip: called with the clip, its score and its renderings, for progress or pictures.
    """
    settings = tuple(settings)
    scores = []
    for index in range(num_clips):
        clip = source.clip(index, request)
        for setting in settings:
            score, predicted = score_clip(clip, reconstruct, setting, judges)
            scores.append(score)
            if on_clip is not None:
                on_clip(clip, score, predicted)
    return scores


def comparison_sheet(clip: Clip, predicted: Tensor) -> NDArray[np.uint8]:
    """First and last frame, all free views: truth above the rendering, [rows, columns, 3].

    Args:
        predicted: [T, S, 3, H, W], as `score_clip` returns it.
    """
    truth = clip_images(clip)[:, clip.num_input_views :]
    rows = []
    for frame in sorted({0, len(truth) - 1}):
        for pictures in (truth[frame], predicted[frame]):
            rows.append(torch.cat(list(pictures), dim=-1))
    sheet = torch.cat(rows, dim=-2).clamp(0, 1).mul(255).round().byte()
    return sheet.permute(1, 2, 0).numpy()


def markdown_table(rows: dict[str, list[Summary]]) -> str:
    """A table of summaries, keyed by the name of the set."""
    lines = [
        "| set | setting | clips | PSNR | above baseline | all white | nearest picture | on axis "
        "| SSIM | LPIPS | alpha IoU | flicker | worst clip |",
        "|---" * 13 + "|",
    ]
    for name, summaries in rows.items():
        for s in summaries:
            lines.append(
                f"| {name} | {s.setting} | {s.clips} | {s.psnr:.2f} | {s.gain:+.2f} | "
                f"{s.psnr_white:.2f} | {s.psnr_nearest:.2f} | {s.psnr_on_axis:.2f} | "
                f"{_or_skipped(s.ssim)} | {_or_skipped(s.lpips)} | {s.alpha_iou:.3f} | "
                f"{s.flicker:+.5f} | {s.worst_psnr:.2f} ({s.worst_name}) |"
            )
    return "\n".join(lines)


def _or_skipped(value: float | None) -> str:
    return "skipped" if value is None else f"{value:.3f}"
