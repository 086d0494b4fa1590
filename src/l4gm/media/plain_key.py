"""Background removal by colour: a background that is even, or changes smoothly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from l4gm.media.components import border, connected_to, label_components
from l4gm.media.matte import WHOLE, Matte, Window
from l4gm.media.smooth_colors import SmoothColors, fit_smooth_colors
from l4gm.media.windows import box_sum, dilate, erode

# Levels that objects have too, where they are over- or underexposed.
NEAR_WHITE, NEAR_BLACK = 225, 30


@dataclass(frozen=True, kw_only=True)
class PlainKey:
    """Key out a background of one colour, or of colours that change smoothly from place to place.

    What belongs to the background: pixels of its colour that are connected with the frame's border
    through such pixels. White areas inside the object therefore stay. Where the colour is neither
    near white nor near black, enclosed areas of exactly that colour (seen through a loop, say) are
    background too.

    Alpha in the band along the silhouette: where the pixel's colour lies between the background
    and the object's colour nearby. The old background is subtracted in proportion, so that no
    fringe of it is left; a clip on pure white comes out unchanged.

    Args:
        color: RGB of the background in levels, 0 to 255; its mean where there is a gradient.
        noise: robust standard deviation of the background in levels.
        tolerance: largest channel difference in levels that still counts as background.
        gradient: how the background differs from `color` from place to place.
        drops_shadows: count soft shadows on the background to it: darker, of its hue, and without
            an edge.
    """

    color: tuple[float, float, float]
    noise: float
    tolerance: float
    gradient: SmoothColors | None = None
    drops_shadows: bool = False

    BORDER_SHARE = 0.6  # of the border must have the colour: an object may touch two sides
    MAX_NOISE = 9.0
    BAND_PX = 3
    REACH_PX = 9
    THIN_PX = 2
    BLOCK_PX = 8
    STRONG = 4.0  # times the tolerance: clearly not background
    WEAK_SHARE = 0.35  # of the object's distance from the background
    SPECK_SHARE = 4e-4  # of the picture: a smaller region apart from the object is noise ...
    STRONG_SPECK_SHARE = 3e-5  # ... unless it stands out clearly

    SHADOW_STEP = 5.0  # levels from pixel to pixel: less is no edge
    DARKEST_SHADOW = 0.35  # of the background's brightness
    SHADOW_TINT = 0.06  # by which its hue may differ

    @property
    def name(self) -> str:
        return "uniform background" if self.gradient is None else "smooth background"

    @classmethod
    def estimate(cls, frames: Sequence[Tensor]) -> PlainKey | None:
        """The key for the colour that fills most of the frames' borders; None if none does.

        Args:
            frames: uint8 [H, W, 3].
        """
        pixels = np.concatenate([_border_pixels(frame.numpy()) for frame in frames])
        color = _dominant_color(pixels)
        distance = np.abs(pixels - color).max(1)
        near = distance < 24
        if not near.any():
            return None
        color = np.median(pixels[near], 0)
        noise = float(1.4826 * np.median(np.abs(pixels[near] - color)))
        spread = float(np.quantile(np.abs(pixels[near] - color).max(1), 0.9))
        tolerance = float(np.clip(max(4 * noise, 1.5 * spread) + 4, 6, 28))
        distance = np.abs(pixels - color).max(1)
        if (distance <= tolerance).mean() < cls.BORDER_SHARE or noise > cls.MAX_NOISE:
            return None
        red, green, blue = color.tolist()
        return cls(color=(red, green, blue), noise=noise, tolerance=tolerance)

    @classmethod
    def estimate_smooth(cls, frames: Sequence[Tensor]) -> PlainKey | None:
        """The key for a background with a gradient or a vignette; None if it is not smooth.

        Args:
            frames: uint8 [H, W, 3], of one size.
        """
        found = fit_smooth_colors(frames)
        if found is None or found.noise > cls.MAX_NOISE or found.border_share < cls.BORDER_SHARE:
            return None
        red, green, blue = found.mean
        tolerance = float(np.clip(max(4 * found.noise, 1.5 * found.spread) + 4, 8, 28))
        return cls(
            color=(red, green, blue),
            noise=found.noise,
            tolerance=tolerance,
            gradient=found.colors,
        )

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        old = self._background(frame, WHOLE)
        return self._silhouette(self._distance(frame, old), frame, old)

    def matte(self, frame: Tensor, window: Window = WHOLE, whole: Tensor | None = None) -> Matte:
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        old = self._background(frame, window)
        distance = self._distance(frame, old)
        silhouette = self._silhouette(distance, frame, old)
        alpha, color = torch.zeros_like(image[:1]), torch.zeros_like(image)
        box = _bounding_box(silhouette, margin_px=self.REACH_PX)
        if box is not None:
            rows, columns = box
            inside = torch.from_numpy(silhouette)[rows, columns].float()[None]
            beneath = old if self.gradient is None else old[:, rows, columns]
            alpha[:, rows, columns], color[:, rows, columns] = self._soft_edges(
                image[:, rows, columns], inside, distance[rows, columns] / 255, beneath / 255
            )
        return Matte(color=color, alpha=alpha)

    def _background(self, frame: Tensor, window: Window) -> Tensor:
        """Levels [3, 1, 1] or [3, h, w] of the background in a part of the frame."""
        if self.gradient is None:
            return torch.tensor(self.color).view(3, 1, 1)
        return self.gradient.at(frame.shape[0], frame.shape[1], window)

    def _soft_edges(
        self, image: Tensor, inside: Tensor, distance: Tensor, old: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Alpha [1, H, W] and premultiplied colour [3, H, W] inside a silhouette [1, H, W], the
        background [3, 1 or H, 1 or W] taken out."""
        core = erode(inside, self.BAND_PX) * (1 - self._halo(inside, distance))
        # The object's colour behind an edge pixel: the mean of the core nearby; on parts too thin
        # to have a core, of the pixels nearby that are most unlike the background.
        weight = core + 1e-3 * inside * (distance / distance.max().clamp_min(1e-3)) ** 8 + 1e-9
        sums = box_sum(torch.cat([image * weight, weight]), self.REACH_PX)
        object_color = sums[:3] / sums[3:]
        # Where between the background and that colour does the pixel lie? (Equation of
        # compositing, least squares.) Video stores colour blurred but brightness sharp, which
        # therefore counts more.
        change, full = _to_luma_chroma(image - old), _to_luma_chroma(object_color - old)
        size = full.square().sum(0, keepdim=True)
        share = (change * full).sum(0, keepdim=True) / size.clamp_min(1e-4)
        floor = (self.noise + 1) / 255 / size.sqrt().clamp_min(1e-2)
        alpha = ((share - floor) / (0.97 - floor).clamp_min(0.1)).clamp(0, 1) * inside
        # The least alpha that explains the pixel by a colour in [0, 1], unless it is noise.
        least = torch.maximum(
            (old - image) / old.clamp_min(0.5), (image - old) / (1 - old).clamp_min(0.5)
        )
        alpha = torch.maximum(alpha, least.amax(0, keepdim=True) * inside)
        alpha = torch.where(core > 0, core, alpha)
        color = (image - (1 - alpha) * old).clamp_min(0)
        if min(self.color) <= NEAR_WHITE:
            # What is left of a coloured background shows on white: trust faint pixels less.
            color = alpha * torch.lerp(object_color, color / alpha.clamp_min(0.1), alpha.square())
        return alpha, torch.minimum(color, alpha)

    def _halo(self, inside: Tensor, distance: Tensor) -> Tensor:
        """[1, H, W] 1 where the silhouette may be the blur and ringing of a video codec.

        These are the pixels connected with the outside through weak pixels, at most a codec block
        away from it. Weak are those near to the background's colour; if objects rarely have that,
        also those much nearer to it than the object beside them.
        """
        outside = 1 - inside[0]
        weak = (distance <= self.STRONG * self.tolerance / 255) | (outside > 0)
        if not self._is_near_extreme():
            beside = dilate(distance * inside[0], self.BLOCK_PX)
            weak |= distance <= self.WEAK_SHARE * beside
        reached = connected_to(weak.numpy(), outside.numpy() > 0)
        return torch.from_numpy(reached).float() * dilate(outside, self.BLOCK_PX)

    def _distance(self, frame: Tensor, old: Tensor) -> Tensor:
        """[H, W] largest channel difference from the background, in levels."""
        difference = frame[..., :3].float() - old.permute(1, 2, 0)
        distance = difference.abs().amax(-1)
        if self.noise > 1.5:
            distance = _smoothed(difference.permute(2, 0, 1)).abs().amax(0)
        return distance

    def _silhouette(self, distance: Tensor, frame: Tensor, old: Tensor) -> NDArray[np.bool_]:
        """[H, W] all that is not background, without compression noise beside the object.

        The ringing of video codecs is weak (near the background's colour) and either thin or
        small; the object's pale parts are thicker and larger.
        """
        height, width = distance.shape
        like_background = distance.numpy() <= self.tolerance
        if self.drops_shadows:
            like_background |= self._shadow(frame, old)
        outside = connected_to(like_background, border(height, width))
        if not self._is_near_extreme():
            outside |= self._enclosed(like_background & ~outside, distance.numpy())
        inside = torch.from_numpy(~outside).float()
        strong = distance > self.STRONG * self.tolerance
        thick = dilate(erode(inside, self.THIN_PX), self.THIN_PX)
        # Next to strong pixels the soft edge of a sharp object is weak and thin as well.
        solid = inside * torch.maximum(thick, dilate(strong.float(), 1)) > 0
        labels, areas = label_components(solid.numpy())
        pixels = distance.numel()
        keep = areas >= self.SPECK_SHARE * pixels
        has_strong = np.bincount(labels[strong.numpy()], minlength=len(areas)) > 0
        keep |= (areas >= self.STRONG_SPECK_SHARE * pixels) & has_strong
        keep[0] = False
        return keep[labels]

    def _shadow(self, frame: Tensor, old: Tensor) -> NDArray[np.bool_]:
        """[H, W] where the background may be seen in a soft shadow."""
        image = _smoothed(frame[..., :3].permute(2, 0, 1).float())
        ratio = image / old.clamp_min(1)
        brightness = ratio.mean(0)
        tint = (ratio - brightness).abs().amax(0)
        step = torch.zeros_like(brightness)
        for axis in (-1, -2):
            along = image.diff(dim=axis).abs().amax(0)
            length = along.shape[axis]
            step.narrow(axis, 0, length).copy_(torch.maximum(step.narrow(axis, 0, length), along))
            step.narrow(axis, 1, length).copy_(torch.maximum(step.narrow(axis, 1, length), along))
        dim = (brightness > self.DARKEST_SHADOW) & (brightness < 1.02)
        return (dim & (tint < self.SHADOW_TINT) & (step < self.SHADOW_STEP)).numpy()

    def _is_near_extreme(self) -> bool:
        """Whether objects have areas of this colour too: near white and near black."""
        return min(self.color) > NEAR_WHITE or max(self.color) < NEAR_BLACK

    def _enclosed(
        self, mask: NDArray[np.bool_], distance: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """[H, W] the regions of `mask` that show the background through a hole of the object."""
        labels, areas = label_components(mask)
        total = np.bincount(labels.reshape(-1), distance.reshape(-1), minlength=len(areas))
        keep = areas >= self.SPECK_SHARE * mask.size
        keep &= total <= self.tolerance / 2 * areas
        keep[0] = False
        return keep[labels]


def _smoothed(image: Tensor) -> Tensor:
    """[C, H, W] binomial mean over 3 x 3 pixels."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel / 16)[None, None]
    planes = functional.pad(image[:, None], (1, 1, 1, 1), "replicate")
    return functional.conv2d(planes, kernel)[:, 0]


def _border_pixels(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 3] the pixels of a ring of 2 % of the smaller side."""
    ring = max(1, min(frame.shape[:2]) // 50)
    sides = (frame[:ring], frame[-ring:], frame[ring:-ring, :ring], frame[ring:-ring, -ring:])
    return np.concatenate([side.reshape(-1, 3) for side in sides]).astype(np.float32)


def _dominant_color(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """[3] the centre of the fullest cell of a histogram with cells of 16 levels."""
    cells = (pixels / 16).astype(np.int64)
    numbers = cells @ np.array([256, 16, 1])
    fullest = np.bincount(numbers).argmax()
    return np.median(pixels[numbers == fullest], 0)


def _bounding_box(mask: NDArray[np.bool_], margin_px: int) -> tuple[slice, slice] | None:
    """Rows and columns that hold the mask and a margin; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return (
        slice(max(0, int(rows[0]) - margin_px), int(rows[-1]) + 1 + margin_px),
        slice(max(0, int(columns[0]) - margin_px), int(columns[-1]) + 1 + margin_px),
    )


def _to_luma_chroma(color: Tensor) -> Tensor:
    """[3, H, W] differences of RGB as brightness (counted double), blueness and redness."""
    red, green, blue = color
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([2 * luma, 0.564 * (blue - luma), 0.713 * (red - luma)])
