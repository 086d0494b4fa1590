"""What is measured of a reconstructed clip, and its means over clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from statistics import fmean

# Settings by name: whether the true views of the first frame are given.
SETTINGS = {"views given": True, "video only": False}


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Over all frames of the free views unless said; None where a measure does not apply or its
    weights are missing.

    `_nearest` and `_white` are the same of the two baselines that cost nothing: the nearest given
    image, and an all-white one.

    Args:
        st_lpips: perceptual distance that forgives a shift of a pixel; 0 is equal.
        alpha_iou: overlap of silhouettes.
        psnr: dB.
        ssim: None for images smaller than its window.
        sharpness: root of the gradient energy over the truth's, see `metrics.gradient_energy`; 1
            is as much detail as the truth has.
        front_psnr, front_sharpness: of the video's own view rendered again, where nothing is
            unseen.
        f_score, chamfer: see `surface.SurfaceScore`; None where the true surface is not known.
        motion_ratio: change between frames in the still views that the video does not show, over
            the truth's; above 1 it flickers or swims, below 1 it stands stiller than the object.
        flicker: the difference of both, see `metrics.flicker`.
        opaque_share: share of the splats whose opacity is above a half; those of opacity 0, which
            fill frames up to one number, are no splats.
        splats: a frame.
        psnr_on_axis: at the four input azimuths, dB.
        lpips: VGG.
    """

    st_lpips: float | None = None
    st_lpips_nearest: float | None = None
    st_lpips_white: float | None = None
    alpha_iou: float
    alpha_iou_nearest: float | None = None
    psnr: float
    psnr_nearest: float
    psnr_white: float
    ssim: float | None = None
    ssim_nearest: float | None = None
    ssim_white: float | None = None
    sharpness: float | None = None
    front_psnr: float | None = None
    front_sharpness: float | None = None
    f_score: float | None = None
    chamfer: float | None = None
    motion_ratio: float | None = None
    flicker: float
    opaque_share: float | None = None
    splats: float | None = None
    psnr_on_axis: float
    lpips: float | None = None

    @property
    def gain(self) -> float:
        """Decibels above the better baseline."""
        return self.psnr - max(self.psnr_white, self.psnr_nearest)


MEASURES = tuple(field.name for field in fields(Measures))
# Of these the mean is geometric, over the clips that have one: a clip without detail or motion says
# nothing about the others.
RATIOS = {"sharpness", "front_sharpness", "motion_ratio"}
_LEAST_RATIO = 1e-3


@dataclass(frozen=True, kw_only=True)
class ClipScore(Measures):
    """One clip in one setting."""

    name: str
    setting: str


@dataclass(frozen=True, kw_only=True)
class Summary(Measures):
    """Means over clips, and the worst one by PSNR; `gain` is against the better of both mean
    baselines. A measure that a clip lacks is left out whole, unless it is one of `RATIOS`."""

    setting: str
    clips: int
    worst_psnr: float
    worst_name: str


def ratio(measured: float, true: float) -> float | None:
    """One energy over another; None where there is next to none to compare with."""
    return measured / true if true > 1e-6 else None


def summarize(scores: Iterable[ClipScore]) -> list[Summary]:
    """One summary per setting, in the order of `SETTINGS`."""
    by_setting: dict[str, list[ClipScore]] = {name: [] for name in SETTINGS}
    for score in scores:
        by_setting[score.setting].append(score)
    return [_summary(setting, group) for setting, group in by_setting.items() if group]


def _summary(setting: str, group: Sequence[ClipScore]) -> Summary:
    worst = min(group, key=lambda score: score.psnr)
    means = {name: _mean(name, [getattr(score, name) for score in group]) for name in MEASURES}
    return Summary(
        setting=setting,
        clips=len(group),
        worst_psnr=worst.psnr,
        worst_name=worst.name,
        **means,  # type: ignore[arg-type]
    )


def _mean(name: str, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    if name in RATIOS:
        logs = [math.log(max(value, _LEAST_RATIO)) for value in known]
        return math.exp(fmean(logs)) if logs else None
    return fmean(known) if len(known) == len(values) else None
