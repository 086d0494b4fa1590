"""Quality on rendered clips with known truth: novel views, with views given and from video alone.

Protocol: of every clip the reconstruction sees the front view of each frame and, where "views are
given", the true views at azimuth 90, 180, 270 of the first frame. It is judged on free cameras at
every frame; the four input azimuths, where it is easier to look well, are reported apart ("on
axis"), and so is the video's own view. The alpha of what is seen is given too, as background
removal gives it for a user's video. Two baselines say what a number is worth: an all-white image,
and the nearest (by angle between viewing directions) of the images that were given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l4gm.data.clip import Clip, ClipRequest, ClipSource
from l4gm.evaluation.judges import Judges
from l4gm.evaluation.metrics import (
    SSIM_WINDOW_PX,
    alpha_iou,
    flicker,
    gradient_energy,
    motion_energy,
    psnr,
    ssim,
)
from l4gm.evaluation.scores import SETTINGS, ClipScore, ratio
from l4gm.evaluation.scores import summarize as summarize  # the trainer's validation uses it too
from l4gm.evaluation.surface import SOLID_OPACITY, surface_request, surface_score, true_surface
from l4gm.gaussians.types import Gaussians
from l4gm.geometry.cameras import orbit_cameras
from l4gm.media.matte import on_white
from l4gm.model.protocol import Reconstructor
from l4gm.perceptual.st_lpips import SMALLEST_PX, StLpips
from l4gm.splat.render import RenderOutput, render

# frames [T, 4, H, W], views of the first frame [4, 4, H, W] or None -> Gaussians [T, N]; both are
# straight RGBA.
Reconstruct = Callable[[Tensor, Tensor | None], Gaussians]


def clip_images(clip: Clip) -> Tensor:
    """[T, V, 3, H, W] in [0, 1] on white: what results are compared with."""
    return on_white(clip_rgba(clip))[:, :, :3]


def clip_rgba(clip: Clip) -> Tensor:
    """[T, V, 4, H, W] in [0, 1], straight RGBA: what networks and the pipeline are given."""
    return torch.from_numpy(clip.images).movedim(-1, -3).float() / 255


def nearest_given(clip: Clip, views_given: bool) -> Tensor:
    """[S] which given view looks most nearly as each free camera does."""
    given = clip.num_input_views if views_given else 1
    forward = clip.cameras.world_from_camera[:, :3, 2]
    return (forward[clip.num_input_views :] @ forward[:given].T).argmax(1)


def nearest_given_picture(clip: Clip, images: Tensor, views_given: bool) -> Tensor:
    """[T, S, C, H, W]: for each free camera the given image from the nearest direction.

    Given are the front view of the same time and, with `views_given`, the others of frame 0.

    Args:
        images: [T, V, C, H, W] of the clip.
    """
    return _given_images(images)[:, nearest_given(clip, views_given)]


def _given_images(images: Tensor) -> Tensor:
    """[T, V, C, H, W]: the front of each frame, everything else of the first."""
    given = images[:1].repeat(len(images), 1, 1, 1, 1)
    given[:, 0] = images[:, 0]
    return given


@torch.inference_mode()
def score_clip(
    clip: Clip,
    reconstruct: Reconstruct,
    setting: str,
    judges: Judges | None = None,
    surface: list[Tensor] | None = None,
) -> tuple[ClipScore, Tensor]:
    """Score one clip.

    Args:
        judges: for ST-LPIPS and LPIPS; None leaves them out.
        surface: `true_surface` of the clip's object; None leaves its measures out.

    Returns:
        the score and the renderings of the free views [T, S, 3, H, W].

    Raises:
        ValueError: `reconstruct` gave another number of frames than it got.
    """
    views_given, fixed = SETTINGS[setting], clip.num_input_views
    rgba = clip_rgba(clip)
    gaussians = reconstruct(rgba[:, 0], rgba[0, :fixed] if views_given else None)
    if gaussians.shape != (len(rgba),):
        raise ValueError(f"expected Gaussians of {len(rgba)} frames, got {list(gaussians.shape)}")
    drawn = render(gaussians, clip.cameras)
    drawn = RenderOutput(drawn.image.clamp(0, 1).cpu(), drawn.alpha.cpu())
    images, true_alpha = on_white(rgba)[:, :, :3], rgba[:, :, 3:]
    predicted, truth = drawn.image[:, fixed:], images[:, fixed:]
    nearest = nearest_given_picture(clip, images, views_given)
    opacities = gaussians.opacities[gaussians.opacities > 0]
    nearest_alpha = nearest_given_picture(clip, true_alpha, views_given)

    def compared(metric: Callable[[Tensor, Tensor], Tensor], name: str) -> dict[str, float]:
        others = {"": predicted, "_nearest": nearest, "_white": torch.ones_like(truth)}
        return {name + end: metric(other, truth).mean().item() for end, other in others.items()}

    def sharpness(views: slice) -> float | None:
        energies = [gradient_energy(x[:, views]).item() for x in (drawn.image, images)]
        found = ratio(*energies)
        return None if found is None else math.sqrt(found)  # in proportion to the contrast

    measured: dict[str, float | None] = {
        **compared(psnr, "psnr"),
        **(compared(ssim, "ssim") if truth.shape[-1] >= SSIM_WINDOW_PX else {}),
        "alpha_iou": alpha_iou(drawn.alpha[:, fixed:], true_alpha[:, fixed:]).mean().item(),
        "alpha_iou_nearest": alpha_iou(nearest_alpha, true_alpha[:, fixed:]).mean().item(),
        "sharpness": sharpness(slice(fixed, None)),
        "front_psnr": psnr(drawn.image[:, 0], images[:, 0]).mean().item(),
        "front_sharpness": sharpness(slice(0, 1)),
        "psnr_on_axis": psnr(drawn.image[:, :fixed], images[:, :fixed]).mean().item(),
        "flicker": flicker(predicted, truth).item(),
        "motion_ratio": ratio(
            motion_energy(drawn.image[:, 1:]).item(), motion_energy(images[:, 1:]).item()
        ),
        "opaque_share": (opacities > SOLID_OPACITY).float().mean().item()
        if len(opacities)
        else None,
        "splats": len(opacities) / len(rgba),
    }
    if surface is not None:
        found = surface_score(gaussians, surface)
        measured |= {"f_score": found.f_score, "chamfer": found.chamfer}
    if judges is not None:
        which = nearest_given(clip, views_given)
        measured |= _perceptual(judges, predicted, truth, _given_images(images), which)
    return ClipScore(name=clip.name, setting=setting, **measured), predicted  # type: ignore[arg-type]


def _perceptual(
    judges: Judges, predicted: Tensor, truth: Tensor, given: Tensor, nearest: Tensor
) -> dict[str, float | None]:
    """ST-LPIPS and LPIPS of [T, S, 3, H, W], as far as the weights are there."""
    found: dict[str, float | None] = {}
    if judges.lpips_vgg is not None:
        lpips = judges.picture_metrics(predicted.flatten(0, 1), truth.flatten(0, 1))["lpips_vgg"]
        found["lpips"] = lpips.mean().item()
    if judges.st_lpips is not None and min(truth.shape[-2:]) >= SMALLEST_PX:
        found |= _st_lpips(judges.st_lpips, judges.device, predicted, truth, given, nearest)
    return found


def _st_lpips(
    network: StLpips,
    device: torch.device,
    predicted: Tensor,
    truth: Tensor,
    given: Tensor,
    nearest: Tensor,
) -> dict[str, float]:
    """Of the result and both baselines; each image passes the network once."""
    used = nearest.unique()
    place = torch.searchsorted(used, nearest)
    white = network.features(torch.ones_like(truth[0, :1]).to(device))
    old = network.features(given[0, used].to(device))
    sums = {"st_lpips": 0.0, "st_lpips_nearest": 0.0, "st_lpips_white": 0.0}
    for time in range(len(truth)):
        true = network.features(truth[time].to(device))
        result = network.features(predicted[time].to(device))
        near = old
        if 0 in used:  # the front moves on
            front = network.features(given[time, :1].to(device))
            near = [torch.cat([a, b[1:]]) for a, b in zip(front, old, strict=True)]
        near = [layer[place] for layer in near]
        for name, features in zip(sums, (result, near, white), strict=True):
            sums[name] += network.distance(features, true).mean().item() / len(truth)
    return sums


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
    surfaces: bool = False,
    on_clip: Callable[[Clip, ClipScore, Tensor], None] | None = None,
) -> list[ClipScore]:
    """Score the first `num_clips` clips of a source in each setting.

    Args:
        judges: for ST-LPIPS and LPIPS; None leaves them out.
        surfaces: also compare surfaces, of clips whose views' depth is known.
        on_clip: called with the clip, its score and its renderings, for progress or images.
    """
    settings = tuple(settings)
    scores = []
    for index in range(num_clips):
        clip = source.clip(index, request)
        surface = None
        if surfaces and clip.depth is not None and clip.depth.shape[1] == clip.cameras.shape[0]:
            surface = true_surface(source.clip(index, surface_request(request)))
        for setting in settings:
            score, predicted = score_clip(clip, reconstruct, setting, judges, surface)
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
