"""Background removal: how much of each pixel is the object.

A ladder of methods, best first; `choose_matting` takes the first that fits the clip:

1. the video's own alpha channel;
2. a background of one colour, keyed with soft edges (`UniformKey`).

A method is anything with the shape of `Matting`. It is made once for a clip from a few of its
frames and keeps no state from frame to frame: the same thresholds for all frames, so that a still
edge does not flicker, and any frame can be asked for in any order.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from l4gm.errors import InputError
from l4gm.media.components import border, connected_to, label_components

logger = logging.getLogger(__name__)


class Matting(Protocol):
    """A way to tell the object from its background."""

    @property
    def name(self) -> str:
        """For reports: "alpha channel", "uniform background", ..."""
        ...

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        """Coarse silhouette [H, W] of a frame uint8 [H, W, 3 or 4]; fast, used to find the crop."""
        ...

    def matte(self, frame: Tensor) -> Matte:
        """Soft silhouette and clean colours of a frame uint8 [H, W, 3 or 4]."""
        ...


@dataclass(frozen=True)
class Matte:
    """An object cut out of its background.

    Args:
        color: [3, H, W] float32 in [0, 1], premultiplied by alpha, without the old background.
        alpha: [1, H, W] float32 in [0, 1].
    """

    color: Tensor
    alpha: Tensor

    def over(self, background: float = 1.0) -> Tensor:
        """[3, H, W]: the object on a grey background, white by default."""
        return self.color + (1 - self.alpha) * background


def choose_matting(frames: Sequence[Tensor], source: str) -> Matting:
    """The best method for a clip.

    Args:
        frames: some frames of the clip, uint8 [H, W, 3 or 4].
        source: name of the clip, for the message.

    Raises:
        InputError: if no method fits.
    """
    if not frames:
        raise ValueError("need at least one frame")
    if frames[0].shape[-1] == 4:
        if any(int(frame[..., 3].min()) < 250 for frame in frames):
            return AlphaChannel()
        frames = [frame[..., :3] for frame in frames]
    key = UniformKey.estimate(frames)
    if key is not None:
        return key
    raise InputError(
        f"{source}: the background is neither transparent nor of one colour; remove it first "
        "(a white background or an alpha channel), or take the frames as they are with --no-matting"
    )


def keep_as_is(frames: Sequence[Tensor]) -> Matting:
    """No background removal: an alpha channel is used, else the whole frame is the object."""
    return AlphaChannel() if frames[0].shape[-1] == 4 else Opaque()


class AlphaChannel:
    """The video's own alpha channel."""

    name = "alpha channel"

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return frame[..., 3].numpy() >= 128

    def matte(self, frame: Tensor) -> Matte:
        image = frame.permute(2, 0, 1).float() / 255
        return Matte(color=image[:3] * image[3:], alpha=image[3:])


class Opaque:
    """No background removal: the whole frame is the object."""

    name = "none"

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return np.ones(frame.shape[:2], bool)

    def matte(self, frame: Tensor) -> Matte:
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        return Matte(color=image, alpha=torch.ones_like(image[:1]))


@dataclass(frozen=True, kw_only=True)
class UniformKey:
    """Key out a background of one colour.

    What belongs to the background: pixels of its colour that are connected with the frame's border
    through such pixels. White areas inside the object therefore stay. Where the colour is neither
    near white nor near black, enclosed areas of exactly that colour (seen through a loop, say) are
    background too. A clip on a background brighter or darker from place to place is not for it.

    Alpha in the band along the silhouette: the pixel's distance from the background colour
    relative to the largest distance nearby, on the object. The old background is subtracted in
    proportion, so that no fringe of it is left; a clip on pure white comes out unchanged.

    Args:
        color: RGB of the background in levels, 0 to 255.
        noise: robust standard deviation of the background in levels.
        tolerance: largest channel difference in levels that still counts as background.
    """

    color: tuple[float, float, float]
    noise: float
    tolerance: float

    name = "uniform background"

    BORDER_SHARE = 0.6  # of the border must have the colour: an object may touch two sides
    MAX_NOISE = 9.0
    BAND_PX = 2
    REACH_PX = 3
    SPECK_SHARE = 4e-4  # of the picture: a smaller region apart from the object is noise ...
    STRONG_SPECK_SHARE = 3e-5  # ... unless it stands out clearly

    @classmethod
    def estimate(cls, frames: Sequence[Tensor]) -> UniformKey | None:
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

    def mask(self, frame: Tensor) -> NDArray[np.bool_]:
        return self._silhouette(self._distance(frame))

    def matte(self, frame: Tensor) -> Matte:
        distance = self._distance(frame)
        inside = torch.from_numpy(self._silhouette(distance))[None, None].float()
        distance = distance[None, None] * inside
        # Far from the background alpha is 1; in the band it follows the colour.
        core = _erode(inside, self.BAND_PX)
        floor = min(self.tolerance, 2 * self.noise)
        nearby = _dilate(distance, self.REACH_PX)
        ratio = (distance - floor) / (0.9 * nearby - floor).clamp_min(1)
        alpha = torch.where(core > 0, core, ratio.clamp(0, 1) * inside)[0]
        image = frame[..., :3].permute(2, 0, 1).float() / 255
        old = torch.tensor(self.color).view(3, 1, 1) / 255
        # The least alpha that explains the pixel with a colour in [0, 1].
        least = torch.maximum(
            (old - image) / old.clamp_min(1e-3), (image - old) / (1 - old).clamp_min(1e-3)
        )
        alpha = torch.maximum(alpha, least.amax(0, keepdim=True).clamp(0, 1) * (alpha > 0))
        color = (image - (1 - alpha) * old).clamp_min(0)
        return Matte(color=torch.minimum(color, alpha), alpha=alpha)

    def _distance(self, frame: Tensor) -> Tensor:
        """[H, W] largest channel difference from the background, in levels."""
        difference = frame[..., :3].float() - torch.tensor(self.color)
        distance = difference.abs().amax(-1)
        if self.noise > 1.5:
            kernel = torch.tensor([1.0, 2.0, 1.0])
            kernel = (kernel[:, None] * kernel / 16)[None, None]
            planes = functional.pad(difference.permute(2, 0, 1)[:, None], (1, 1, 1, 1), "replicate")
            distance = functional.conv2d(planes, kernel)[:, 0].abs().amax(0)
        return distance

    def _silhouette(self, distance: Tensor) -> NDArray[np.bool_]:
        """[H, W] all that is not background, without compression noise beside the object.

        The ringing of video codecs is weak (near the background's colour) and either thin or
        small; the object's pale parts are thicker and larger.
        """
        height, width = distance.shape
        like_background = distance.numpy() <= self.tolerance
        outside = connected_to(like_background, border(height, width))
        if not self._is_near_extreme():
            outside |= self._enclosed(like_background & ~outside, distance.numpy())
        inside = torch.from_numpy(~outside)[None, None].float()
        strong = (distance > 4 * self.tolerance)[None, None].float()
        thick = _dilate(_erode(inside, self.BAND_PX), self.BAND_PX)
        # Next to strong pixels the soft edge of a sharp object is weak and thin as well.
        solid = (inside * torch.maximum(thick, _dilate(strong, 1)) > 0)[0, 0].numpy()
        labels, areas = label_components(solid)
        strength = np.zeros(len(areas), np.float32)
        np.maximum.at(strength, labels, distance.numpy())
        pixels = distance.numel()
        keep = areas >= self.SPECK_SHARE * pixels
        keep |= (areas >= self.STRONG_SPECK_SHARE * pixels) & (strength > 4 * self.tolerance)
        keep[0] = False
        return keep[labels]

    def _is_near_extreme(self) -> bool:
        """Whether objects have areas of this colour too: near white and near black."""
        return min(self.color) > 225 or max(self.color) < 30

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


def _dilate(image: Tensor, radius_px: int) -> Tensor:
    """[1, 1, H, W]: the largest value in the square of this radius."""
    width = 2 * radius_px + 1
    rows = functional.max_pool2d(image, (width, 1), stride=1, padding=(radius_px, 0))
    return functional.max_pool2d(rows, (1, width), stride=1, padding=(0, radius_px))


def _erode(image: Tensor, radius_px: int) -> Tensor:
    """[1, 1, H, W]: the smallest value in the square; beyond the picture it goes on as inside."""
    return -_dilate(-image, radius_px)
