"""The Consistent4D video-to-4D benchmark (the paper's Table 1), by the protocol of its own scripts.

Seven objects, one still input camera at azimuth 0 and elevation 0, 32 frames; four evaluation views
at azimuth -75, 15, 105 and 195. Folders `ROOT/OBJECT/eval_K/I.png`. Pictures are resized to 512 px
by Pillow's default filter for PSNR, SSIM, LPIPS and CLIP, and to 224 px for the video metrics.
Averages go over frames, then views, then objects.

Kept as it is: everything that decides a number. Different on purpose: PSNR and SSIM have the data
range 1 stated (the script leaves torchmetrics to guess it from each picture), transparent pictures
are put on white by their alpha (the script drops alpha), and folders that do not fit are refused.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from l4gm import __version__
from l4gm.errors import InputError
from l4gm.evaluation.judges import Judges, weight_sums
from l4gm.evaluation.metrics import psnr, ssim
from l4gm.evaluation.pictures import PictureSequence, picture_paths, read_pictures
from l4gm.evaluation.video_distance import (
    frechet_distance,
    fvd_consistent4d,
    video_features,
    video_rasters,
)
from l4gm.gaussians.atomic import atomic_file
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.splat.render import render

OBJECTS = ("aurorus", "crocodile", "guppie", "monster", "pistol", "skull", "trump")
AZIMUTHS_DEGREES = (-75.0, 15.0, 105.0, 195.0)
NUM_VIEWS = len(AZIMUTHS_DEGREES)
NUM_FRAMES = 32
PICTURE_PX = 512

# Objaverse objects of the benchmark, which nobody who trains should have seen.
EXCLUDED_UIDS = (
    "ba7b382c918b40e6b07011da4ff3ebc0",
    "29c26c661f1c47aabb245c9b2f896455",
    "53abad43280a4b7ab26bd0e6b8dea62f",
    "22bbb0b7ca4d4d63b47b1367984aa7ce",
    "26adfd631730494ab0fc80c806eada77",
    "a1c936d72a9f4fa0ac15033339bd6efe",
    "9fea6ffd67b840cb970f5b4570794709",
)

FRAME_METRICS = ("psnr", "ssim", "lpips_vgg", "lpips_alex", "clip")
VIEW_METRICS = ("fvd_consistent4d",)
SET_METRICS = ("fvd", "fvd_views", "fvd_diagonal", "fv4d")
# SV4D's names of the ways through views and frames.
_RASTERS = {"frames": "fvd", "views": "fvd_views", "diagonal": "fvd_diagonal", "4d": "fv4d"}
LOWER_IS_BETTER = {"lpips_vgg", "lpips_alex", "fvd_consistent4d", *SET_METRICS}


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """Figures that a paper reports; None where it does not."""

    method: str
    lpips: float | None
    clip: float | None
    fvd: float | None
    time: str
    source: str


_TABLE_1 = "L4GM paper, Table 1; LPIPS and FVD as in the benchmark's scripts"
PUBLISHED = (
    *(
        PublishedRow(method=method, lpips=lpips, clip=clip, fvd=fvd, time=took, source=_TABLE_1)
        for method, lpips, clip, fvd, took in (
            ("Consistent4D", 0.16, 0.87, 1133, "2 h"),
            ("4DGen", 0.13, 0.89, None, "1 h"),
            ("STAG4D", 0.13, 0.91, 992, "1 h"),
            ("DreamGaussian4D", 0.16, 0.87, None, "10 min"),
            ("Efficient4D", 0.14, 0.92, None, "6 min"),
            ("GaussianFlow", 0.14, 0.91, None, ""),
            ("L4GM", 0.12, 0.94, 692, "3 s"),
        )
    ),
    PublishedRow(
        method="SV4D",
        lpips=0.118,
        clip=0.92,
        fvd=732,
        time="15-20 min",
        source="SV4D paper; its own rendering and FVD code",
    ),
    PublishedRow(
        method="L4GM",
        lpips=0.147,
        clip=0.846,
        fvd=1208,
        time="",
        source="re-run in a later paper; protocol not stated in full",
    ),
    PublishedRow(
        method="L4GM",
        lpips=0.147,
        clip=None,
        fvd=432,
        time="",
        source="re-run in another later paper; another FVD",
    ),
)


@dataclass(frozen=True)
class Method:
    """Predictions to score: a name and a folder `OBJECT/eval_K/I.png`."""

    name: str
    folder: Path


@dataclass(frozen=True)
class ObjectScore:
    """One object of one method.

    Args:
        views: by metric, the value of each view.
        notes: what a reader should know: sizes, alpha.
        seconds, peak_memory_mb: of scoring it; the memory is the process's highest so far.
    """

    views: dict[str, tuple[float, ...]]
    notes: tuple[str, ...]
    seconds: float
    peak_memory_mb: float

    def mean(self, metric: str) -> float:
        """Over the views."""
        return sum(self.views[metric]) / len(self.views[metric])


def check_folders(truth: Path, prediction: Path, objects: Sequence[str] = OBJECTS) -> None:
    """Raise InputError unless both folders hold exactly these objects, each with its four views.

    Pictures are looked at when they are read; this finds what would waste the time until then.
    """
    for root in (truth, prediction):
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; expected OBJECT/eval_K/I.png in it")
        found = {path.name for path in root.iterdir() if path.is_dir()}
        if missing := sorted(set(objects) - found):
            raise InputError(f"{root}: objects missing: {', '.join(missing)}")
        if extra := sorted(found - set(objects)):
            raise InputError(
                f"{root}: holds objects that are not scored: {', '.join(extra)}; take them out, or "
                "name the objects with --objects"
            )
        for name in objects:
            views = {path.name for path in (root / name).iterdir() if path.is_dir()}
            wanted = {f"eval_{view}" for view in range(NUM_VIEWS)}
            if views != wanted:
                odd = ", ".join(sorted(views ^ wanted))
                raise InputError(f"{root / name}: expected eval_0 to eval_3; differs in: {odd}")
            for view in sorted(wanted):
                picture_paths(root / name / view, NUM_FRAMES)


# By set metric, then "prediction" and "truth": [N, 400] features of the object's videos.
Features = dict[str, dict[str, Tensor]]


def score_object(truth: Path, prediction: Path, judges: Judges) -> tuple[ObjectScore, Features]:
    """Score the four views of an object.

    Args:
        truth, prediction: folders with eval_0 ... eval_3.

    Returns:
        the score, and features for `set_distances`.

    Raises:
        InputError: pictures that do not fit.
    """
    began = time.monotonic()
    views: dict[str, list[float]] = {}
    notes: list[str] = []
    videos: dict[str, list[NDArray[np.uint8]]] = {"prediction": [], "truth": []}
    for view in range(NUM_VIEWS):
        pair = {
            "prediction": read_pictures(prediction / f"eval_{view}", NUM_FRAMES),
            "truth": read_pictures(truth / f"eval_{view}", NUM_FRAMES),
        }
        for name, sequence in pair.items():
            videos[name].append(sequence.frames)
            notes += _notes(name, sequence)
        for metric, value in score_view(pair["prediction"], pair["truth"], judges).items():
            views.setdefault(metric, []).append(value)
    features = set_features(videos, judges)
    score = ObjectScore(
        views={metric: tuple(values) for metric, values in views.items()},
        notes=tuple(dict.fromkeys(notes)),
        seconds=round(time.monotonic() - began, 3),
        peak_memory_mb=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )
    return score, features


def _notes(name: str, sequence: PictureSequence) -> list[str]:
    notes = [f"{name}: transparent, put on white"] if sequence.had_alpha else []
    if sequence.size_px != (PICTURE_PX, PICTURE_PX):
        height, width = sequence.size_px
        notes.append(f"{name}: {width} x {height} px, resized to {PICTURE_PX}")
    return notes


def score_view(
    prediction: PictureSequence, truth: PictureSequence, judges: Judges
) -> dict[str, float]:
    """Means over the frames of one view, and the benchmark's FVD, as far as weights are there."""
    sums: dict[str, float] = {}
    for frame in range(len(truth.frames)):
        pair = (_resized(prediction.frames[frame]), _resized(truth.frames[frame]))
        values = {"psnr": psnr(*pair), "ssim": ssim(*pair)}
        values |= judges.picture_metrics(pair[0][None], pair[1][None])
        for metric, value in values.items():
            sums[metric] = sums.get(metric, 0.0) + float(value)
    means = {metric: total / len(truth.frames) for metric, total in sums.items()}
    if judges.fvd_consistent4d is not None:
        features = video_features(judges.fvd_consistent4d, [prediction.frames, truth.frames])
        means["fvd_consistent4d"] = float(fvd_consistent4d(features[:1], features[1:]))
    return means


def _resized(frame: NDArray[np.uint8]) -> Tensor:
    """[3, 512, 512] in [0, 1], through 8 bits as in the benchmark's script."""
    picture = Image.fromarray(frame)
    if picture.size != (PICTURE_PX, PICTURE_PX):
        picture = picture.resize((PICTURE_PX, PICTURE_PX))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def draw_views(gaussians: Gaussians) -> NDArray[np.uint8]:
    """The benchmark's four views of a reconstruction, [4, T, 512, 512, 3] on white.

    Args:
        gaussians: [T, N], the input camera at azimuth 0.
    """
    cameras = orbit_cameras(list(AZIMUTHS_DEGREES), size=PICTURE_PX).to(gaussians.means.device)
    views = np.empty((NUM_VIEWS, len(gaussians.means), PICTURE_PX, PICTURE_PX, 3), np.uint8)
    with torch.inference_mode():
        for time_step in range(len(gaussians.means)):
            image = render(gaussians[time_step], cameras).image.clamp(0, 1)
            views[:, time_step] = (image * 255).round().byte().movedim(1, -1).cpu().numpy()
    return views


def set_features(videos: dict[str, list[NDArray[np.uint8]]], judges: Judges) -> Features:
    """I3D's features of an object's videos, for every way that is long enough for the network.

    Args:
        videos: "prediction" and "truth", each a list of views [T, H, W, 3], all of one size.

    Returns:
        empty without I3D's weights. Four views are too few to be a video around the object, which
        needs 9; "fvd_views" is then left out.
    """
    if judges.fvd is None:
        return {}
    found: Features = {}
    for name, views in videos.items():
        small = np.stack([_shrunk(view) for view in views])
        for way, rasters in video_rasters(small).items():
            if len(rasters[0]) >= judges.fvd.reading.min_frames:
                found.setdefault(_RASTERS[way], {})[name] = video_features(judges.fvd, rasters)
    return found


def _shrunk(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[T, 512, 512, 3]; so that views of different sizes can follow each other in one video."""
    if view.shape[1:3] == (PICTURE_PX, PICTURE_PX):
        return view
    size = (PICTURE_PX, PICTURE_PX)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size)) for frame in view])


def set_distances(features: Sequence[Features]) -> dict[str, float]:
    """Fréchet distances of all objects' videos: `SET_METRICS`, as far as there are features."""
    found = {}
    for metric in SET_METRICS:
        rows = [one[metric] for one in features if metric in one]
        if len(rows) == len(features) and rows:
            pair = [torch.cat([row[name] for row in rows]) for name in ("prediction", "truth")]
            if min(map(len, pair)) >= 2:
                found[metric] = frechet_distance(*pair)
    return found


@dataclass(frozen=True)
class MethodScore:
    """One method over all objects.

    Args:
        objects: by name.
        averages: by metric: over frames, then views, then objects; the distances of sets once.
        skipped: by metric, why it is missing.
    """

    objects: dict[str, ObjectScore]
    averages: dict[str, float]
    skipped: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def score_method(
    truth: Path,
    method: Method,
    judges: Judges,
    cache: Path,
    objects: Sequence[str] = OBJECTS,
    on_object: Callable[[str, int, int], None] | None = None,
) -> MethodScore:
    """Score a folder of predictions; finished objects are kept and not scored again.

    Args:
        cache: folder that keeps each object's score; one is used again while the pictures, the
            weights and this package's version are the same.
        on_object: called with (method, objects done, objects in all).

    Raises:
        InputError: folders that do not fit; nothing is scored then.
    """
    check_folders(truth, method.folder, objects)
    scores: dict[str, ObjectScore] = {}
    features: list[Features] = []
    for done, name in enumerate(objects):
        if on_object is not None:
            on_object(method.name, done, len(objects))
        pair = truth / name, method.folder / name
        kept = cache / f"{name}-{_digest(pair, judges)}.pt"
        if not kept.is_file():
            score, found = score_object(*pair, judges)
            cache.mkdir(parents=True, exist_ok=True)
            with atomic_file(kept) as partial:
                torch.save({"score": json.dumps(asdict(score)), "features": found}, partial)
        stored = torch.load(kept, weights_only=True)
        values = json.loads(stored["score"])
        views = {metric: tuple(row) for metric, row in values["views"].items()}
        scores[name] = ObjectScore(**{**values, "views": views, "notes": tuple(values["notes"])})
        features.append(stored["features"])
    if on_object is not None:
        on_object(method.name, len(objects), len(objects))
    averages = {
        metric: sum(score.mean(metric) for score in scores.values()) / len(scores)
        for metric in next(iter(scores.values())).views
    }
    averages |= set_distances(features)
    return MethodScore(scores, averages, _skipped(averages, judges))


def _skipped(averages: dict[str, float], judges: Judges) -> dict[str, str]:
    """Why metrics are missing."""
    reasons = {}
    for metric in (*FRAME_METRICS, *VIEW_METRICS, *SET_METRICS):
        if metric in averages:
            continue
        source = "fvd" if metric in SET_METRICS else metric
        reasons[metric] = judges.skipped.get(
            source, "too few views for a video around the object, which needs 9"
        )
    return reasons


def _digest(folders: tuple[Path, Path], judges: Judges) -> str:
    """Of what a kept score depends on: the pictures by name, size and time, weights, version."""
    parts = [__version__, ", ".join(sorted(judges.skipped)), str(sorted(weight_sums().items()))]
    for folder in folders:
        for path in sorted(folder.rglob("*.png")):
            status = path.stat()
            parts.append(f"{path.relative_to(folder)} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def result_dict(
    scores: dict[str, MethodScore], objects: Sequence[str], weights: dict[str, str]
) -> dict[str, Any]:
    """All of a run for JSON: protocol, methods, SHA-256 of the weights, published rows."""
    return {
        "benchmark": "consistent4d",
        "protocol": {
            "objects": list(objects),
            "is_the_benchmark": set(objects) == set(OBJECTS),
            "azimuths_degrees": list(AZIMUTHS_DEGREES),
            "frames": NUM_FRAMES,
            "picture_px": PICTURE_PX,
            "averages": "frames, then views, then objects",
        },
        "methods": {name: score.to_dict() for name, score in scores.items()},
        "weights_sha256": weights,
        "published": [asdict(row) for row in PUBLISHED],
    }


def markdown_table(result: dict[str, Any]) -> str:
    """The methods, why metrics are missing, and the published rows with where they come from."""
    metrics = (*FRAME_METRICS, *VIEW_METRICS, *SET_METRICS)
    arrows = [f"{metric} {'↓' if metric in LOWER_IS_BETTER else '↑'}" for metric in metrics]
    lines = [f"| method | {' | '.join(arrows)} |", "|---" * (len(metrics) + 1) + "|"]
    reasons: dict[str, list[str]] = {}
    for name, method in result["methods"].items():
        cells = [
            f"{method['averages'][m]:.4g}" if m in method["averages"] else "skipped"
            for m in metrics
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        for metric, reason in method["skipped"].items():
            if metric not in reasons.setdefault(reason, []):
                reasons[reason].append(metric)
    lines += ["", *(f"skipped {', '.join(found)}: {reason}" for reason, found in reasons.items())]
    if not result["protocol"]["is_the_benchmark"]:
        lines.append("these are not the benchmark's seven objects: averages do not compare")
    lines += ["", "| published | LPIPS ↓ | CLIP ↑ | FVD ↓ | time | source |", "|---" * 6 + "|"]
    for row in result["published"]:
        numbers = ["-" if row[key] is None else f"{row[key]:g}" for key in ("lpips", "clip", "fvd")]
        lines.append(
            f"| {row['method']} | {' | '.join(numbers)} | {row['time'] or '-'} | {row['source']} |"
        )
    return "\n".join(lines)
